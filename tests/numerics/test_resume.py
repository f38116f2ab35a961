"""Trap 15 in one process, to the bit, whatever is trained; and which checkpoints a kill or a bad step leaves."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from honed.errors import HonedError
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.train import attention, attention_native, checkpoint, loop
from honed.train.kernels import native
from honed.train.loop import NOT_FINITE
from honed.train.optim import learning_rate
from honed.train.ranks import ALONE
from tests.needs import missing
from tests.numerics import trained
from tests.numerics.rows import packed_model
from tests.numerics.trained import LONGER, Case, Killed, kill_at, train

CASES = {
    "full-bf16": Case(dtype=torch.bfloat16),
    "lora-dropout-bf16": Case(weights="lora", dropout=0.1, dtype=torch.bfloat16),
    "neftune": Case(neftune=True),
    "recompute": Case(recompute=True),
    "lora-dropout-recompute": Case(weights="lora", dropout=0.1, recompute=True),
    "qlora-dropout": Case(weights="lora", dropout=0.1, qlora=True),
}

KILLS = [(name, 4) for name in CASES]
KILLS += [(name, step) for name in ("full-bf16", "lora-dropout-bf16") for step in (1, 2, 3, 5)]


def kept(folder: Path) -> list[str]:
    """The checkpoints in a job's folder, and whatever else lies among them, but the best weights."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir() if not path.name.startswith("best-"))


def losses(folder: Path) -> dict[int, float]:
    """By step, as it was computed the last time."""
    return {event.step: event.values["loss"] for event in Job(folder).events() if isinstance(event, Step)}


