"""Trap 15 at every point of the disk: a run that dies in any file operation of a checkpoint goes on to the same end."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from honed.errors import HonedError
from honed.jobs.job import Job
from honed.models.chat import Encoded
from honed.train import checkpoint
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.folder import CHECKPOINTS
from honed.train.loop import Training
from honed.train.placement import Replicated
from honed.train.rows import Rows
from honed.train.steps import InMemory
from tests.numerics.trained import Killed

STEPS = 4
HALVES = ("_save_tensors", "write_text", "rmtree")
"""What a death may leave half done."""


class Disk:
    """The file operations of checkpoints: the ``last``-th isn't done, or by half, and then the process is dead."""

    def __init__(self, last: int = -1, half: bool = False) -> None:
        self.last, self.half = last, half
        self.done: list[str] = []

    def counted(self, name: str, does: Callable[..., Any], by_half: Callable[..., None]) -> Callable[..., Any]:
        def called(*args: Any, **given: Any) -> Any:
            paths = [Path(arg) for arg in args if isinstance(arg, Path)]
            if any(CHECKPOINTS not in path.parts for path in paths) or (name == "rmtree" and not paths[0].exists()):
                return does(*args, **given)
            if len(self.done) == self.last:
                if self.half:
                    self.half = False  # a dead process does nothing when it tidies up
                    by_half(*args)
                raise Killed
            self.done.append(name)
            return does(*args, **given)

        return called

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("mkdir", "rename", "touch", "write_text"):
            patch.setattr(Path, name, self.counted(name, getattr(Path, name), _half_a_text))
        rmtree = self.counted("rmtree", shutil.rmtree, lambda path: next(path.iterdir()).unlink())
        nothing = self.counted("sync", lambda *_: None, lambda *_: None)  # what isn't synced isn't lost in this test
        patch.setattr(checkpoint, "shutil", SimpleNamespace(rmtree=rmtree))
        patch.setattr(checkpoint, "os", SimpleNamespace(getpid=lambda: f"{os.getpid()}-{self.last}", fsync=nothing))
        patch.setattr(checkpoint, "sync_tree", nothing)
        save = checkpoint._save_tensors
        patch.setattr(checkpoint, "_save_tensors", self.counted("_save_tensors", save, _half_a_file))


def _half_a_text(path: Path, text: str = "") -> None:
    path.write_bytes(text.encode()[: len(text) // 2])


def _half_a_file(tensors: Any, path: Path) -> None:
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@dataclass(frozen=True)
class Pull:
    """An objective as small as can be: every step pulls the weights the same way, down to where they are ``ruined``."""

    ruined: float

    def collate(self, examples: Sequence[Encoded]) -> Any:
        return SimpleNamespace(weight=1.0, tokens=2, to=lambda _: self.collate(examples))

    def ready(
        self, _model: Any, batches: Sequence[Any], _weight: float | None = None, _turns: Any = None
    ) -> Sequence[Any]:
        return batches

    def sums(self, model: nn.Module, _batch: Any) -> dict[str, Tensor]:
        loss = sum((p.sum() for p in model.parameters()), torch.zeros(()))
        return {"loss": loss * (math.nan if any(p.min() < self.ruined for p in model.parameters()) else 1.0)}


class Near:
    """A held-out loss that is lowest in the middle of the run."""

    def loss(self, placed: Any) -> float:
        return float((placed.model.weight.detach() + 0.2).square().sum())


def trained(folder: Path, disk: Disk, *, average: bool, ruined: float) -> dict[str, Any]:
    """Train to the end, or to the disk's; return all that must not depend on whether it was in one go."""
    folder.mkdir(exist_ok=True)
    model: Any = nn.Linear(3, 4)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    usual = {"learning_rate": 0.1, "warmup": 0.0, "schedule": "constant", "checkpoint_every": 1, "eval_every": 1}
    config = TrainConfig(base="", data="", **usual, average=average, keep_best=True, keep_checkpoints=1)
    settings = resolve(config, Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    rows = Rows((Encoded((1, 2), (0.0, 1.0)),), ("row",), ())
    steps = InMemory(rows, [StepRows(0, ((0,),))] * STEPS)
    near: Any = Near()
    training = Training(Replicated(model), Pull(ruined), near, steps, settings, Job(folder), lambda: False)
    loss: float | str | None
    with pytest.MonkeyPatch.context() as patch:
        disk.patch(patch)
        try:
            loss = training.run()
        except HonedError as error:
            loss = error.message
    best, last = checkpoint.best(folder / CHECKPOINTS), checkpoint.found(folder / CHECKPOINTS)[-1]
    assert best
    files = {path.relative_to(folder): path.read_bytes() for one in (best, last) for path in one.glob("[!g]*")}
    return {"loss": loss, "files": files, "weights": model.weight.tolist(), "best": best.name, "last": last.name}


@pytest.mark.parametrize(
    ("average", "ruined", "last"),
    [(False, -math.inf, 4), (True, -math.inf, 4), (True, -0.25, 2)],
    ids=["last weights", "mean weights", "weights of step 3 are ruined, and its checkpoint is dropped"],
)
def test_a_run_that_dies_in_any_file_operation_of_its_checkpoints_goes_on_to_the_same_end(
    average: bool, ruined: float, last: int, tmp_path: Path
) -> None:
    whole = Disk()
    straight = trained(tmp_path / "straight", whole, average=average, ruined=ruined)
    assert {"mkdir", "_save_tensors", "sync", "write_text", "rename", "touch", "rmtree"} <= set(whole.done)
    assert (straight["best"], straight["last"]) == ("best-00000002", f"step-{last:08d}")
    deaths = [(at, half) for at, name in enumerate(whole.done) for half in (False, True) if not half or name in HALVES]
    for at, half in deaths:
        folder = tmp_path / f"{at}-{half}"
        with pytest.raises(Killed):
            trained(folder, Disk(at, half), average=average, ruined=ruined)
        again = trained(folder, Disk(), average=average, ruined=ruined)
        assert again == straight, f"killed in operation {at} ({whole.done[at]}{', half done' if half else ''})"
