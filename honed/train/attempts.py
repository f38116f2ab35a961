"""What the attempts at a training have in common: the settings as asked, and what the first one chose by measuring."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from honed import config as settings_file
from honed.errors import JobError
from honed.jobs.events import Note
from honed.jobs.job import Job
from honed.models import load as models
from honed.store.artifacts import Artifact
from honed.store.workspace import write_whole
from honed.train import checkpoint
from honed.train.config import TrainConfig
from honed.train.folder import CHECKPOINTS
from honed.train.ranks import Ranks
from honed.train.run import check_name

CHOSEN = "chosen.json"
"""What the first attempt found out about the machine, in the job's folder."""

COUNTED = ("epochs", "learning_rate", "batch_tokens")
"""Settings chosen by the data and the weights; where the job's file has one, that stands on a resume too."""

_RATE = "learning_rate"
_MAY_CHANGE = frozenset((_RATE, "name", "ranks", "on", "eval_every", "checkpoint_every", "keep_checkpoints"))
"""Settings that another attempt may have: they decide neither which rows a step has nor what is computed of them, nor
which held-out losses are compared with one another."""


def chosen(job: Job) -> dict[str, Any]:
    """Return what the first attempt chose by measuring the machine: a resume must not choose otherwise."""
    path = job.path / CHOSEN
    return dict(json.loads(path.read_text())) if path.exists() else {}


def remember(job: Job, **choice: Any) -> None:
    """Add to what ``chosen`` will return."""
    write_whole(job.path / CHOSEN, json.dumps({**chosen(job), **choice}))


def read(job: Job) -> TrainConfig:
    """Return the settings of a job's file with what its first attempt chose, unless by them it begins anew."""
    config, before = settings_file.read(TrainConfig, job.path / "config.yaml"), chosen(job)
    if _changed(before, config) and not checkpoint.found(job.path / CHECKPOINTS):
        before = {}  # as rank 0 will say, for which the others don't wait
    stands = {name for name in COUNTED if getattr(config, name) is not None}
    found = {name: value for name, value in before.items() if name in TrainConfig.model_fields and name not in stands}
    return config.model_copy(update=found)


def check_settings(job: Job) -> None:
    """Raise ``JobError`` if the job's file has other settings than at first: steps would be others, or stay unchanged.

    A resume goes on behind a number of steps, with what was chosen then; without any, it begins anew.
    """
    path, before = job.path / "config.yaml", chosen(job)
    config = settings_file.read(TrainConfig, path)
    now = config.model_dump(mode="json")
    first = {**now, **before.get("asked", {})}
    if config.name != first["name"]:
        _check_name(job, config.name)
    resumed, changed = bool(checkpoint.found(job.path / CHECKPOINTS)), _changed(before, config)
    others = changed if resumed or first[_RATE] == now[_RATE] else [*changed, _RATE]
    listed = ", ".join(f"{name} ({first[name]} at first, {now[name]} now)" for name in others)
    if not others:
        remember(job, asked=first)
    elif resumed:
        raise JobError(
            f"job {job.id} can't go on with other settings: {listed}",
            f"Put them back in {path}, or train anew with them: honed train {path}",
        )
    else:
        reasons = [reason for reason in before.get("reasons", ()) if not reason.startswith(_RATE)]
        kept = {} if changed else {**before, "reasons": reasons}  # all that was chosen stands at another rate
        write_whole(job.path / CHOSEN, json.dumps({**kept, "asked": now}))
        job.log.write(Note(text=f"the training begins anew, with other settings: {listed}", anew=True))


def check_data(job: Job, dataset: Artifact) -> None:
    """Raise ``JobError`` if the first attempt began with other data: the name may have been given anew."""
    _check_same(job, "data_hash", "rows", dataset.ref, dataset.manifest.hash)


def check_base(job: Job, spec: str, ranks: Ranks) -> None:
    """Raise ``JobError`` if a rank, or the first attempt, began with other weights than rank 0 has now.

    Gradients of two models have no sum, and adapters fit the weights that they were made beside. The hashes are at hand
    on each machine: finding the model took them.
    """
    found = ranks.exchange([models.locate(spec, job.workspace).weights_hash, socket.gethostname()])
    first, where = found[0]
    for rank, (other, there) in enumerate(found):
        if other != first:
            raise JobError(
                f"rank {rank} on {there} has weights of {spec} with hash {other[:12]}, and rank 0 on {where} those of "
                f"{first[:12]}",
                "Fetch the same version, or copy the same files, to all machines.",
            )
    ranks.together(lambda: _check_same(job, "base_weights", "weights", spec, first) if ranks.first else None)


def _check_same(job: Job, kept: str, what: str, name: str, now: str) -> None:
    """Raise ``JobError`` if the first attempt began with something else of that name: ``now`` is its hash by now."""
    if (first := chosen(job).get(kept, now)) != now:
        raise JobError(
            f"job {job.id} began with {what} of hash {first[:12]}, and {name} has those of {now[:12]} now",
            f"Put those {what} back, or train anew: honed train {job.path / 'config.yaml'}",
        )
    remember(job, **{kept: now})


def _changed(before: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """The settings that were others at first (``before`` is what was chosen then), but for those that may be."""
    now, first = config.model_dump(mode="json"), before.get("asked", {})
    return [name for name in now if name not in _MAY_CHANGE and first.get(name, now[name]) != now[name]]


def _check_name(job: Job, name: str | None) -> None:
    """Raise ``HonedError`` if no model can have the name that the job's file has now."""
    if name is None:
        raise JobError(f"job {job.id} has no name for its model now", f"Write one into {job.path / 'config.yaml'}.")
    check_name(job.workspace, name, f"Write another into {job.path / 'config.yaml'}.")