def assert_same_to_the_bit(one: Path, other: Path) -> None:
    """The last weights as they are published, the losses, and the last masters and moments."""
    left, right = (load_file(folder / "trained.safetensors") for folder in (one, other))
    assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)
    assert losses(one) == losses(other) and len(losses(one)) == len(LONGER)
    files = [sorted(checkpoint.found(folder / "checkpoints")[-1].glob("state*")) for folder in (one, other)]
    assert files[0] and [path.name for path in files[0]] == [path.name for path in files[1]]
    for ours, theirs in zip(*files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a case was trained without a stop, once for all tests."""

    @cache
    def trained(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        train(CASES[name], folder, ALONE, steps=LONGER)
        return folder

    return trained


@pytest.mark.parametrize(("name", "step"), KILLS)
def test_a_run_that_is_killed_at_any_step_and_resumed_is_the_uninterrupted_one_to_the_bit(
    name: str, step: int, straight: Callable[[str], Path], tmp_path: Path
) -> None:
    """Steps 3 to 5 are those of epoch 2; checkpoints are written after steps 2 and 4."""
    if CASES[name].qlora:
        pytest.importorskip("bitsandbytes")
    kill_at(step, CASES[name], tmp_path, ALONE)
    train(CASES[name], tmp_path, ALONE, steps=LONGER)
    assert_same_to_the_bit(straight(name), tmp_path)
    again = [event.step for event in Job(tmp_path).events() if isinstance(event, Step)]
    saved = (step - 1) // 2 * 2
    assert again == [*range(1, step), *range(saved + 1, 6)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """As most users have at least; tests have one otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("case", "path"),
    [(Case(), attention_native.NATIVE), (Case(weights="lora", dropout=0.1), attention.FUSED)],
    ids=["all", "lora"],
)
@pytest.mark.usefixtures("two_threads")
def test_on_two_threads_a_killed_run_of_wide_layers_is_the_uninterrupted_one_to_the_bit(
    case: Case, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide enough for torch and our kernels to divide their work among threads."""
    if path == attention_native.NATIVE and native.why_not():
        missing("a C compiler with OpenMP", "gcc libc6-dev")
    monkeypatch.setattr(trained, "packed_model", lambda: packed_model(path=path, hidden=192))
    train(case, tmp_path / "straight", ALONE, steps=LONGER)
    kill_at(4, case, tmp_path / "killed", ALONE)
    train(case, tmp_path / "killed", ALONE, steps=LONGER)
    assert_same_to_the_bit(tmp_path / "straight", tmp_path / "killed")


def _half_a_file(tensors: Any, path: Path) -> None:
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    raise Killed


def _at(name: str, then: Callable[..., None]) -> Callable[..., None]:
    """``checkpoint.<name>``, except that something else happens where the fourth step's checkpoint is written."""
    usual = getattr(checkpoint, name)

    def called(*args: Any) -> None:
        path = next(arg for arg in args if isinstance(arg, Path))
        (then if "step-00000004" in str(path) else usual)(*args)

    return called


def _killed(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("name", "then"),
    [("_save_tensors", _half_a_file), ("sync_tree", _killed)],
    ids=["half a file", "before its renaming"],
)
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before_and_a_resume_the_same_weights(
    name: str, then: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(Case(), tmp_path / "straight", ALONE, steps=LONGER, eval_every=5)
    folder = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, name, _at(name, then))
        patch.setattr(checkpoint, "shutil", SimpleNamespace(rmtree=lambda *_, **__: None))  # the dead tidy up nothing
        train(Case(), folder, ALONE, steps=LONGER, eval_every=5)
    left, whole = kept(folder)
    assert left.startswith(".step-00000004.") and whole == "step-00000002"
    assert [path.name for path in checkpoint.found(folder / "checkpoints")] == ["step-00000002"]
    train(Case(), folder, ALONE, steps=LONGER, eval_every=5)
    assert_same_to_the_bit(tmp_path / "straight", folder)
    assert kept(folder) == ["step-00000004"]


def test_as_many_checkpoints_are_kept_as_were_asked_for_and_a_run_goes_on_from_the_newest_that_is_there(
    tmp_path: Path,
) -> None:
    train(Case(), tmp_path / "straight", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=2)
    assert kept(tmp_path / "straight") == ["step-00000004", "step-00000005"]
    train(Case(), tmp_path / "again", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=2)
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-00000005")
    train(Case(), tmp_path / "again", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=2)
    assert_same_to_the_bit(tmp_path / "straight", tmp_path / "again")


def blown_up_at(step: int, rate: float) -> Callable[..., float]:
    """The schedule, but for one step that ruins the weights."""

    def chosen(passed: float, *args: Any, **given: Any) -> float:
        return rate if passed + 1 == step else learning_rate(passed, *args, **given)

    return chosen


@pytest.mark.parametrize("rate", [1e30, math.inf], ids=["huge weights", "weights that are no numbers"])
@pytest.mark.parametrize(("keep", "left"), [(1, [2]), (3, [1, 2])])
def test_after_a_step_that_ruins_the_weights_the_checkpoints_left_are_those_that_gave_a_loss(
    rate: float, keep: int, left: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 ruins them and is saved; step 4 is the first to compute anything with them."""
    with monkeypatch.context() as patch, pytest.raises(HonedError, match="step 4 is not a number"):
        patch.setattr(loop, "learning_rate", blown_up_at(3, rate))
        train(Case(), tmp_path / "run", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=keep, eval_every=5)
    assert kept(tmp_path / "run") == [f"step-{step:08d}" for step in left]
    notes = [event.text for event in Job(tmp_path / "run").events() if isinstance(event, Note)]
    assert "the checkpoint of step 3 is dropped: no number came of it; a resume goes on after step 2" in notes
    assert len((tmp_path / "run" / NOT_FINITE).read_text().split()) == 5  # rows of the three passes of step 4
    train(Case(), tmp_path / "run", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=keep, eval_every=5)
    train(Case(), tmp_path / "sane", ALONE, steps=LONGER, checkpoint_every=1, keep_checkpoints=keep, eval_every=5)
    assert_same_to_the_bit(tmp_path / "sane", tmp_path / "run")


def test_a_checkpoint_that_was_proved_stays_whatever_becomes_of_a_later_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a held-out loss or by a step, in this attempt or in the one before: not the weights are to blame."""
    given: dict[str, Any] = {"steps": LONGER, "checkpoint_every": 3}
    kill_at(5, Case(), tmp_path / "by-step", ALONE, checkpoint_every=3, eval_every=9)
    kill_at(4, Case(), tmp_path / "by-held-out", ALONE, checkpoint_every=3, eval_every=3)
    monkeypatch.setattr(loop.Optimizer, "step", lambda *_: math.nan)
    for name in ("by-step", "by-held-out"):
        with pytest.raises(HonedError, match="gradient of step 4 is not a number"):
            train(Case(), tmp_path / name, ALONE, **given)
        assert kept(tmp_path / name) == ["step-00000003"]


def test_weights_that_the_last_step_ruined_are_not_the_only_ones_left_when_the_held_out_loss_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "learning_rate", blown_up_at(5, math.inf))
    with pytest.raises(HonedError, match="held-out loss after step 5 is not a number"):
        train(Case(), tmp_path / "run", ALONE, steps=LONGER, checkpoint_every=1, eval_every=4)
    assert kept(tmp_path / "run") == ["step-00000004"]
