"""``honed round``: from feedback to a candidate model, and whether it takes the live model's place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from honed.rounds.outcome import AudienceOutcome, RoundOutcome, SuiteOutcome


_DATABASE = "HONED_DATABASE"


@click.group()
def command() -> None:
    """Run a round, list rounds, show one with its verdict and reasons."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="ROUND.yaml")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override one setting, such as gate.alpha=0.01."
)
@click.option("--database", metavar="URL", help="Where the feedback is.  [default: $HONED_DATABASE, else honed.db]")
@workspace_option
@json_option
def run(file: Path, sets: tuple[str, ...], database: str | None, workspace: Workspace, as_json: bool) -> None:
    """Derive rows from feedback, train a candidate, compare it with the live model, promote it or hold it.

    Ctrl-C leaves a job that `honed jobs resume` continues: no step that is done is done again. A round that is held
    leaves the live model where it was; one that was promoted is taken back by `honed rollback`.
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.rounds import outcome
    from honed.rounds.config import RoundConfig
    from honed.rounds.run import run as start
    from honed.store import artifacts

    settings = load(RoundConfig, "round", file, sets, {"database": database})
    if settings.database is None and os.environ.get(_DATABASE):
        settings = settings.model_copy(update={"database": f"${_DATABASE}"})  # by name: its password isn't kept
    job = start(workspace, settings)
    say(f"job {job.id}")
    result = follow(job, as_json)
    _tell(outcome.read(artifacts.resolve(workspace, "rounds", result["round"])), as_json)


@command.command("list")
@workspace_option
@json_option
def list_(workspace: Workspace, as_json: bool) -> None:
    """List the rounds, oldest first: verdict, models, and the first reason."""
    from honed.cli.tables import columns
    from honed.rounds import outcome

    found = outcome.listing(workspace)
    if as_json:
        emit_json({"rounds": [one.model_dump(mode="json") for one in found]})
    elif not found:
        click.echo(f"{workspace.path} has no rounds yet. Run one: honed round run ROUND.yaml")
    else:
        rows = [[one.ref, one.verdict, one.before, one.candidate or "", one.created, one.reasons[0]] for one in found]
        click.echo(columns(["round", "verdict", "live before", "candidate", "when (UTC)", "first reason"], rows))


@command.command()
@click.argument("ref", metavar="ROUND")
@workspace_option
@json_option
def show(ref: str, workspace: Workspace, as_json: bool) -> None:
    """Show a round (`name@vN`, or `name` for the newest): what it measured, its verdict and reasons."""
    from honed.rounds import outcome
    from honed.store import artifacts

    _tell(outcome.read(artifacts.resolve(workspace, "rounds", ref)), as_json)


def _tell(found: RoundOutcome, as_json: bool) -> None:
    if as_json:
        emit_json(found.model_dump(mode="json"))
        return
    from rich.console import Console

    Console().print(terminal_table(found))


def terminal_table(found: RoundOutcome) -> RenderableType:
    """Return a round for a terminal: what went in, a line for each suite and audience, the verdict, the reasons."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = found.feedback
    fed = f"{counts['rows']} rows, {counts['preferences']} pairs, {counts['ratings']} ratings"
    parts: list[RenderableType] = [Text(f"Round {found.ref}: {fed} from {counts['events']} feedback events", "bold")]
    parts += [Text(f"  left out: {count} because {reason}", style="dim") for reason, count in found.left_out.items()]
    if found.suites:
        table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
        for name in ("suite", "must", "rows", "before %", "after %", "points (95 %)", "p", ""):
            table.add_column(name, justify="left" if name in ("suite", "must", "") else "right", no_wrap=True)
        for suite in found.suites:
            table.add_row(*_cells(suite.name, suite.role, suite))
            for audience in suite.audiences:
                table.add_row(*_cells(f"  {audience.name.replace('_', ' ')}", "", audience))
        parts += [Text(), table]
    return Group(*parts, Text(), *_verdict(found))


def _verdict(found: RoundOutcome) -> list[Text]:
    from rich.text import Text

    if found.verdict == "promoted":
        head = Text(f"Promoted: {found.candidate} became {found.alias}, which was {found.before}.", style="bold green")
        then = f"next: honed chat {found.candidate} --against {found.before}  |  to take it back: honed rollback"
        then += "" if found.alias == "live" else f" --alias {found.alias}"
    else:
        head = Text(f"Held: {found.alias} stays {found.before}.", style="bold yellow")
        then = f"next: honed explain {found.candidate}  |  honed round show {found.ref}" if found.candidate else ""
    return [head, *(Text(f"  {reason}") for reason in found.reasons), *([Text(then, style="dim")] if then else [])]


def _cells(name: str, role: str, line: SuiteOutcome | AudienceOutcome) -> list[Text]:
    from rich.text import Text

    from honed.evaluate import words

    marks = {
        "pass": Text("✓", "green"),
        "fail": Text("✗", "red"),
        "not seen to fall": Text("no fall seen", "dim"),
        "too few": Text("too few rows", "yellow"),
    }
    mark = marks.get(line.verdict, Text(line.verdict, "yellow"))
    if line.before is None or line.after is None or line.difference is None or line.interval is None:
        return [Text(name), Text(role), Text(str(line.n)), Text(), Text(), Text(), Text(), mark]
    p_value = getattr(line, "p_value", None)
    return [
        Text(name),
        Text(role),
        Text(str(line.n)),
        Text(f"{100 * line.before.rate:.0f}"),
        Text(f"{100 * line.after.rate:.0f}"),
        Text(f"{words.signed(100 * line.difference)} ({words.span(line.interval)})"),
        Text("" if p_value is None else words.chance(p_value, "")),
        mark,
    ]
