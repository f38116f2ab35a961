"""``honed data trial``: does a selection beat random rows? Trains on both, measures both, says which won."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from honed.cli.curve import split
from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.tables import columns
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.rounds.trial.outcome import TrialOutcome

F = TypeVar("F", bound=Callable[..., Any])


def training_options(function: F) -> F:
    """Add what says how both sides are trained: ``--base``, ``--weights``, ``--epochs``; each may be None."""
    base = click.option("--base", metavar="MODEL", help="Model that both are trained from.")
    weights = click.option("--weights", type=click.Choice(["auto", "full", "lora", "qlora"]), help="As in honed train.")
    epochs = click.option("--epochs", type=float, help="Passes over the training rows.")
    return base(weights(epochs(function)))


@click.command()
@click.argument("name")
@click.option("--against", metavar="NAME", help="What it is compared with.  [default: the random rows beside NAME]")
@training_options
@config_options
@workspace_option
@json_option
def trial(
    name: str, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any
) -> None:
    """Train on a selection and on random rows of the same number; say which model is better on the held-out rows.

    Both trainings share every setting, and what is left open is chosen once. The difference of the held-out losses has
    a paired interval and a p-value. It takes two trainings and three evaluations; Ctrl-C leaves it resumable.

    \b
    honed data trial support-ifd --base smollm2-135m
    honed data trial support-ifd --against support-long --base smollm2-135m --weights lora
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.rounds.trial.run import run
    from honed.train.config import TrainConfig

    against = flags.pop("against")
    own, evaluation = split(sets)
    job = run(workspace, load(TrainConfig, "train", config, own, {"data": name, **flags}), against, evaluation)
    say(f"job {job.id}")
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    tell(result)


def tell(result: dict[str, Any]) -> None:
    """Print a trial's table and what it shows."""
    from honed.rounds.trial.outcome import TrialOutcome

    found = TrialOutcome.model_validate(result)
    click.echo(_table(found))
    for sentence in found.words:
        click.echo(sentence)


def _table(found: TrialOutcome) -> str:
    from honed.evaluate import words

    lines = []
    tokens = ("", *(f"{count:,}" for count in found.tokens))
    for name, point, seen in zip(("base model", found.against, found.data), found.points, tokens, strict=True):
        one = point.trained
        loss = "" if point.loss is None or point.interval is None else f"{point.loss:.4f}"
        span = "" if point.interval is None else words.span(point.interval, 1, 3)
        passed = "" if point.passed is None else words.percent(point.passed.rate)
        lines.append((name, one.rows if one else "", seen, one.steps if one else "", loss, span, passed))
    return columns(("trained on", "rows", "tokens", "steps", "held-out loss", "95 %", "passed"), lines)
