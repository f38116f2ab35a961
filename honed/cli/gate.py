"""``honed gate CANDIDATE_EVAL BASE_EVAL``: promote, hold or reject, with an exit code for CI."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, workspace_option
from honed.errors import ConfigError
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.compare import Comparison
    from honed.evaluate.finding import AudienceOutcome, SuiteOutcome
    from honed.evaluate.gate import GateConfig
    from honed.evaluate.gated import Gated, Judged, Side
    from honed.evaluate.judge.answers import Sides

_EXIT = {"promote": 0, "hold": 3, "reject": 4}


@click.command()
@click.argument("candidate_eval", required=False)
@click.argument("base_eval", required=False)
@click.option(
    "--guard",
    "guards",
    nargs=2,
    multiple=True,
    metavar="CANDIDATE_EVAL BASE_EVAL",
    help="Two evaluations on a suite that must not fall; may be given several times.",
)
@click.option(
    "--judged",
    multiple=True,
    metavar="JOB",
    help="What honed judge said of the two, shown beside the decision; it decides nothing. May be given several times.",
)
@config_options
@click.option("--override", metavar="REASON", help="Promote all the same; who, when and why are signed and kept.")
@click.option("--by", metavar="NAME", help="Who overrides.  [default: the user of this machine]")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where the decision is kept."
)
@click.option(
    "--check",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Say what a kept decision was, if this workspace signed it.",
)
@workspace_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    **given: Any,
) -> None:
    """Say whether the model of CANDIDATE_EVAL may take the place of that of BASE_EVAL.

    Both are jobs that `honed evaluate` made on the same held-out rows, on which the candidate must be shown to improve
    (paired, one-sided), by answers that aren't vacuous too, and must pass more than a constant answer or the echoed
    prompt does. On each pair of --guard a fall of the margin must be ruled out. Settings are read from gate.yaml, if
    --config names it: alpha, primary, margin, guarded, segments, segment_margin, segment_rule, least_rows,
    least_segment_rows.

    \b
    Exit code: 0 promote; 3 hold (not shown); 4 reject (shown to be worse);
    1 error, 2 wrong usage.

    The decision is signed and kept as gate.json beside CANDIDATE_EVAL's answers; --check reads it back.
    """
    from honed.evaluate import gated

    if given["check"] is not None:
        made = gated.read(workspace, given["check"])
    else:
        if given["base_eval"] is None:
            raise click.UsageError("give CANDIDATE_EVAL and BASE_EVAL, or --check FILE", context)
        override = _override(given["override"], given["by"])
        pairs = ((given["candidate_eval"], given["base_eval"]), *given["guards"])
        made = _gated(workspace, pairs, (config, sets), override)
        judged = tuple(_judged(workspace, id_, made.sides[0]) for id_ in given["judged"])
        made = made.model_copy(update={"judged": judged})
        made = gated.write(workspace, made, given["out"] or _place(workspace, made.sides[0]))
    if as_json:
        emit_json(made.model_dump(mode="json"))
    else:
        _say(made)
    context.exit(_EXIT[made.decision])


def _override(reason: str | None, who: str | None) -> tuple[str, str] | None:
    if reason is None:
        if who:
            raise ConfigError("--by is read with --override only", "Leave it out, or give --override REASON.")
        return None
    if not reason.strip():
        raise ConfigError("--override needs a reason", "Say in a sentence why the gate is overruled.")
    return reason.strip(), who or getpass.getuser()


def _gated(
    workspace: Workspace,
    pairs: tuple[tuple[str, str], ...],
    given: tuple[Path | None, tuple[str, ...]],
    override: tuple[str, str] | None,
) -> Gated:
    """Judge the pairs of jobs, (candidate, base): the primary suite must improve, the others must not fall."""
    from honed.config import load
    from honed.evaluate import gated
    from honed.evaluate.gate import GateConfig, judge, measured, ruled

    settings = ruled(load(GateConfig, "gate", *given, {}))
    found: dict[str, Comparison] = {}
    sides: list[Side] = []
    for pair in pairs:
        name, comparison = _compared(workspace, pair, settings)
        one = gated.side(comparison)
        if sides and (one.candidate_hash, one.base_hash) != (sides[0].candidate_hash, sides[0].base_hash):
            raise ConfigError(
                f"{' and '.join(pair)} are of other models: {one.candidate} against {one.base}",
                f"Every pair must be of {sides[0].candidate} against {sides[0].base}.",
            )
        if name in found or one.data_hash in {other.data_hash for other in sides}:
            raise ConfigError(f"{one.data} is given twice", "Give each suite once: it counts once.")
        found[name] = comparison
        sides.append(one)
    primary = settings.primary or next(iter(found))
    if primary not in found:
        raise ConfigError(f"primary: nothing of {primary!r} was measured", f"Suites given: {', '.join(found)}.")
    suites = [measured(name, "improve" if name == primary else "keep", one, settings) for name, one in found.items()]
    return gated.decide(judge(suites, settings), settings, sides, override)


def _compared(workspace: Workspace, pair: tuple[str, str], settings: GateConfig) -> tuple[str, Comparison]:
    """Return a pair's suite by its name in ``gate.yaml``, and the comparison on it."""
    from honed.evaluate.gate import compared
    from honed.jobs import job as jobs

    candidate, base = (jobs.find(workspace, id_) for id_ in pair)
    comparison = compared(base, candidate, settings)
    return comparison.data.removeprefix("suite ").partition("@")[0], comparison


