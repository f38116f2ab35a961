"""Traps 1, 13, 17, 21 for all preference objectives: the paper's formula, however packed; the base at step 0."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from honed.cli.train import command
from honed.config import build
from honed.errors import ConfigError
from honed.train import adapters, answers
from honed.train.config import TrainConfig
from honed.train.defaults import RATE_SHARE
from honed.train.head import MATRIX, MODEL
from honed.train.lora_config import LoraConfig
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.orpo import Orpo
from honed.train.objectives.table import OBJECTIVES
from honed.train.optim import Optimizer, learning_rate
from tests.numerics.compared import GIVEN, adapted, examples, gradients, made, slow_gradients
from tests.numerics.rows import close, packed_model

each = pytest.mark.parametrize("name", GIVEN)


def referred(model: Any, some: list[Any], objective: Any) -> list[Any]:
    """The examples with ``model``'s own log-likelihoods as reference, each row computed alone."""
    known = []
    for one in some:
        with torch.no_grad():
            batch = answers.collate([(row,) for row in one.referred], [(0.0,) for _ in one.referred], packed=False)
            known.append(tuple(answers.log_likelihoods(model, batch, objective.head)[:, 0].tolist()))
    return [replace(one, reference=values) for one, values in zip(some, known, strict=True)]


@each
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_loss_and_gradients_are_those_of_the_papers_formula(name: str, weights: str) -> None:
    model = (adapted(packed_model()) if weights == "lora" else packed_model()).double()
    some = examples(name, 5)
    ours, loss = gradients(model, some, [[0, 1, 2], [3, 4]], made(name, share=False))
    slow, expected = slow_gradients(model, some, name)
    assert loss == pytest.approx(expected, rel=1e-12)
    close(ours, slow, 1e-11)


@each
def test_1x8_and_8x1_on_answers_of_unequal_length_give_equal_gradients(name: str) -> None:
    model, some = packed_model(), examples(name, 8)
    objective = made(name)
    runs = [gradients(model, some, packs, objective) for packs in ([range(8)], [[i] for i in range(8)])]
    close(runs[0][0], runs[1][0])
    assert runs[0][1] == pytest.approx(runs[1][1], rel=1e-5)


@each
def test_packed_answers_equal_answers_whose_rows_go_through_the_model_apart(name: str) -> None:
    model, some = packed_model(), examples(name, 4)
    close(
        gradients(model, some, [range(4)], made(name))[0],
        gradients(model, some, [range(4)], made(name, packed=False))[0],
    )


@each
def test_prompts_computed_once_change_nothing(name: str) -> None:
    model, some = packed_model(), examples(name, 6)
    once, apart = made(name), made(name, share=False)
    assert once.collate(some).tokens < apart.collate(some).tokens
    close(gradients(model, some, [range(6)], once)[0], gradients(model, some, [range(6)], apart)[0])


@each
def test_gradients_through_the_models_own_head_equal_the_fused_ones(name: str) -> None:
    model, some = packed_model(), examples(name, 4)
    close(
        gradients(model, some, [range(4)], made(name))[0],
        gradients(model, some, [range(4)], made(name, head=MODEL))[0],
    )


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_trainable_tensor_changes_after_step_1_at_the_smallest_rate(name: str, dtype: torch.dtype) -> None:
    for model in (packed_model().to(dtype), adapted(packed_model()).to(dtype)):
        objective = made(name)
        some = referred(model, examples(name, 4), objective)
        optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
        before = [master.detach().clone() for master in optimizer.masters]
        (batch,) = objective.ready(model, [objective.collate(some)])
        (objective.sums(model, batch)["loss"] / batch.weight).backward()
        optimizer.accumulate()
        optimizer.step(learning_rate(0, 1000, peak=1e-5, warmup=0.1, schedule="cosine"), 1.0)
        for parameter, old, master in zip(optimizer.names, before, optimizer.masters, strict=True):
            assert not torch.equal(old, master), parameter


@pytest.mark.parametrize(("name", "loss"), [("dpo", math.log(2)), ("ipo", 1 / 0.6**2), ("kto", 0.5)])
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_at_step_0_the_model_is_the_base_whichever_pass_a_row_was_computed_in(
    name: str, loss: float, weights: str
) -> None:
    model = packed_model()
    objective = made(name, desirable=1.0, undesirable=1.0) if name == "kto" else made(name)
    some = referred(model, examples(name, 6), objective)
    if weights == "lora":  # as they start, with B = 0: the reference was computed without them
        adapters.add(model, LoraConfig(rank=4, alpha=8.0, dropout=0.1), seed=0)
    model.train()
    (batch,) = objective.ready(model, [objective.collate(some)])
    means = {key: value.item() / 6 for key, value in objective.sums(model, batch).items()}
    assert abs(means["loss"] - loss) < 1e-5
    assert abs(means["margin"]) < 1e-5 and means["accuracy"] == 0.5
    if name == "kto":
        assert abs(means["kl"]) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_step_0_margins_are_exactly_0_where_the_passes_are_the_same(dtype: torch.dtype) -> None:
    model, objective = packed_model().to(dtype), made("dpo")
    batch = objective.collate(examples("dpo", 6))
    with torch.no_grad():
        batch = replace(batch, reference=answers.log_likelihoods(model, batch, MATRIX))
        assert torch.equal(objective.judged(model, batch).margins, torch.zeros(6))


def test_odds_are_finite_for_answers_that_are_certain_or_hopeless() -> None:
    policy = torch.tensor([[0.0, -1e-9], [-1e-4, -2e4], [-3e3, -0.0]], requires_grad=True)
    judged = Orpo(beta=0.1)(policy, policy.detach(), torch.full((3, 2), 10.0))
    judged.losses.sum().backward()
    assert torch.isfinite(judged.losses).all() and torch.isfinite(policy.grad).all()  # type: ignore[arg-type]


def test_ipo_rests_where_the_gain_per_token_is_its_target() -> None:
    lengths = torch.tensor([[3.0, 40.0]])
    policy = torch.tensor([[1 / 0.6 * 3, 0.0]], requires_grad=True)
    judged = made("ipo").loss(policy, torch.zeros(1, 2), lengths)
    judged.losses.sum().backward()
    assert judged.losses.item() == pytest.approx(0, abs=1e-10) and judged.margins.item() == pytest.approx(0.5)
    assert isinstance(policy.grad, Tensor) and policy.grad.abs().max() < 1e-5


def test_every_objective_that_can_be_set_is_known_everywhere() -> None:
    names = set(get_args(TrainConfig.model_fields["objective"].annotation))
    (option,) = [option for option in command.params if option.name == "objective"]
    assert set(option.type.choices) == names  # type: ignore[attr-defined]
    assert set(OBJECTIVES) == set(KINDS) == set(RATE_SHARE) == names


@pytest.mark.parametrize(
    ("objective", "given", "words"),
    [
        ("dpo", {"gamma": 1}, "preference.gamma is nothing to dpo, which reads beta, dpo_loss"),
        ("sft", {"beta": 1}, "preference.beta is nothing to sft, which reads none of them"),
        ("kto", {"dpo_loss": "ipo"}, "preference.dpo_loss is nothing to kto"),
        ("simpo", {"beta": 0}, "greater than 0"),
    ],
)
def test_a_setting_that_its_objective_does_not_read_is_refused(
    objective: str, given: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build(TrainConfig, {"base": "b", "data": "d", "objective": objective, "preference": given}, "test")
