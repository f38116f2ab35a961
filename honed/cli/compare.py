"""``honed compare BASE_EVAL TUNED_EVAL [...]``: paired statistics of evaluations of the same rows, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.errors import ConfigError
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from honed.evaluate.benefits import Benefits
    from honed.evaluate.compare import Comparison
    from honed.evaluate.segment import Segment
    from honed.jobs.job import Job

_NUMBERS = {
    "rows": 4,
    "of": 4,
    "base": 6,
    "tuned": 6,
    "always": 6,
    "echo": 6,
    "p": 7,
    "change (95 %)": 21,
    "points (95 %)": 15,
}
"""How wide columns of numbers are at least: in a narrow terminal names are cut, and numbers are not."""


@click.command()
@click.argument("evaluations", metavar="BASE_EVAL TUNED_EVAL [EVAL]...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: the last evaluation's folder]",
)
@click.option(
    "--by", "tags", multiple=True, metavar="TAG", help="Give all by this tag, or by a file of segments; several times."
)
@click.option(
    "--reach", type=float, multiple=True, metavar="LOSS", help="Of two learning curves: a loss to compare at."
)
@workspace_option
@json_option
def command(
    evaluations: tuple[str, ...],
    out: Path | None,
    tags: tuple[str, ...],
    reach: tuple[float, ...],
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Say whether the model of TUNED_EVAL is better than that of BASE_EVAL, for whom, and how sure that is.

    All are jobs that `honed evaluate` made on the same rows: a job's name, or its unique beginning or end. Of three
    or more, each is compared with the first. Two learning curves (`honed train --curve`) are compared by how many
    rows they need.
    """
    from honed.jobs import job as jobs

    if len(evaluations) < 2:
        raise ConfigError("there is one evaluation only", "Name two or more; of one alone: honed report EVAL.")
    found = [jobs.find(workspace, id_) for id_ in evaluations]
    if all(job.status().stage == "curve" for job in found):
        _curves(found, reach, {"--out": out, "--by": tags}, as_json)
        return
    if reach:
        raise ConfigError("--reach is for two learning curves", "Leave it out, or name jobs of honed train --curve.")
    if len(found) > 2:
        _several(workspace, found, out, tags, as_json)
        return
    _two(workspace, found, out, tags, as_json)


def _curves(found: Sequence[Job], reach: tuple[float, ...], others: Mapping[str, object], as_json: bool) -> None:
    """Compare how many rows two learning curves need."""
    from honed.rounds.curve import efficiency

    if len(found) > 2:
        raise ConfigError("three or more learning curves can't be compared at once", "Name two.")
    if given := [name for name, value in others.items() if value]:
        raise ConfigError(f"{given[0]} is for evaluations, and these are learning curves", "Leave it out.")
    made = efficiency.of_jobs(found[0], found[1], reach)
    if as_json:
        emit_json(made.model_dump(mode="json"))
        return
    click.echo(f"Rows that {made.first} and {made.second} need, on {made.heldout:,} held-out rows")
    for sentence in made.words:
        click.echo(f"  {sentence}")


def _several(
    workspace: Workspace, found: Sequence[Job], out: Path | None, tags: tuple[str, ...], as_json: bool
) -> None:
    """Compare each of several evaluations with the first."""
    from honed.cli import several_table
    from honed.evaluate import compare, report_several, several

    evaluations, tags = compare.read_all(found, tags)
    made = several.compare_all(evaluations, tags)
    first, last = made.models[0].job, made.models[-1].job
    path = report_several.write(
        out or workspace.jobs / last / f"against-{first}-and-{len(found) - 2}-more",
        made,
        evaluations,
        next_commands=[f"honed errors {one.job} --against {first}" for one in made.ranked[:1] if one.job != first],
    )
    if as_json:
        headline = report_several.headline(made)
        emit_json({"headline": headline, "report": path, "comparison": made.model_dump(mode="json")})
        return
    click.echo(several_table.text(made))
    click.echo(f"Report: {path}")


def _two(workspace: Workspace, found: Sequence[Job], out: Path | None, tags: tuple[str, ...], as_json: bool) -> None:
    """Pair two evaluations."""
    from honed.evaluate import compare, curve, report, words

    (base, tuned), tags = compare.read_all(found, tags)
    comparison = compare.compare(base, tuned, tags)
    path = report.write(
        out or workspace.jobs / tuned.job / f"against-{base.job}",
        comparison,
        (base, tuned),
        curve=curve.of_model(workspace, tuned.outcome.model),
        stages=report.stages_of(comparison),
        next_commands=[
            f"honed chat {tuned.outcome.model} --against {base.outcome.model}",
            f"honed jobs show {tuned.job}",
            f"honed errors {tuned.job} --against {base.job}",
        ],
    )
    if as_json:
        emit_json(
            {
                "headline": words.headline(comparison),
                "report": path,
                "comparison": comparison.model_dump(mode="json"),
            }
        )
        return
    from rich.console import Console

    Console().print(terminal_table(comparison))
    if comparison.details or comparison.graded or comparison.together:
        Console().print(details_table(comparison))
    if comparison.benefits:
        Console().print(benefits_table(comparison.benefits))
    click.echo(f"Report: {path}")


