"""``honed data mix``: datasets become one, by weights or numbers; the plan is a table, shown before it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.data.mix.plan import Line, Plan
    from honed.data.mix.recipe import MixConfig

_SHOWN = 40


@click.command()
@click.argument("datasets", nargs=-1, metavar="[NAME|NAME=WEIGHT|NAME:ROWS]...")
@click.option("--as", "name", required=True, metavar="NEW", help="Name of the mix: NEW@v1, then @v2 ...")
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Training rows in all.  [what keeps the shares]")
@click.option("--anchor", metavar="NAME=SHARE", help="Replay rows of another dataset against forgetting: general=0.1.")
@click.option("--segments", type=click.Path(), metavar="FILE", help="Segments, for a level by segment.")
@click.option(
    "--use", type=click.Choice(["commercial", "research"]), help="What it is for: warns of licences that forbid it."
)
@click.option("--dry-run", is_flag=True, help="Show the plan and build nothing.")
@config_options
@workspace_option
@json_option
def mix(
    datasets: tuple[str, ...],
    config: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
    workspace: Workspace,
    as_json: bool,
    **flags: Any,
) -> None:
    """Mix the training rows of datasets; held-out rows of all of them stay held out.

    Without weights every usable row is taken. With them, as many as keep the shares, or --rows in all. Rows are chosen
    by the hash of their text; no row is taken twice; each that is left out is listed (honed data dropped NEW). Shares
    by task, segment or any tag, temperature, and the most rows of an author or source are settings of a file.

    \b
    honed data mix support dolly --as both --dry-run
    honed data mix support=2 dolly=1 --as both --rows 3000
    honed data mix support dolly:500 --as both --anchor general=0.1
    honed data mix --config mix.yaml --as both
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.mix import run, summary
    from honed.data.mix.recipe import MixConfig

    names, shares = _named(datasets)
    flags |= {"datasets": names or None, "anchor": _anchor(flags["anchor"])}
    settings = run.settled(workspace, _dealt(load(MixConfig, "mix", config, sets, flags), shares))
    if dry_run or not as_json:
        plan = run.plan(workspace, settings)
        if not as_json:
            click.echo(_table(plan))
            for text in _remarks(plan):
                say(text)
        elif dry_run:
            emit_json({"dropped": summary.reasons(plan), "train": plan.total, **summary.facts(plan)})
        if dry_run:
            return
    # The job plans once more, from the same versions and rules, to the same rows (they are chosen by hashes): a job is
    # its folder, to be resumed and copied, and a plan is flags for every row, read faster than the mix is written.
    job = run.run(workspace, settings)
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    ref = result["dataset"]
    was = "" if result["new"] else " (the same content as before: no new version)"
    say(f"{ref}{was}: {result['train']:,} training rows; {result['heldout']:,} held out")
    say(f"next: honed data card {ref}  |  honed data dropped {ref}  |  honed train --base MODEL --data {ref}")


def _named(datasets: tuple[str, ...]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the names that NAME, NAME=WEIGHT and NAME:ROWS write, and what they say of shares."""
    names: list[str] = []
    shares: dict[str, dict[str, Any]] = {"weights": {}, "rows": {}}
    for text in datasets:
        sign = "=" if "=" in text else ":"
        name, given, number = text.partition(sign)
        names.append(name)
        try:
            if given and sign == "=":
                shares["weights"][name] = float(number)
            elif given:
                shares["rows"][name] = int(number.replace(",", ""))
        except ValueError:
            raise click.UsageError(f"{text}: {number!r} is no number; write NAME=WEIGHT or NAME:ROWS") from None
    return names, {key: value for key, value in shares.items() if value}


def _dealt(settings: MixConfig, shares: dict[str, dict[str, Any]]) -> MixConfig:
    """Return the settings with the shares of the command line, in place of those of a file's level by dataset."""
    from honed.config import build
    from honed.data.mix.recipe import DATASET, Level

    if not shares:
        return settings
    levels = list(settings.levels)
    at = next((place for place, level in enumerate(levels) if level.by == DATASET), None)
    temperature = levels.pop(at).temperature if at is not None else 1.0
    level = build(Level, {"by": DATASET, **shares, "temperature": temperature}, "mix")
    levels.insert(at or 0, level)
    return settings.model_copy(update={"levels": tuple(levels)})


def _anchor(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    name, equals, share = text.partition("=")
    try:
        return {"dataset": name, "share": float(share) if equals else 0.1}
    except ValueError:
        raise click.UsageError(f"--anchor {text}: {share!r} is no share; write --anchor {name}=0.1") from None


def _table(plan: Plan) -> str:
    from honed.cli.tables import columns, short

    levels = [level.by for level in plan.settings.levels]
    header = [*levels, "rows", "usable", "asked", "taken", "share"]
    shown = sorted(plan.lines, key=lambda line: -line.taken)[:_SHOWN] if len(plan.lines) > _SHOWN else plan.lines
    lines = [[*(short(value, 40) for value in line.path), *_numbers(line, plan)] for line in shown]
    if len(plan.lines) > _SHOWN:
        rest = plan.lines and [line for line in plan.lines if line not in shown]
        summed = (sum(getattr(line, name) for line in rest) for name in ("rows", "usable", "asked", "taken"))
        lines.append([f"({len(rest):,} more)", *[""] * (len(levels) - 1), *_numbers(_summed(*summed), plan)])
    blank = [""] * (len(levels) - 1)
    if plan.replayed:
        lines.append([f"{plan.replayed.path[0]} (anchor)", *blank, *_numbers(plan.replayed, plan)])
    everything = [*plan.lines, *([plan.replayed] if plan.replayed else [])]
    whole = (sum(getattr(line, name) for line in everything) for name in ("rows", "usable", "asked", "taken"))
    lines.append(["all", *blank, *_numbers(_summed(*whole), plan)])
    return columns(header, lines)


def _summed(rows: int, usable: int, asked: float, taken: int) -> Line:
    from honed.data.mix.plan import Line

    return Line((), rows, usable, asked, taken)


def _numbers(line: Line, plan: Plan) -> list[Any]:
    return [line.rows, line.usable, round(line.asked), line.taken, f"{100 * line.taken / plan.total:5.1f} %"]


def _remarks(plan: Plan) -> list[str]:
    from honed.data.mix import summary

    said = [f"note: {note}" for note in plan.notes]
    if out := summary.reasons(plan):
        said.append("left out: " + ", ".join(f"{count:,} {kind}" for kind, count in out.items()))
    said += [f"{count:,} rows of {other} stand in {first} too" for (first, other), count in plan.repeated.items()]
    if plan.same_prompt:
        said.append(f"{plan.same_prompt:,} more answers to a prompt already there, kept")
    if plan.segments:
        said.append("segments: " + ", ".join(f"{name} {count:,}" for name, count in plan.segments.most_common()))
    said += [f"warning: licence: {one.what}" for one in summary.conflicts(plan)]
    return said
