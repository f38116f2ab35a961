"""KTO's reference point: from mismatched answers, over the whole step, never below 0, without a gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.errors import HonedError
from honed.models.chat import Encoded
from honed.train import adapters
from honed.train.lora import LoraLinear
from honed.train.lora_config import LoraConfig
from honed.train.objectives import kto
from honed.train.ranks import ALONE
from honed.train.ratings import Rated, matched
from tests.numerics import trained
from tests.numerics.compared import gradients, made, rated
from tests.numerics.rows import close, packed_model


def lowered(some: list[Rated], by: float) -> list[Rated]:
    """The examples with mismatched answers that the base finds ``by`` nats likelier."""
    return [replace(one, reference=(one.reference[0], one.reference[1] + by)) for one in some]


def test_the_point_is_that_of_the_whole_step_however_it_is_cut() -> None:
    model, some, objective = packed_model(), rated(8), made("kto")
    whole = objective.ready(model, [objective.collate(some)])
    cut = objective.ready(model, [objective.collate(part) for part in (some[:1], some[1:5], some[5:])])
    assert whole[0].level > 1
    assert [batch.level for batch in cut] == pytest.approx([whole[0].level] * 3, rel=1e-5)
    alone = [objective.ready(model, [objective.collate([one])])[0].level for one in some]
    assert max(alone) > 1.1 * whole[0].level  # so a micro batch's own would be another


def test_the_point_is_the_mean_over_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, objective = packed_model(), made("kto")
    batch = objective.collate(rated(4))
    (alone,) = objective.ready(model, [batch])

    def add_another_rank(both: torch.Tensor) -> None:
        both += torch.tensor([60.0, 12.0])  # its twelve gains sum to 60

    monkeypatch.setattr(kto.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(kto.distributed, "all_reduce", add_another_rank)
    (both,) = objective.ready(model, [batch])
    assert both.level == pytest.approx((4 * alone.level + 60) / 16, rel=1e-5)


def test_the_point_is_never_below_0() -> None:
    model, objective = packed_model(), made("kto")
    (batch,) = objective.ready(model, [objective.collate(lowered(rated(4), 1000.0))])
    assert batch.level == 0.0


def test_a_point_that_is_no_number_stops_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    some = rated(23)
    some[3] = replace(some[3], reference=(some[3].reference[0], float("nan")))  # of the answer to another prompt
    monkeypatch.setattr(trained, "examples", lambda _case: some)
    with pytest.raises(HonedError, match="loss of step 1 is not a number"):
        trained.train(trained.Case(objective="kto"), tmp_path / "run", ALONE)


def test_the_point_moves_the_loss_and_has_no_gradient_of_its_own() -> None:
    model, some, objective = packed_model(), rated(4), made("kto")
    (batch,) = objective.ready(model, [objective.collate(some)])
    ours, loss = gradients(model, some, [range(4)], objective)
    model.zero_grad()
    fixed = replace(batch, unrelated=None)
    (objective.sums(model, fixed)["loss"] / 4).backward()
    close(ours, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    other = objective.sums(model, replace(fixed, level=0.0))["loss"].item() / 4
    assert abs(other - loss) > 1e-2


def test_the_point_is_measured_without_dropout_and_leaves_the_mode_as_it_was() -> None:
    model, objective = packed_model(), made("kto")
    adapters.add(model, LoraConfig(rank=4, alpha=8.0, dropout=0.5), seed=0)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            torch.nn.init.normal_(module.lora_B, std=0.1)
    model.train()
    levels = [objective.ready(model, [objective.collate(rated(4))])[0].level for _ in range(2)]
    assert levels[0] == levels[1] and model.training


def test_weights_of_good_and_bad_answers_scale_their_losses() -> None:
    model, some = packed_model(), rated(4)
    one, other = (made("kto", desirable=weight, undesirable=1.0) for weight in (1.0, 3.0))
    batch = one.ready(model, [one.collate(some)])[0]
    with torch.no_grad():
        ratio = other.judged(model, batch).losses / one.judged(model, batch).losses
    assert ratio.tolist() == pytest.approx([3.0, 1.0, 3.0, 1.0])


def row(prompt: int, answer: int) -> Encoded:
    return Encoded((1, prompt, 2, answer, 3), (0.0, 0.0, 0.0, 1.0, 1.0))


@given(prompts=st.lists(st.integers(10, 14), max_size=30))
@settings(max_examples=80, deadline=None)
def test_every_prompt_meets_an_answer_to_another_and_each_answer_once(prompts: list[int]) -> None:
    some = [Rated(row(prompt, 100 + number), True) for number, prompt in enumerate(prompts)]
    made_ = matched(some, 100)
    assert [one.row for one in made_] == [one.row for one in some]
    met = [(one.row.ids[1], one.unrelated) for one in made_]
    taken = [unrelated.ids[3] - 100 for _, unrelated in met if unrelated]
    assert len(set(taken)) == len(taken)
    for prompt, unrelated in met:
        if unrelated:
            assert unrelated.ids[:3] == (1, prompt, 2) and unrelated.weights == (0.0, 0.0, 0.0, 1.0, 1.0)
            assert prompts[unrelated.ids[3] - 100] != prompt
    most = max((prompts.count(prompt) for prompt in prompts), default=0)
    if 2 * most <= len(prompts):
        assert len(taken) == len(prompts)


def test_a_mismatched_row_that_is_too_long_is_not_made() -> None:
    some = [Rated(row(10, 100), True), Rated(Encoded((1, 9, 9, 9, 9, 2, 7, 3), (0.0,) * 6 + (1.0, 1.0)), False)]
    assert [one.unrelated and len(one.unrelated.ids) for one in matched(some, 8)] == [5, 8]
    assert [one.unrelated and len(one.unrelated.ids) for one in matched(some, 7)] == [5, None]


def test_a_step_without_mismatched_rows_measures_from_0() -> None:
    model, objective = packed_model(), made("kto")
    some = [replace(one, unrelated=None, reference=one.reference[:1]) for one in rated(3)]
    (batch,) = objective.ready(model, [objective.collate(some)])
    assert batch.unrelated is None and batch.level == 0.0
    assert objective.sums(model, batch)["loss"].isfinite()
