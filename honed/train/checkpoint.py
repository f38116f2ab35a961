"""Checkpoints: everything that decides the rest of a run, written whole or not at all. Safetensors and JSON only.

No random state is in them: a pass draws from its seed, step and number. Ranks that hold shares of the state write a
file each, with their rows of every tensor; together, in the order of their names, these are whole tensors, of which any
other number of ranks can read its own rows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from honed.store.artifacts import sync_tree
from honed.store.workspace import writing
from honed.train.optim import Optimizer
from honed.train.ranks import ALONE, Ranks

_FACTS = "checkpoint.json"

_MAPPED_BYTES = 256 * 2**20
"""How much is read of a checkpoint's files before they are opened anew."""

_GOOD = "good"
"""An empty file in a checkpoint whose weights have given a finite loss."""


def save(
    folder: Path,
    step: int,
    optimizer: Optimizer,
    position: Mapping[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Path:
    """Write ``step-<N>`` (N steps are done) beside those that are there. Every rank calls it.

    ``position`` is JSON that says where in the data the step ended, beyond its number (``steps.Position``).
    A full disk raises ``StoreError``, on every rank, and leaves the checkpoints that were there.
    """
    final = folder / _name(step)
    _write(final, optimizer.state(), {"step": step, "position": position or {}}, ranks, optimizer.sharded)
    return final


def prove(folder: Path, step: int, keep: int) -> None:
    """Mark the checkpoint of ``step`` steps, if there is one: its weights gave a finite loss. Drop all but ``keep``.

    The last update may have left weights that are fit for nothing; only their first use shows it, so that older
    checkpoints stay until then.
    """
    path = folder / _name(step)
    if path.exists() and not (path / _GOOD).exists():
        with writing(path):
            (path / _GOOD).touch()
        for old in found(folder)[:-keep]:
            _drop(old)


def disprove(folder: Path, step: int) -> bool:
    """Drop the checkpoint of ``step`` steps unless it was proved before; return whether it is gone."""
    path = folder / _name(step)
    bad = path.exists() and not (path / _GOOD).exists()
    if bad:
        _drop(path)
    return bad


def save_best(folder: Path, step: int, optimizer: Optimizer, heldout_loss: float, ranks: Ranks = ALONE) -> None:
    """Write ``best-<N>``: the weights after N steps, which have the lowest held-out loss so far, in place of others."""
    final = best_after(folder, step)
    _write(final, optimizer.weights(), {"step": step, "heldout_loss": heldout_loss}, ranks, optimizer.sharded)
    if ranks.first:
        drop_best(folder, but=final)


def drop_best(folder: Path, but: Path | None = None) -> None:
    """Drop the best weights so far, ``but`` those."""
    for old in folder.glob("best-*"):
        if old != but:
            _drop(old)


def found(folder: Path) -> list[Path]:
    """Return the whole checkpoints, oldest first."""
    return sorted(folder.glob("step-*")) if folder.exists() else []


def best(folder: Path) -> Path | None:
    """Return the best weights so far, if there are any: the last, should a crash have left two."""
    return max(folder.glob("best-*"), default=None)


def best_after(folder: Path, step: int) -> Path:
    """Return where the best weights are if they are those after ``step`` steps: each rank's own look may be late."""
    return folder / f"best-{step:08d}"


def facts(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself: ``step``, and whatever else was saved with it."""
    return dict(json.loads((path / _FACTS).read_text()))


def load(path: Path, optimizer: Optimizer) -> dict[str, Any]:
    """Put weights and optimizer back, whatever number of ranks wrote them; return ``facts``.

    Their ``position`` is empty where the number of steps says it all.
    """
    said = facts(path)
    optimizer.load_state(_Saved(path, optimizer.rows).tensor, said["step"])
    return said


def load_best(path: Path, optimizer: Optimizer) -> None:
    """Put the weights of ``save_best`` back."""
    optimizer.load_weights(_Saved(path, optimizer.rows).tensor)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _drop(path: Path) -> None:
    """Out of sight first: a kill meanwhile must not leave half of a checkpoint under its name."""
    hidden = path.with_name(f".{path.name}")
    path.rename(hidden)
    shutil.rmtree(hidden)


def _write(final: Path, tensors: Mapping[str, Tensor], said: Mapping[str, Any], ranks: Ranks, shares: bool) -> None:
    """Write under a temporary name, sync, rename. ``shares``: each rank writes its part, else rank 0 all of it."""
    if ranks.first:
        for left in (*final.parent.glob(".step-*"), *final.parent.glob(".best-*")):  # by an attempt that was killed
            shutil.rmtree(left, ignore_errors=True)
    scratch = final.with_name(f".{final.name}.{ranks.agreed(os.getpid())}")
    name = f"state-{ranks.number + 1:05d}-of-{ranks.size:05d}.safetensors" if shares else "state.safetensors"

    def own_part() -> None:
        if shares or ranks.first:
            with writing(final):
                scratch.mkdir(parents=True, exist_ok=True)
                _save_tensors(tensors, scratch / name)
                with (scratch / name).open("rb") as file:  # not the folder: others are still writing there
                    os.fsync(file.fileno())

    def ending() -> None:
        if ranks.first:
            with writing(final):
                (scratch / _FACTS).write_text(json.dumps(said))
                sync_tree(scratch)
                shutil.rmtree(final, ignore_errors=True)
                scratch.rename(final)
                sync_tree(final.parent)  # the rename itself, before older ones go

    try:
        ranks.together(own_part)
        ranks.together(ending)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file: the length of a header in JSON, the header, and the numbers of each tensor in turn.

    The library's own ``save_file`` brings all tensors into the host's memory before it writes the first: of a GPU's
    state, all of it. Here there is one at a time. https://github.com/huggingface/safetensors#format
    """
    header: dict[str, Any] = {}
    end = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        assert tensor.dtype == torch.float32, "the optimizer holds nothing else"
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in header:
            file.write(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().data)


class _Saved:
    """The tensors of a checkpoint, cut to ``rows`` by parameter name; each is read when it is asked for.

    All of them at once would stand beside what they are put into: as much memory again as the optimizer takes. So would
    the files' pages, which are mapped into memory as they are read: now and then the files are opened anew.
    """

    def __init__(self, path: Path, rows: Mapping[str, slice]) -> None:
        self._path, self._rows = path, rows
        self._files = self._opened()
        self._mapped = 0

    def tensor(self, key: str) -> Tensor:
        """Return one, of this rank's rows."""
        if self._mapped > _MAPPED_BYTES:
            self._files, self._mapped = self._opened(), 0
        tensor = _cut(self._files, key, self._rows[key.partition(".")[2]])
        self._mapped += tensor.nbytes
        return tensor

    def _opened(self) -> list[Any]:
        return [safe_open(file, "pt") for file in sorted(self._path.glob("state*.safetensors"))]


def _cut(files: list[Any], key: str, rows: slice) -> Tensor:
    """Rows of a tensor that lies in one file, or in parts in several."""
    parts = [file.get_slice(key) for file in files]
    if not parts[0].get_shape():  # a single number, the same in every file
        number: Tensor = files[0].get_tensor(key)
        return number
    pieces: list[Tensor] = []
    at = 0
    count = sum(part.get_shape()[0] for part in parts)
    first, last, _ = rows.indices(count)
    for part in parts:
        size = part.get_shape()[0]
        start, stop = max(first - at, 0), min(last - at, size)
        if start < stop:
            pieces.append(part[start:stop])
        at += size
    if len(pieces) == 1:
        return pieces[0]
    return torch.cat(pieces) if pieces else torch.empty(0, *parts[0].get_shape()[1:])
