"""``honed data select``: the best rows by some selectors as a new dataset, and as many random ones beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.score import measured, measuring_options, names
from honed.cli.tables import columns
from honed.cli.trial import tell, training_options
from honed.errors import ConfigError
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.train.config import TrainConfig

_TRAINING = ("base", "weights", "epochs")


@click.command()
@click.argument("source", metavar="NAME")
@measuring_options
@click.option("--count", type=click.IntRange(min=1), help="How many training rows.")
@click.option(
    "--as", "name", required=True, metavar="NEW", help="Name of the new dataset; NEW-random is the other one."
)
@click.option("--trial", is_flag=True, help="Then train on both and say which is better: --base, or --model.")
@training_options
@config_options
@workspace_option
@json_option
def select(
    source: str, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any
) -> None:
    """Choose training rows by selectors, as a new dataset; a random subset of the same size is made beside it.

    Selectors are the scores of `honed data score`, and random. Of several the ranks are averaged; diversity spreads
    among the best of the others. Held-out rows stay. Most selectors that were published don't beat a random subset:
    --trial trains on both and says whether this one does, as `honed data trial NEW --base MODEL` does later.

    \b
    honed data select support --by ifd --count 1000 --as support-ifd --model smollm2-135m --trial
    honed data select support --by quality,diversity --count 1000 --as support-core --model smollm2-135m
    honed data select support --by length --count 1000 --as support-long --trial --base smollm2-135m --weights lora
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.select.config import SelectConfig
    from honed.data.select.run import run

    given = {"dataset": source, "by": names(flags["by"]), "count": flags["count"], "name": flags["name"]}
    settings = load(SelectConfig, "select", config, sets, given)
    settings = settings.model_copy(update={"measure": measured(settings.measure, flags)})
    flags["base"] = flags["base"] or (settings.measure.model if flags["trial"] else None)
    training = _training(workspace, settings.dataset, settings.by, flags)
    job = run(workspace, settings)
    result = {"job": job.id, **follow(job, as_json)}
    if not as_json:
        _say(result, settings.measure.model or "MODEL", trial=training is not None)
    if training:
        result["trial"] = _tried(workspace, training, result, as_json)
    if as_json:
        emit_json(result)


def _training(workspace: Workspace, source: str, by: tuple[str, ...], flags: Mapping[str, Any]) -> TrainConfig | None:
    """Return how both sides of a trial are to be trained, or None without ``--trial``; said wrong before rows are read.

    Raises ``ConfigError`` if the flags don't go together, ``DataError`` if nothing could be measured.
    """
    from honed.config import load
    from honed.rounds.trial import run as trials
    from honed.train.config import TrainConfig

    given = {name: flags[name] for name in _TRAINING if flags[name] is not None}
    if not flags["trial"]:
        if given:
            raise ConfigError(f"--{next(iter(given))} says how a trial trains", "Ask for one: --trial")
        return None
    if by == ("random",):
        raise ConfigError("random rows have no others beside them to be tried against", "Leave --trial out.")
    if "base" not in given:
        raise ConfigError("--trial needs a model to train from", "Name it: --base MODEL")
    training = load(TrainConfig, "train", None, (), {**given, "data": source})
    trials.check(workspace, training)
    return training


def _tried(workspace: Workspace, training: TrainConfig, result: Mapping[str, Any], as_json: bool) -> dict[str, Any]:
    """Hold the trial of what was selected, and return its outcome with the job's name."""
    from honed.cli.progress import follow
    from honed.rounds.trial import run as trials

    wanted = training.model_copy(update={"data": result["dataset"]})
    job = trials.run(workspace, wanted, result["random"]["dataset"])
    say(f"job {job.id}")
    outcome = follow(job, as_json)
    if not as_json:
        tell(outcome)
    return {"job": job.id, **outcome}


def _say(result: dict[str, Any], model: str, *, trial: bool) -> None:
    """Print the table of both sides, and what to do next."""
    click.echo(_table(result))
    ref, random = result["dataset"], result["random"]
    for kind, rows in result["dropped"].items():
        say(f"left out: {rows:,} {kind}")
    if random:
        say(f"{random['shared']:,} rows are in both")
    if random and not trial:
        command = f"honed data trial {ref} --against {random['dataset']} --base {model}"
        say(f"whether it beats chance isn't known yet: {command}")
    say(f"next: honed data dropped {ref}  |  honed train --base {model} --data {ref}")


def _table(result: dict[str, Any]) -> str:
    means = list(result["means"])
    lines = [
        (one["dataset"], one["train"], f"{one['answer_words']:.0f}", *(f"{one['means'][key]:.3f}" for key in means))
        for one in (result, result["random"])
        if one
    ]
    return columns(("dataset", "rows", "words of an answer (median)", *(f"mean {key}" for key in means)), lines)
