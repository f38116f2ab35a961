"""One training job of honed, run as a user would, and what its events and its result say of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from honed.config import build
from honed.jobs import launch
from honed.jobs.events import Event, Metric, Step
from honed.jobs.job import Job
from honed.records import Conversation, Preference, Split
from honed.store import datasets, workspace
from honed.train.config import TrainConfig
from honed.train.run import run

NEVER = 10**9
SETTINGS: Mapping[str, Any] = {"epochs": 1, "eval_rows": 0, "checkpoint_every": NEVER}
"""Nothing but training: no held-out loss, no checkpoint (the peers write none either)."""

PLAIN: Mapping[str, Any] = {"precision": "fp32", "packing": False, "sharing": False}
"""The slow and simple way, which the fast ones must agree with."""


@dataclass(frozen=True)
class Trained:
    """What a job said: ``seconds`` of training alone, the loss of every step, the result in full."""

    seconds: float
    step_seconds: tuple[float, ...]
    wall_seconds: float
    losses: tuple[float, ...]
    result: Mapping[str, Any]
    job: Job

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the model: fewer than the dataset's where prefixes are shared."""
        return int(self.result.get("computed_tokens") or self.result["dataset_tokens"])

    def document(self) -> dict[str, Any]:
        """What a benchmark's document holds of the run."""
        tokens = self.result["dataset_tokens"]
        return {
            "tokens_per_second": tokens / self.seconds,
            "peak_bytes": self.result["peak_rss_bytes"],
            "seconds": self.seconds,
            "wall_seconds": self.wall_seconds,
            "dataset_tokens": tokens,
            "computed_tokens": self.computed_tokens,
            "supervised_tokens": self.result["supervised_tokens"],
            "left_out": self.result.get("left_out", 0),
            "losses": list(self.losses),
            "ran": self.result["ran"],
        }


def train(
    folder: Path,
    rows: Iterable[Conversation],
    values: Mapping[str, Any],
    *,
    heldout: Sequence[Conversation] = (),
    preferences: Sequence[Preference] = (),
) -> Trained:
    """Write the rows into a new workspace at ``folder`` and train on them; ``values`` are training settings.

    Raises ``JobError`` with the worker's words if the job doesn't end well.
    """
    home = workspace.init(folder)
    split: Iterable[tuple[Conversation, Split]] = (
        pair for part in (((row, "train") for row in rows), ((row, "heldout") for row in heldout)) for pair in part
    )
    datasets.write(home, "rows", split, config={}, facts={}, preferences=preferences)
    start = time.perf_counter()
    job = run(home, build(TrainConfig, {"data": "rows", **SETTINGS, **values}, "the benchmark"))
    result = launch.wait(job)
    return read(job, result, time.perf_counter() - start)


def read(job: Job, result: Mapping[str, Any], wall: float) -> Trained:
    """Make the numbers out of a job's events."""
    events = job.events()
    steps = durations(events)
    losses = [event.values["loss"] for event in events if isinstance(event, Step) and event.stage == "train"]
    return Trained(sum(steps), tuple(steps[-len(losses) :]), wall, tuple(losses), result, job)


def durations(events: Sequence[Event]) -> list[float]:
    """Seconds of every step, a reference's included, by the clock of the events.

    A step lasts from the event before it, so that building the optimizer, adding adapters and choosing paths count as
    the first step's; loading the model and the held-out loss, which end in events of their own, don't.
    """
    return [event.time - before.time for before, event in pairwise(events) if isinstance(event, Step)]


def curve(events: Sequence[Event]) -> list[tuple[float, float]]:
    """(seconds of training so far, held-out loss in nats per supervised token), from 0 on."""
    seconds, found = 0.0, []
    for before, event in zip([events[0], *events], events, strict=False):
        if isinstance(event, Step):
            seconds += event.time - before.time
        elif isinstance(event, Metric) and event.name == "heldout_loss":
            found.append((seconds, event.value))
    return found


def given(items: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` settings of a command line, values as YAML."""
    import yaml

    pairs = (item.partition("=") for item in items)
    return {key.removeprefix("train."): yaml.safe_load(value) for key, _, value in pairs}
