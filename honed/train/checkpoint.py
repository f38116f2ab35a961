"""Checkpoints: everything that decides the rest of a run, written whole or not at all. Safetensors and JSON only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from honed.models.save import os_errors
from honed.store.artifacts import sync_tree
from honed.store.workspace import writing
from honed.train.optim import Optimizer


def save(folder: Path, step: int, optimizer: Optimizer, keep: int, position: Mapping[str, Any] | None = None) -> Path:
    """Write ``step-<N>`` (N steps are done) under a temporary name, sync it, rename it; then drop all but ``keep``.

    ``position`` is JSON that says where in the data the step ended, beyond its number (``steps.Position``).
    A full disk raises ``StoreError`` and leaves the checkpoints that were there.
    """
    final = folder / f"step-{step:08d}"
    scratch = folder / f".{final.name}"
    with writing(final):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            random = {"random.cpu": torch.get_rng_state()}
            if torch.cuda.is_available():
                random["random.cuda"] = torch.cuda.get_rng_state()
            with os_errors():
                save_file({**optimizer.state(), **random}, scratch / "state.safetensors")
            (scratch / "checkpoint.json").write_text(json.dumps({"step": step, "position": position or {}}))
            sync_tree(scratch)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        shutil.rmtree(final, ignore_errors=True)
        scratch.rename(final)
    for old in found(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def found(folder: Path) -> list[Path]:
    """Return the whole checkpoints, oldest first."""
    return sorted(folder.glob("step-*")) if folder.exists() else []


def load(path: Path, optimizer: Optimizer) -> int:
    """Put weights, optimizer and random state back; return how many steps are done."""
    tensors = load_file(path / "state.safetensors")
    optimizer.load_state(tensors)
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return int(json.loads((path / "checkpoint.json").read_text())["step"])


def position(path: Path) -> dict[str, Any]:
    """Return the position that was saved with a checkpoint; empty where the number of steps says it all."""
    return dict(json.loads((path / "checkpoint.json").read_text()).get("position", {}))