def _judged(workspace: Workspace, id_: str, first: Side) -> Judged:
    """Return what a judging job said. Raises ``ConfigError`` if it isn't of the two evaluations that are gated."""
    from honed.evaluate.gated import Judged
    from honed.evaluate.judge import outcome, words
    from honed.evaluate.judge.trusted import STAGE
    from honed.jobs import job as jobs

    job = jobs.find(workspace, id_)
    found = outcome.result(job.result()) if job.status().stage == STAGE else None
    wanted = (first.base_job, first.candidate_job)
    if not isinstance(found, outcome.Pairwise | outcome.People) or _jobs(found.sides) != wanted:
        raise ConfigError(
            f"{job.id} doesn't compare the answers of {first.base_job} and {first.candidate_job}",
            f"Run: honed judge {first.base_job} {first.candidate_job}, by a judge or --people.",
        )
    said = words.headline(found)
    if isinstance(found, outcome.People):
        return Judged(job=job.id, said=said, trust="people")
    return Judged(job=job.id, said=f"{said} {words.trust(found.trust)}", trust=found.trust.state)


def _jobs(sides: Sides) -> tuple[str, str]:
    return sides.base_job, sides.tuned_job


def _place(workspace: Workspace, first: Side) -> Path:
    from honed.evaluate.gated import FILE

    return workspace.jobs / first.candidate_job / f"against-{first.base_job}" / FILE


def _say(made: Gated) -> None:
    from honed.cli.tables import columns, plain
    from honed.evaluate import words

    first = made.sides[0]
    click.echo(f"{made.decision.upper()}: {plain(first.candidate)} in the place of {plain(first.base)}")
    if made.override:
        said = f"overridden by {plain(made.override.who)} at {made.override.when}: {plain(made.override.reason)}"
        click.echo(f"  the gate said {made.judgement.verdict}; {said}")
    for reason in made.judgement.reasons:
        click.echo(f"  {plain(reason)}")
    for one in made.judged:
        click.echo(f"  beside it: {plain(one.said)}")
    for side in made.sides:
        for note in side.notes:
            click.echo(f"  note on {plain(side.data)}: {plain(note)}")
    rows: list[list[object]] = []
    for suite in made.judgement.suites:
        rows.append([plain(suite.name), suite.role, suite.n, *_numbers(suite), *_beside(suite), suite.verdict])
        rows += [
            [f"  {one.tag}: {plain(words.plain(one.name))}", "", one.n, *_numbers(one), "", "", "", one.verdict]
            for one in suite.audiences
        ]
    header = ["suite", "must", "rows", "difference", "95 % interval", "guarded", "always", "echo", "gate"]
    click.echo("\n" + columns(header, rows))
    click.echo(
        "\nguarded: passes by answers that aren't vacuous; always, echo: one constant answer, the prompt said back"
    )


def _beside(suite: SuiteOutcome) -> tuple[str, str, str]:
    """What stands beside the passes of a suite: the change of guarded ones, and what both floors pass."""
    from honed.evaluate import words

    if suite.guarded is None:
        return "", "", ""
    constant, echo = (words.floor(suite.floors, name) for name in ("constant", "echo"))
    return words.points(suite.guarded.difference, 1), constant, echo


def _numbers(line: SuiteOutcome | AudienceOutcome) -> tuple[str, str]:
    from honed.evaluate import words

    if line.difference is None or line.interval is None:
        return "", ""
    return words.points(line.difference, 1), words.span(line.interval, digits=1)
