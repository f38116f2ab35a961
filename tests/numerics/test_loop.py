"""Trap 1 in the loop itself: its optimizer is given the gradient of the rows' summed loss, over the weight of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.jobs.events import Metric, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.chat import Encoded
from honed.records import Conversation, Message
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.divergence import Watch
from honed.train.head import MATRIX
from honed.train.heldout import HeldOut
from honed.train.loop import Training
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer
from honed.train.placement import Replicated
from honed.train.rows import Rows
from honed.train.steps import InMemory
from tests.numerics.compared import examples, made, slow_gradients
from tests.numerics.rows import chat, close, packed_model, reference_loss, uneven
from tests.numerics.test_stream import stream

Packs = Sequence[Sequence[int]]

EIGHT: dict[str, Packs] = {
    "1x8": ((0, 1, 2, 3, 4, 5, 6, 7),),
    "8x1": tuple((number,) for number in range(8)),
    "3 unequal passes": ((0, 1, 2, 3, 4), (5,), (6, 7)),
}


def of_the_loop(
    model: PreTrainedModel, objective: Any, some: Sequence[Any], packs: Packs, folder: Path
) -> tuple[dict[str, Tensor], float]:
    """One step of ``Training``: the gradients that its optimizer is given, and the loss in its event."""
    found: dict[str, Tensor] = {}
    take = Optimizer.step

    def step(self: Optimizer, *args: Any) -> float:
        pairs = zip(self.names, self.masters, strict=True)
        found.update({name: master.grad.clone() for name, master in pairs if master.grad is not None})
        return take(self, *args)

    steps = InMemory(Rows(tuple(some), tuple(map(str, range(len(some)))), ()), [StepRows(0, tuple(map(tuple, packs)))])
    settings = resolve(TrainConfig(base="", data=""), Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    nothing_held_out = HeldOut((), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)
    job = Job(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimizer, "step", step)
        Training(Replicated(model), objective, nothing_held_out, steps, settings, job, lambda: False).run()
    (told,) = (event for event in job.events() if isinstance(event, Step))
    return found, told.values["loss"]


class _Drawing(Sft):
    """What each pass draws from torch's generator."""

    drawn: ClassVar[list[float]] = []

    def sums(self, model: PreTrainedModel, batch: Any) -> dict[str, Tensor]:
        self.drawn.append(float(torch.rand(1)))
        return super().sums(model, batch)