def terminal_table(comparison: Comparison) -> RenderableType:
    """Return the comparison for a terminal: the headline, what it shows, and a line for each group."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from honed.evaluate import words

    said = [Text(words.headline(comparison), style="bold"), *map(Text, words.verdicts(comparison))]
    said += [Text(note, style="yellow") for note in comparison.notes]
    if comparison.overall is None:
        return Group(*said)
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for name in ("", "rows", "base %", "tuned %", "always", "echo", "points (95 %)", "", "p"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_row(*_cells("all rows", comparison.overall))
    for tag, segments in comparison.segments.items():
        if segments:
            table.add_row()
            table.add_row(Text(f"per {tag}", style="dim"))
        for segment in segments:
            table.add_row(*_cells(words.plain(segment.name), segment))
    few = [f"{tag}: {words.too_few(sizes)}" for tag, sizes in comparison.small.items() if sizes]
    legend = (
        "▲ better, ▼ worse, ≥ not worse by 5 points, no mark: not shown. p: exact McNemar, adjusted by "
        "Holm within each tag."
    )
    if comparison.floors:
        legend += f" Floors: always {comparison.floors.constant_answer!r}, and the prompt echoed back."
    return Group(*said, Text(), table, *map(Text, few), Text(), Text(legend, style="dim"))


def details_table(comparison: Comparison) -> RenderableType:
    """Return what changed beside pass rates for a terminal: losses, mean values, families passed whole."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from honed.evaluate import details

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for name in ("what else changed", "measure", "of", "base", "tuned", "change (95 %)", "p"):
        table.add_column(
            name,
            justify="left" if name in ("what else changed", "measure") else "right",
            no_wrap=True,
            min_width=_NUMBERS.get(name),
        )
    for line in details.lines(comparison):
        cells = (line.measure, str(line.n), line.base, line.tuned, line.change, line.p_value)
        table.add_row(Text(f"{line.tag}: {line.name}" if line.tag else line.name), *map(Text, cells))
    return Group(Text(), table, Text(), Text(details.LEGEND, style="dim"))


def benefits_table(found: Benefits) -> RenderableType:
    """Return the table of benefits for a terminal: what each gained or lost, and what was forgotten."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from honed.evaluate import gains, words

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for name in ("benefits", "rows", "base", "tuned", "always", "echo", "points (95 %)", "", "p"):
        table.add_column(
            name, justify="left" if name == "benefits" else "right", no_wrap=True, min_width=_NUMBERS.get(name)
        )
    for line in gains.lines(found):
        cells = (line.rows, line.base, line.tuned, line.constant, line.echo, line.change)
        said = Text(f"{'  ' * line.depth}{line.name}", style="" if line.depth else "bold")
        table.add_row(said, *map(Text, cells), _mark(line.verdict), Text(line.p_value))
    styles = [
        f"{words.plain(one.audience)}: grade {one.base_grade:.1f} → {one.tuned_grade:.1f}, "
        f"{one.base_words:.0f} → {one.tuned_words:.0f} words"
        for one in found.styles
    ]
    read = [Text("How answers read, by audience", style="dim"), *map(Text, styles), Text()] if len(styles) > 1 else []
    sentences = map(Text, gains.sentences(found))
    return Group(Text(), table, Text(), *read, *sentences, Text(gains.legend(found), style="dim"))


def _mark(verdict: str) -> Text:
    from rich.text import Text

    marks = {"better": Text("▲", "green"), "worse": Text("▼", "red"), "not worse": Text("≥", "cyan")}
    return marks.get(verdict, Text())


def _cells(name: str, segment: Segment) -> list[Text]:
    """A group's line of the table: 80 columns wide with the others."""
    from rich.text import Text

    from honed.evaluate import words

    mark = _mark(segment.verdict)
    change = f"{words.signed(100 * segment.difference)} ({words.span(segment.interval)})"
    return [
        Text(name),
        Text(str(segment.n)),
        *(Text(f"{100 * rate.rate:.0f}") for rate in (segment.base, segment.tuned)),
        *(
            Text(f"{100 * segment.floors[floor].rate:.0f}" if floor in segment.floors else "", style="dim")
            for floor in ("constant", "echo")
        ),
        Text(change),
        mark,
        Text(words.chance(segment.p_adjusted, "")),
    ]
