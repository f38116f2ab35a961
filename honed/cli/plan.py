"""``honed plan``: what a training would take, before it is run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.train import file_argument, one_file, training_options
from honed.store.workspace import Workspace


@click.command()
@file_argument
@click.option(
    "--price", type=click.FloatRange(min=0), help="What an hour of this machine costs: the plan tells the run's."
)
@training_options
@config_options
@workspace_option
@json_option
def command(
    file: Path | None,
    price: float | None,
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    **flags: Any,
) -> None:
    """Say what a training would take: rows, tokens, steps, memory, time and cost, and whether it fits.

    The settings are those of `honed train`. The model is loaded, the rows are read, and a few passes are run and timed;
    nothing is trained. What does not fit is said, with what to change; weights that can't fit are not loaded.

    \b
    honed plan train.yaml
    honed plan --base smollm2-135m --data helpdesk --price 0.45
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.train.config import TrainConfig
    from honed.train.run import plan

    job = plan(workspace, load(TrainConfig, "train", one_file(file, config), sets, flags))
    result = follow(job, as_json)
    seconds = result["time"]
    if price is not None and seconds:
        cost = price * result["machines"] * seconds["total"] / 3600
        result = {**result, "cost": round(cost, 4), "price_per_hour": price}
    if as_json:
        emit_json({"job": job.id, **result})
        return
    tell(result)
    if result["fits"]:
        say(f"next: {_training(file or config, sets, flags)}{_elsewhere(workspace)}")


def _training(file: Path | None, sets: Sequence[str], flags: Mapping[str, Any]) -> str:
    """The command that trains what was planned."""
    given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in flags.items() if value is not None]
    parts = [part for pair in (*given, *(("--set", one) for one in sets)) for part in pair]
    return shlex.join(["honed", "train", *([str(file)] if file else []), *parts])


def _elsewhere(workspace: Workspace) -> str:
    """What a command needs besides, for the workspace that was named to this one."""
    source = click.get_current_context().get_parameter_source("workspace")
    return f" --workspace {shlex.quote(str(workspace.path))}" if source is ParameterSource.COMMANDLINE else ""


def tell(result: Mapping[str, Any]) -> None:
    """Print what a plan found."""
    for name, text in _lines(result):
        click.echo(f"{name:<12}{text}")


def _lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    from honed.cli.tables import clock

    settings, memory, seconds = result["settings"], result["memory"], result["time"]
    some = [part for part in ("scores", "gathered", "windows") if memory.get(part)]  # by plain torch, fsdp, a stream
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "holes", "runtime", *some)
    peak = max(memory["measured"] or 0, memory["total"])
    least = "at least " if result["rows"] is None else ""
    verdict = "it fits" if result["fits"] else "it does not fit"
    lines = [
        ("model", f"{result['base']}, {result['objective']} of {settings['weights']} weights, {settings['precision']}"),
        *_made(result),
        *(_counted(result) if result["rows"] is not None else [("", "nothing was loaded: its weights can't fit")]),
        *_held_out(result),
        *(("" if number else "why", reason) for number, reason in enumerate(result["reasons"])),
        ("memory", f"{least}{peak / 1e9:.1f} GB at the peak, {memory['free'] / 1e9:.1f} GB are free: {verdict}"),
        ("", ", ".join(f"{part} {memory[part] / 1e9:.2f}" for part in parts)),
    ]
    if disk := result["disk"]:
        room = "" if disk["most"] <= disk["free"] else ": it may become full"
        most = f"{disk['most'] / 1e9:.1f} GB at most (model {disk['model'] / 1e9:.1f}, checkpoints meanwhile)"
        lines.append(("disk", f"{most}, {disk['free'] / 1e9:.1f} GB are free{room}"))
    if seconds:
        of = ", ".join(f"{part} {clock(value)}" for part, value in seconds.items() if part != "total" and value >= 1)
        lines.append(("time", f"{clock(seconds['total'])}: {of}"))
    if "cost" in result:
        each = f" for each of {result['machines']} machines" if result["machines"] > 1 else ""
        lines.append(("cost", f"{result['cost']:.2f} at {result['price_per_hour']:g} an hour{each}"))
    return [*lines, *(("change", way) for way in result["advice"])]


def _made(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model's name, and the rate, which isn't known of what can't fit."""
    settings, lines = result["settings"], [("makes", result["name"])]
    if rate := settings.get("learning_rate"):
        mean = ", the mean of the weights" if settings["average"] else ""
        lines.append(("rate", f"{rate:g} at its peak, {settings['schedule']}{mean}"))
    return lines


def _counted(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was counted in the data."""
    every, computed = result["dataset_tokens"], result["computed_tokens"]
    saved = f", {computed:,} computed ({every / computed:.2f} times fewer)" if computed < every else ""
    of_all = f" in {result['epochs']:g} epochs" if result["epochs"] != 1 else ""
    left_out = f" ({result['left_out']} left out)" if result["left_out"] else ""
    return [
        ("rows", f"{result['rows']:,} of {result['data']}{left_out}, {result['epochs']:g} epochs"),
        ("tokens", f"{every:,}{of_all}{saved}, {result['supervised_tokens']:,} supervised"),
        ("steps", f"{result['steps']:,}, {result['passes']:,} passes of at most {result['largest_pass']:,} tokens"),
    ]


_MUCH = 0.1
"""Share of a run's time from which on it is said what would make held-out losses take less."""


def _held_out(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the held-out loss is measured on, how often, and what it costs; that of what can't fit isn't known."""
    if not (heldout := result["heldout"]):
        return []
    of, seconds = heldout["of"], result["time"]
    text = f"{heldout['rows']:,}{f' of {of:,}' if of is not None else ''} rows"
    if heldout["rows"]:
        text += f", measured {heldout['measured']:,} times"
    if seconds and (share := seconds["heldout"] / seconds["total"]) > _MUCH:
        text += f", in {100 * share:.0f} % of the time (fewer eval_rows or a larger eval_every take less)"
    return [("held out", text)]