def test_no_two_passes_of_a_run_draw_the_same_noise_and_a_second_run_draws_it_again(tmp_path: Path) -> None:
    settings = resolve(TrainConfig(base="", data=""), Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    nothing_held_out = HeldOut((), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)
    rows = Rows(tuple(uneven(4)), tuple("abcd"), ())
    steps = InMemory(rows, [StepRows(0, ((0,), (1,))), StepRows(0, ((2,), (3,)))])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        how = (_Drawing(MATRIX), nothing_held_out, steps, settings, Job(tmp_path / name), lambda: False)
        Training(Replicated(packed_model()), *how).run()
    assert len(set(_Drawing.drawn)) == 4 and _Drawing.drawn[:4] == _Drawing.drawn[4:]


def test_what_a_run_begins_at_is_its_held_out_loss_where_that_is_above_its_first_steps(tmp_path: Path) -> None:
    settings = resolve(TrainConfig(base="", data=""), Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    some = sorted(uneven(6), key=lambda row: reference_loss(packed_model(), row).item() / row.supervised)
    steps = InMemory(Rows((some[0],), ("easy",), ()), [StepRows(0, ((0,),))])
    held_out = HeldOut((some[-1],), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)
    job, watch = Job(tmp_path), Watch(likelihood=True)
    Training(Replicated(packed_model()), Sft(MATRIX), held_out, steps, settings, job, lambda: False, watch).run()
    before = next(event for event in job.events() if isinstance(event, Metric))
    assert before.step == 0 and watch._began()[0] == before.value


def in_memory(_: Path) -> InMemory[Encoded]:
    rows = Rows(tuple(uneven(6)), tuple("abcdef"), ())
    return InMemory(rows, [StepRows(0, ((0,), (1,))), StepRows(0, ((2, 3),)), StepRows(0, ((4,), (5,)))])


@pytest.mark.parametrize("steps", [in_memory, lambda folder: stream([60, 30], folder / "left_out.jsonl")])
def test_passes_that_are_laid_out_while_a_gpu_computes_are_those_of_a_cpu_also_after_a_stop(
    steps: Callable[[Path], Any], tmp_path: Path
) -> None:
    settings = resolve(TrainConfig(base="", data="", seed=3), Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    nothing_held_out = HeldOut((), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)
    weights, seen = [], []
    for device, stops in (("cpu", ()), ("cpu:0", (2,))):  # another name for it, so that the loop takes it for a GPU
        folder = tmp_path / device
        folder.mkdir()
        model = packed_model()
        for stop in (*stops, 0):
            turns = count(1)
            training = Training(
                Replicated(model),
                Sft(MATRIX),
                nothing_held_out,
                planned := steps(folder),
                replace(settings, device=device),
                Job(folder),
                lambda stop=stop, turns=turns: next(turns) == stop,
            )
            if stop:
                with pytest.raises(Stopped):
                    training.run()
                assert training.done == stop
            else:
                training.run()
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
        seen.append((training.done, planned.seen()))
    assert seen[0] == seen[1] and seen[0][0] >= 3
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("packs", EIGHT.values(), ids=EIGHT)
def test_a_step_of_the_loop_has_the_gradient_of_its_rows_summed_over_their_weight(packs: Packs, tmp_path: Path) -> None:
    """A mean of the passes' means would be another one, unless there is one pass."""
    rows = uneven(8)
    assert max(row.supervised for row in rows) >= 10 * min(row.supervised for row in rows)
    plain = packed_model()
    loss = sum(reference_loss(plain, row) for row in rows) / sum(row.supervised for row in rows)
    assert isinstance(loss, Tensor)
    loss.backward()
    found, told = of_the_loop(packed_model(), Sft(MATRIX), rows, packs, tmp_path)
    close({name: p.grad for name, p in plain.named_parameters() if p.grad is not None}, found)
    assert told == pytest.approx(loss.item(), rel=1e-5)


def talked(answers: Sequence[tuple[str, float]]) -> Encoded:
    """A conversation of answers, each with the weight of its turn."""
    turns = [
        turn
        for text, weight in answers
        for turn in (Message(role="user", content="and?"), Message(role="assistant", content=text, weight=weight))
    ]
    return chat().encode(Conversation(messages=tuple(turns)))


@pytest.mark.parametrize("packs", [((0, 1, 2),), ((0,), (1,), (2,)), ((0, 1), (2,))])
def test_turns_count_by_their_weight_in_a_steps_gradient(packs: Packs, tmp_path: Path) -> None:
    told = [
        [("yes", 0.25), ("a rather long answer to it", 3.0)],
        [("no", 2.0), ("not learned at all", 0.0), ("it depends", 0.5)],
        [("x", 1.0)],
    ]
    plain = packed_model()
    loss, weight = torch.zeros(()), 0.0
    for answers in told:
        for turn, (_, counts) in enumerate(answers):
            alone = talked([(text, float(number == turn)) for number, (text, _) in enumerate(answers)])
            loss = loss + counts * reference_loss(plain, alone)
            weight += counts * alone.supervised
    (loss / weight).backward()
    found, mean = of_the_loop(packed_model(), Sft(MATRIX), [talked(answers) for answers in told], packs, tmp_path)
    close({name: p.grad for name, p in plain.named_parameters() if p.grad is not None}, found)
    assert mean == pytest.approx((loss / weight).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["dpo", "ipo", "kto", "orpo", "simpo"])
def test_a_step_of_the_loop_has_the_gradient_of_the_papers_formula(name: str, tmp_path: Path) -> None:
    some = examples(name, 6)
    expected, loss = slow_gradients(packed_model().double(), some, name)
    found, told = of_the_loop(packed_model().double(), made(name), some, ((0, 1, 2), (3,), (4, 5)), tmp_path)
    close({key: gradient.float() for key, gradient in expected.items()}, found)
    assert told == pytest.approx(loss, rel=1e-6)
