"""``honed compare BASE_EVAL TUNED_EVAL``: paired statistics of two evaluations, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import RenderableType

    from honed.evaluate.compare import Comparison


@click.command()
@click.argument("base_eval")
@click.argument("tuned_eval")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: the tuned evaluation's folder]",
)
@workspace_option
@json_option
def command(base_eval: str, tuned_eval: str, out: Path | None, workspace: Workspace, as_json: bool) -> None:
    """Say whether the model of TUNED_EVAL is better than that of BASE_EVAL, for whom, and how sure that is.

    Both are jobs that `honed evaluate` made on the same rows: a job's name, or its unique beginning or end.
    """
    from honed.evaluate import compare, curve, report, words
    from honed.jobs import job as jobs

    base, tuned = (compare.read(jobs.find(workspace, id_)) for id_ in (base_eval, tuned_eval))
    comparison = compare.compare(base, tuned)
    path = report.write(
        out or workspace.jobs / tuned.job / f"against-{base.job}",
        comparison,
        samples=compare.pairs(base, tuned),
        curve=curve.of_model(workspace, tuned.outcome.model),
        stages=report.stages_of(comparison),
        next_commands=[
            f"honed chat {tuned.outcome.model} --against {base.outcome.model}",
            f"honed jobs show {tuned.job}",
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
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("group", "rows", "base", "tuned", "difference", "95 % interval", "won/lost", "p", "shown", "floors"):
        table.add_column(name, justify="left" if name in ("group", "shown") else "right", no_wrap=True)
    groups = [(tag, segment) for tag, segments in comparison.segments.items() for segment in segments]
    last = "all"
    for tag, segment in [("all", comparison.overall), *groups]:
        if tag != last:
            table.add_section()
            last = tag
        table.add_row(
            Text("all rows" if tag == "all" else f"{tag}: {words.plain(segment.name)}"),
            str(segment.n),
            words.percent(segment.base.rate),
            Text(words.percent(segment.tuned.rate), style="bold"),
            words.points(segment.difference),
            words.span(segment.interval),
            f"{segment.won}/{segment.lost}",
            words.chance(segment.p_adjusted, ""),
            Text(segment.verdict, style={"better": "green", "worse": "red", "not shown": "dim"}[segment.verdict]),
            f"{words.percent(segment.floors['constant'].rate)}, {words.percent(segment.floors['echo'].rate)}",
        )
    assert comparison.floors is not None, "rows with a verifier have floors"
    legend = (
        f"floors: always {comparison.floors.constant_answer!r}, and the prompt echoed back; "
        "p: exact McNemar, adjusted by Holm within task, audience and benefit"
    )
    return Group(*said, Text(), table, Text(legend, style="dim"))
