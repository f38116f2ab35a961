"""Trap 17: AdamW, its decay and its clipping against the formulas written out; the rates of the schedules, exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.head import MATRIX
from honed.train.heldout import HeldOut
from honed.train.loop import Training
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer, learning_rate
from honed.train.placement import Replicated
from honed.train.rows import Rows
from honed.train.steps import InMemory
from tests.numerics.rows import packed_model, uneven

DECAY, CLIP = 0.1, 3.0
RATES = (1e-2, 2e-2, 5e-3, 1e-2, 3e-3)


def by_the_paper(weights: list[Tensor], gradients: list[list[Tensor]]) -> list[Tensor]:
    """Loshchilov & Hutter 2019, algorithm 2, in fp64; all gradients of a step scaled to a norm of ``CLIP`` at most."""
    found = [weight.double() for weight in weights]
    first, second = ([torch.zeros_like(weight) for weight in found] for _ in range(2))
    for number, (rate, step) in enumerate(zip(RATES, gradients, strict=True), start=1):
        norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in step))
        for at, gradient in enumerate(step):
            scaled = gradient.double() * min(1.0, CLIP / norm)
            first[at] = 0.9 * first[at] + 0.1 * scaled
            second[at] = 0.999 * second[at] + 0.001 * scaled**2
            decay = DECAY if found[at].ndim >= 2 else 0.0  # not norms, biases and magnitudes
            moved = (first[at] / (1 - 0.9**number)) / ((second[at] / (1 - 0.999**number)).sqrt() + 1e-8)
            found[at] = found[at] - rate * decay * found[at] - rate * moved
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adamw_decays_matrices_alone_and_scales_long_gradients_alone(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = ((6, 5), (7,), (4,))
    weights = [torch.randn(shape, generator=draw).to(dtype) for shape in shapes]
    sizes = (0.1, 5.0, 0.3, 2.0, 0.01)  # norms below the limit, above it, below it again
    gradients = [[size * torch.randn(shape, generator=draw).to(dtype) for shape in shapes] for size in sizes]
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    optimizer = Optimizer([(str(at), one) for at, one in enumerate(parameters)], weight_decay=DECAY)
    norms = []
    for rate, step in zip(RATES, gradients, strict=True):
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.accumulate()
        norms.append(optimizer.step(rate, CLIP))
    assert min(norms) < CLIP < max(norms)
    for master, parameter, expected in zip(
        optimizer.masters, parameters, by_the_paper(weights, gradients), strict=True
    ):
        torch.testing.assert_close(master.double(), expected, rtol=2e-6, atol=2e-7)
        assert torch.equal(parameter, master.to(dtype))


@pytest.mark.parametrize("part", [0.5, 1 - 1e-6, 1.0, 1 + 1e-6, 2.0])
def test_gradients_that_are_short_enough_are_not_multiplied_and_others_as_torch_does(
    part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = part * CLIP * nn.functional.normalize(torch.randn(50, generator=torch.Generator().manual_seed(1)), dim=0)
    parameter, same = nn.Parameter(torch.zeros(50)), nn.Parameter(torch.zeros(50))
    parameter.grad, same.grad = start.clone(), start.clone()
    nn.utils.clip_grad_norm_(same, CLIP)
    used: list[Tensor] = []
    clipped: list[float] = []
    clip = nn.utils.clip_grads_with_norm_
    optimizer = Optimizer([("w", parameter)], weight_decay=0.0)
    monkeypatch.setattr(optimizer._adamw, "step", lambda: used.append(parameter.grad.clone()))  # type: ignore[union-attr]
    monkeypatch.setattr(nn.utils, "clip_grads_with_norm_", lambda *given: (clipped.append(part), clip(*given)))
    optimizer.step(1e-3, CLIP)
    assert torch.equal(used[0], same.grad)
    assert clipped == ([part] if part >= 1 else [])


def test_the_loop_hands_on_decay_clipping_and_the_rates_of_its_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []
    decays: list[list[float]] = []
    take = Optimizer.step

    def step(self: Optimizer, rate: float, clip: float, *more: Any) -> float:
        asked.append((rate, clip))
        decays.append([group["weight_decay"] for group in self._adamw.param_groups])
        return take(self, rate, clip, *more)

    monkeypatch.setattr(Optimizer, "step", step)
    given: dict[str, Any] = {"weight_decay": DECAY, "clip_norm": 0.01, "schedule": "linear", "warmup": 0.25}
    config = TrainConfig(base="", data="", learning_rate=2e-3, **given)
    settings = resolve(config, Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    rows = uneven(8)
    steps = InMemory(Rows(tuple(rows), tuple(map(str, range(8))), ()), [StepRows(0, ((at,),)) for at in range(8)])
    nothing_held_out = HeldOut((), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)
    job = Job(tmp_path)
    Training(Replicated(packed_model()), Sft(MATRIX), nothing_held_out, steps, settings, job, lambda: False).run()
    expected = [1e-3, 2e-3, *(2e-3 * (1 - (at + 0.5) / 6) for at in range(6))]
    assert [rate for rate, _ in asked] == pytest.approx(expected)
    told = [event.values["learning_rate"] for event in job.events() if isinstance(event, Step)]
    assert told == pytest.approx(expected)
    assert {clip for _, clip in asked} == {0.01} and decays[0] == [DECAY, 0.0]


def test_the_schedules_are_what_their_names_say() -> None:
    def rates(schedule: str) -> list[float]:
        return [learning_rate(at, 100, peak=2.0, warmup=0.1, schedule=schedule) for at in range(10, 100)]

    assert rates("cosine") == pytest.approx([1 + math.cos(math.pi * (at + 0.5) / 90) for at in range(90)])
    assert rates("linear") == pytest.approx([2 - 2 * (at + 0.5) / 90 for at in range(90)])
    assert rates("constant") == [2.0] * 90
    assert rates("cosine")[-1] < 2e-4 and rates("linear")[-1] < 2e-2
