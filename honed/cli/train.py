"""``honed train``: fine-tune a base model on a dataset of the workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from honed.cli import curve as curves
from honed.cli.options import config_options, emit_json, json_option, needed, say, workspace_if_any_option
from honed.store.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])


_OPTIONS = (
    click.option(
        "--base", metavar="MODEL", help="Start from: smollm2-135m, a workspace model, a folder, a .gguf, a hub id."
    ),
    click.option("--data", metavar="NAME", help="Dataset: name, or name@vN."),
    click.option("--name", metavar="NAME", help="Name of the model that is made."),
    click.option(
        "--objective",
        type=click.Choice(["sft", "dpo", "kto", "orpo", "simpo"]),
        help="Learn the rows (sft), preferences between answers (dpo, orpo, simpo), or answers rated (kto).",
    ),
    click.option(
        "--weights",
        type=click.Choice(["auto", "full", "lora", "qlora"]),
        help="Train all weights, LoRA adapters, or adapters beside 4-bit weights; auto: adapters if rows fit them.",
    ),
    click.option("--epochs", type=float, help="Passes over the training rows."),
    click.option("--learning-rate", type=float, help="Peak learning rate."),
    click.option("--ranks", type=int, help="Processes that train together; 0: one per GPU."),
    click.option("--on", metavar="RAY", help="Run the ranks on Ray: ray (this machine), or ray://HOST:PORT."),
    click.option("--rows", type=int, help="Train on the first N training rows only."),
)


def training_options(function: F) -> F:
    """Add the settings of a training that have flags of their own; what isn't given is None."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


file_argument = click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[TRAIN.YAML]")
"""The settings' file; the command gets ``file: Path | None``, to be joined with ``--config`` by ``one_file``."""


def one_file(file: Path | None, config: Path | None) -> Path | None:
    """Return the settings' file, which may be given in two ways but not in both."""
    if file and config:
        raise click.UsageError(f"{file} and --config {config}: the settings are in one file; name one.")
    return file or config


@click.command()
@file_argument
@training_options
@click.option("--settings", is_flag=True, help="Print every setting, its default and what it means; do nothing else.")
@click.option(
    "--curve", metavar="SIZES", help="Train on nested subsets, such as 16,64,256,1k,all: would more rows help?"
)
@click.option(
    "--reach", type=float, multiple=True, metavar="LOSS", help="With --curve: how many rows reach this held-out loss?"
)
@click.option("--track", metavar="NAME", help="Send the numbers to tensorboard, wandb, mlflow or trackio as they come.")
@config_options
@workspace_if_any_option
@json_option
def command(
    file: Path | None,
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace | None,
    as_json: bool,
    track: str | None,
    **flags: Any,
) -> None:
    """Fine-tune a base model on a dataset of the workspace.

    What you leave open is chosen from the model, the data and this machine, and the reason is said. Ctrl-C leaves
    a job that `honed jobs resume` continues, with the same weights in the end
    (on a GPU up to rounding).

    \b
    honed train --base smollm2-135m --data helpdesk
    honed train --base live --data desk-feedback --objective dpo
    honed train --base live --data desk-feedback --objective kto --set train.preference.beta=0.2
    honed train --base smollm2-135m --data helpdesk --curve 16,64,256,1k,all --reach 0.5
    honed train train.yaml --set train.learning_rate=1e-4
    honed train --settings
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.jobs import launch
    from honed.jobs.trackers import tracker as trackers
    from honed.train.config import TrainConfig
    from honed.train.run import run

    if flags.pop("settings"):
        _list(as_json)
        return
    workspace = workspace or needed()
    if track:
        trackers.find(track)  # before anything is started
    curve: str | None = flags.pop("curve")
    reach = curves.reached(flags.pop("reach"), curve)
    sets, evaluation = curves.split(sets) if curve is not None else (sets, {})
    given = load(TrainConfig, "train", one_file(file, config), sets, flags)
    job = run(workspace, given) if curve is None else curves.start(workspace, given, curve, evaluation, reach)
    say(f"job {job.id}")
    if track:
        launch.track(job, track)
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    if curve is not None:
        curves.tell(result)
        return
    tell(result)


def tell(result: Mapping[str, Any]) -> None:
    """Say what came of a training, where the model is and what can be done with it."""
    model = result["model"]
    say(_line(result))
    say(f"folder: {result['path']}")
    measured = f"honed evaluate {model} --data {result['data']}  |  " if result["heldout_loss"] is not None else ""
    say(f"next: {measured}honed chat {model}")


def _list(as_json: bool) -> None:
    """Print every setting of a training."""
    from honed.cli.tables import columns
    from honed.config import described
    from honed.train.config import TrainConfig

    found = described(TrainConfig)
    if as_json:
        emit_json({"settings": [{"key": key, "default": value, "meaning": text} for key, value, text in found]})
    else:
        click.echo(columns(["setting", "default", "meaning"], found))


def _line(result: Mapping[str, Any]) -> str:
    """What came of a training, in one line."""
    from honed.cli.tables import clock
    from honed.train.objectives.kinds import KINDS

    ran, before, heldout = result["ran"], result["heldout_loss_before"], result["heldout_loss"]
    first = f"{before:.3f} -> " if before is not None else ""
    units = {"rows": "rows", "preferences": "pairs", "answers": "answers"}
    parts = [
        f"{result['rows']} {units[KINDS[ran['objective']].learns]}, {result['steps']} steps",
        f"margin {result['margin']:.2f}, {100 * result['accuracy']:.0f} % preferred rightly"
        if "margin" in result
        else "",
        f"held-out loss {first}{heldout:.3f}" if heldout is not None else "",
        f"took {clock(result['seconds'])}",
        f"{result['tokens_per_second']:.0f} tokens/s, peak {result['peak_rss_bytes'] / 1e9:.1f} GB",
    ]
    how = f"{ran['objective']}, {ran['weights']}, {ran['precision']} on {ran['device']}"
    line = f"{result['model']}: {', '.join(part for part in parts if part)} ({how})"
    if bad := result["diverged"]:
        line += f"; diverged at step {bad['step']}: {bad['why']}; lower learning_rate (now {ran['learning_rate']:g})"
    return line
