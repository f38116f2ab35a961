"""``honed errors EVAL``: what a model fails at, for which rows and why, and what rows would help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.evaluations import stored_options
from honed.cli.options import emit_json, json_option, say, workspace_if_any_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.errors.analysis import Errors
    from honed.evaluate.errors.clusters import Cluster
    from honed.evaluate.errors.wording import Phrase, Wording

_SHOWN = 8


@click.command()
@click.argument("evaluation", metavar="[EVAL]", required=False)
@stored_options
@click.option("--against", metavar="BASE_EVAL", help="Also say what another evaluation of the same rows fails.")
@click.option("--by", "tags", multiple=True, metavar="TAG", help="Group by this tag; may be given several times.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where errors.json goes.  [default: the evaluation's folder]",
)
@workspace_if_any_option
@json_option
def command(tags: tuple[str, ...], out: Path | None, workspace: Workspace | None, as_json: bool, **given: Any) -> None:
    """Say where the failures of EVAL gather, why its answers failed, and what kind of rows would help.

    Rows are grouped by task, audience, constraint, length, form of the answer and language; each group stands beside
    all others, with an interval and an exact test. What rows would help is written to errors.json, for
    whoever makes the data.

    \b
    honed errors EVAL
    honed errors TUNED_EVAL --against BASE_EVAL
    honed errors --answers answers.jsonl --suite ifeval
    """
    from honed.cli.evaluations import read
    from honed.evaluate.errors import analysis

    made = read(workspace, given["evaluation"], given["answers"], given["suite"])
    base = read(workspace, given["against"]) if given["against"] else None
    found = analysis.analyse(made.evaluation, base.evaluation if base else None, tags)
    folder = out or made.folder
    path = analysis.write(folder, found) if folder else None
    if as_json:
        emit_json({**found.model_dump(mode="json"), "written": path})
        return
    click.echo(text(found))
    if path:
        say(f"what rows would help, for the data stage: {path}")


def text(found: Errors) -> str:
    """Return the analysis for a terminal."""
    from honed.cli.tables import plain

    parts = [found.headline, _groups(found), _reasons(found), _wording(found.wording)]
    if found.said:
        lines = "\n".join(f"  {sentence}" for sentence in found.said)
        parts.append(f"What would help:\n{lines}")
        parts.append(found.rows_wanted.caution)
    parts += found.notes
    return plain("\n\n".join(part for part in parts if part))


def _groups(found: Errors) -> str:
    """The groups that are shown to fail more, then those that lead the rest."""
    from honed.cli.tables import columns

    groups = [one for one in found.clusters if one.failed.passed]
    shown = [one for one in groups if one.shown]
    others = [one for one in groups if not one.shown and one.gap > 0]
    rows = [_row(one) for one in [*shown[: 2 * _SHOWN], *others[: max(0, _SHOWN - len(shown))]]]
    if not rows:
        return ""
    before = ["before"] if any(one.before for one in groups) else []
    header = ["", "group", "of", "fail", "95 % interval", "others", *before, "p"]
    return columns(header, [[*row[:6], *(row[6:7] if before else []), row[7]] for row in rows])


def _row(one: Cluster) -> list[object]:
    from honed.cli.tables import short
    from honed.evaluate import words

    return [
        "▼" if one.shown else "",
        short(f"{one.kind}: {one.title}", 60),
        one.failed.n,
        words.percent(one.failed.rate),
        words.span(one.failed.interval),
        words.percent(one.others.rate),
        words.percent(one.before.rate) if one.before else "",
        words.chance(one.p_adjusted, ""),
    ]


def _reasons(found: Errors) -> str:
    from honed.cli.tables import columns, short

    if not found.reasons:
        return ""
    rows = [[one.share.passed, short(one.constraint, 44), short(one.reason, 90)] for one in found.reasons[:_SHOWN]]
    more = f"\nand {len(found.reasons) - _SHOWN} more reasons; --json lists all" if len(found.reasons) > _SHOWN else ""
    return columns(["times", "constraint", "why it failed"], rows) + more


def _wording(found: Wording | None) -> str:
    if found is None:
        return ""
    if found.note:
        return found.note
    failing, passing = (", ".join(map(_phrase, side[:_SHOWN])) for side in (found.failing, found.passing))
    said = [f"Words of failing prompts: {failing}" if failing else "", f"of passing ones: {passing}" if passing else ""]
    counts = "(failing/passing prompts that have them; * shown, in the knowledge that "
    return "\n".join([*(line for line in said if line), f"{counts}{found.looked_at:,} phrases were looked at)"])


def _phrase(one: Phrase) -> str:
    return f"{one.phrase}{'*' if one.p_adjusted < 0.05 else ''} {one.failing}/{one.passing}"
