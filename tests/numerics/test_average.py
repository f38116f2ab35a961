"""The mean of a run's weights: what is in it, that nothing of the run changes for it, and that it is what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from honed.errors import HonedError
from honed.jobs.events import Metric, Step
from honed.jobs.job import Job
from honed.train import checkpoint, loop
from honed.train.average import POWER, Average
from honed.train.heldout import HeldOut
from honed.train.optim import Optimizer
from honed.train.placement import Replicated
from honed.train.ranks import ALONE
from tests.numerics.test_resume import assert_same_to_the_bit, blown_up_at
from tests.numerics.trained import LONGER, Case, held_out, kill_at, placed, train


def mean(weights: list[Tensor]) -> Tensor:
    """Shamir & Zhang 2013, section 4, written out: step k of n counts k (k + 1) (k + 2), about its third power."""
    assert POWER == 3
    counts = torch.tensor([k * (k + 1) * (k + 2) for k in range(1, len(weights) + 1)], dtype=torch.float64)
    return torch.tensordot(counts / counts.sum(), torch.stack(weights).double(), dims=1)


def test_the_mean_is_that_of_the_weights_after_each_step_by_the_third_power_and_not_of_those_before_the_first() -> None:
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(5, 3, generator=draw), torch.randn(4, generator=draw)]
    average = Average(weights)
    seen: list[list[Tensor]] = [[], []]
    for _ in range(12):
        for weight, past in zip(weights, seen, strict=True):
            weight += torch.randn(weight.shape, generator=draw)
            past.append(weight.clone())
        average.take_in()
    for found, past in zip(average.means, seen, strict=True):
        torch.testing.assert_close(found.double(), mean(past), rtol=1e-5, atol=1e-6)


def test_half_of_the_mean_is_of_the_last_sixth_of_the_steps() -> None:
    weight = torch.zeros(1)
    average = Average([weight])
    for step in range(1, 601):
        weight.fill_(float(step > 500))
        average.take_in()
    assert average.means[0].item() == pytest.approx(1 - (500 / 600) ** 4, abs=0.01)
    assert average.means[0].item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_has_the_mean_while_it_is_measured_and_its_own_weights_afterwards_to_the_bit(
    dtype: torch.dtype,
) -> None:
    parameter = nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(dtype))
    optimizer = Optimizer([("w", parameter)], weight_decay=0.0, average=True)
    masters = []
    for _ in range(4):
        parameter.grad = torch.ones_like(parameter)
        optimizer.accumulate()
        optimizer.step(0.1, 1.0)
        masters.append(optimizer.masters[0].detach().clone())
    before = parameter.detach().clone()
    with pytest.raises(KeyError), optimizer.averaged():  # put back whatever happens meanwhile
        torch.testing.assert_close(
            parameter.double(), mean(masters), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6
        )
        assert torch.equal(optimizer.weights()["master.w"].to(dtype), parameter)  # in 16 bits they are two
        raise KeyError
    assert torch.equal(parameter, before) and torch.equal(optimizer.masters[0], masters[-1])
    optimizer.settle()
    assert not torch.equal(parameter, before)


def _losses(folder: Path) -> list[float]:
    return [event.values["loss"] for event in Job(folder).events() if isinstance(event, Step)]


def _heldout(folder: Path) -> list[float]:
    return [event.value for event in Job(folder).events() if isinstance(event, Metric)]


@pytest.mark.parametrize("case", [Case(), Case(dtype=torch.bfloat16), Case(weights="lora")])
def test_steps_are_those_of_a_run_without_a_mean_and_the_mean_is_what_is_measured_and_left(
    case: Case, tmp_path: Path
) -> None:
    for name, average in (("last", False), ("mean", True)):
        train(case, tmp_path / name, ALONE, steps=LONGER, keep_best=False, average=average, checkpoint_every=1)
    assert _losses(tmp_path / "last") == _losses(tmp_path / "mean")
    assert _heldout(tmp_path / "last")[0] == _heldout(tmp_path / "mean")[0]
    assert _heldout(tmp_path / "last")[1:] != _heldout(tmp_path / "mean")[1:]
    states = [
        load_file(checkpoint.found(tmp_path / n / "checkpoints")[-1] / "state.safetensors") for n in ("last", "mean")
    ]
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())
    left = load_file(tmp_path / "mean" / "trained.safetensors")
    means = {name.removeprefix("mean."): tensor for name, tensor in states[1].items() if name.startswith("mean.")}
    assert means and all(torch.equal(left[name], tensor.to(case.dtype)) for name, tensor in means.items())
    assert left["heldout_loss"] == _heldout(tmp_path / "mean")[-1] == pytest.approx(_measured(left, case), abs=1e-6)


def _measured(weights: dict[str, Tensor], case: Case) -> float:
    """The held-out loss of a model that is given these weights."""
    model = placed(case, ALONE).model
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    return held_out().loss(Replicated(model)) or 0.0


@pytest.mark.parametrize("case", [Case(weights="lora"), Case(dtype=torch.bfloat16)])
@pytest.mark.parametrize("best", [True, False])
def test_a_run_that_is_killed_and_resumed_leaves_the_mean_of_the_uninterrupted_one_to_the_bit(
    case: Case, best: bool, tmp_path: Path
) -> None:
    given = {"average": True, "keep_best": best}
    train(case, tmp_path / "straight", ALONE, steps=LONGER, **given)
    kill_at(4, case, tmp_path / "killed", ALONE, **given)
    train(case, tmp_path / "killed", ALONE, steps=LONGER, **given)
    assert_same_to_the_bit(tmp_path / "straight", tmp_path / "killed")


def test_a_finite_loss_of_the_mean_does_not_prove_the_weights_that_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 ruins them; its mean is measured, and found finite, before step 4 computes anything with them."""
    monkeypatch.setattr(loop, "learning_rate", blown_up_at(3, 1e30))
    monkeypatch.setattr(HeldOut, "loss", lambda *_: 1.0)
    with pytest.raises(HonedError, match="step 4 is not a number"):
        train(Case(average=True), tmp_path, ALONE, steps=LONGER, checkpoint_every=1, eval_every=1)
    assert [path.name for path in checkpoint.found(tmp_path / "checkpoints")] == ["step-00000002"]


def test_of_means_the_best_is_kept(tmp_path: Path) -> None:
    train(Case(), tmp_path, ALONE, steps=LONGER, average=True, learning_rate=5.0, eval_every=1)
    found = load_file(tmp_path / "trained.safetensors")["heldout_loss"].item()
    assert found == min(_heldout(tmp_path)[1:]) < _heldout(tmp_path)[-1]
