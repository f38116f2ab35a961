"""Checkpoints are read and written tensor by tensor: neither takes a second copy of what is trained."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from honed.train import checkpoint
from honed.train.optim import Optimizer
from honed.train.ranks import ALONE


def test_a_checkpoint_is_read_tensor_by_tensor_so_that_a_resume_takes_no_more_memory_than_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [(f"w{at}", torch.nn.Parameter(torch.randn(4, 4))) for at in range(5)]
    optimizer = Optimizer(named, weight_decay=0.0, average=True)
    wanted = {key: value.clone() for key, value in optimizer.state().items()}
    path = checkpoint.save(tmp_path / "checkpoints", 3, optimizer)
    alive: list[weakref.ref[torch.Tensor]] = []
    cut = checkpoint._cut

    def seen(*given: Any) -> torch.Tensor:
        assert sum(one() is not None for one in alive) <= 1
        tensor = cut(*given)
        alive.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(checkpoint, "_cut", seen)
    monkeypatch.setattr(checkpoint, "_MAPPED_BYTES", 200)
    with torch.no_grad():
        for _, parameter in named:
            parameter.zero_()
    assert checkpoint.load(path, optimizer)["step"] == 3 and len(alive) == len(wanted)
    assert all(value.equal(wanted[key]) for key, value in optimizer.state().items())


class _OnDemand(Mapping[str, torch.Tensor]):
    """A tensor's host copy, made as it is asked for; at most ``most`` were alive when another was."""

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        self.kept, self.made, self.most = kept, list[weakref.ref[torch.Tensor]](), 0

    def __getitem__(self, name: str) -> torch.Tensor:
        self.most = max(self.most, sum(one() is not None for one in self.made))
        tensor = self.kept[name].clone()
        self.made.append(weakref.ref(tensor))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


def test_a_checkpoint_is_written_tensor_by_tensor_as_safetensors_reads_it(tmp_path: Path) -> None:
    kept = {
        "odd": torch.randn(3),
        "number": torch.tensor(7.0),
        "turned": torch.randn(4, 6).t(),
        "none of it": torch.empty(0, 4),
        "é": torch.randn(2, 2, requires_grad=True),
    }
    given = _OnDemand(kept)
    checkpoint._write(tmp_path / "step", given, {"step": 1}, ALONE, shares=False)
    assert given.most <= 1 and given.made
    path = tmp_path / "step" / "state.safetensors"
    read = load_file(path)
    assert read.keys() == kept.keys()
    assert all(read[name].dtype == one.dtype and read[name].equal(one) for name, one in kept.items())
    with safe_open(path, "pt") as file:  # as a resume does
        assert file.get_slice("turned")[1:3].equal(kept["turned"][1:3])


def test_a_checkpoint_removes_what_a_killed_attempt_left_of_others_and_nothing_else(tmp_path: Path) -> None:
    optimizer = Optimizer([("w", torch.nn.Parameter(torch.randn(4)))], weight_decay=0.0)
    for name in (".step-00000002.77", ".best-00000002", ".ssh"):  # somebody may have linked the folder to another
        (tmp_path / name).mkdir()
    checkpoint.save(tmp_path, 3, optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ssh", "step-00000003"]
