"""Gradients added straight to where they are summed are those that autograd makes; who can't have that gets those."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from honed.train import adapters, heap, likelihood, token_loss
from honed.train.head import MATRIX
from honed.train.kernels import norm, room
from honed.train.kernels.embedding import embedding
from honed.train.kernels.install import install
from honed.train.kernels.linear import linears
from honed.train.lora_config import LoraConfig
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer
from tests.numerics.rows import close, packed_model, uneven

PACKS = [[0, 1, 2], [3], [4, 5]]


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Whose gradients have been begun in a room; what mustn't be read of their memory isn't a number."""
    masters: list[Tensor] = []
    as_ever = room._begun

    def filled(master: Tensor) -> tuple[Tensor, bool]:
        grad, fresh = as_ever(master)
        if fresh:
            grad.fill_(torch.nan)
            masters.append(master)
        return grad, fresh

    monkeypatch.setattr(room, "_begun", filled)
    return masters


def gradients(model: PreTrainedModel, *, steps: int = 2, known: bool = True) -> dict[str, Tensor]:
    """Gradients of the last of some steps of three passes each, with the passes' share of the step known or not."""
    rows, objective = uneven(6), Sft(MATRIX)
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = None
        packs = [objective.collate([rows[index] for index in pack]) for pack in PACKS]
        weight = sum(pack.weight for pack in packs)
        for pack in objective.ready(model, packs, weight if known else None):
            (objective.sums(model, pack)["loss"] / weight).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def with_rooms(model: PreTrainedModel) -> PreTrainedModel:
    """The model with our kernels, and an optimizer's rooms."""
    install(model)
    Optimizer([(name, p) for name, p in model.named_parameters() if p.requires_grad], weight_decay=0.0)
    return model


def untied(model: PreTrainedModel) -> PreTrainedModel:
    model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_step_of_several_passes_has_the_gradients_of_autograd(tied: bool, known: bool, begun: list[Tensor]) -> None:
    plain = packed_model() if tied else untied(packed_model())
    ours = with_rooms(copy.deepcopy(plain))
    assert (ours.lm_head.weight is ours.model.embed_tokens.weight) is tied
    close(gradients(ours, known=known), gradients(plain))
    apart = [n for n, p in ours.named_parameters() if p.ndim == 2 and not any(p is one for one in begun)]
    assert apart == ([] if tied or known else ["lm_head.weight"])


def test_a_frozen_head_gets_no_gradient_and_an_adapter_beside_frozen_weights_its_own() -> None:
    plain = packed_model()
    ours = copy.deepcopy(plain)
    install(ours)
    for model in (plain, ours):
        adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=3)
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):  # zero at the start, which hides A's gradient; large, rounding is too
                parameter.data.normal_(std=0.1, generator=torch.Generator().manual_seed(5))
    Optimizer([(name, p) for name, p in ours.named_parameters() if p.requires_grad], weight_decay=0.0)
    found = gradients(ours)
    assert all("lora_" in name for name in found)
    close(found, gradients(plain))


def test_some_frozen_layers_leave_the_others_gradients_as_they_are() -> None:
    plain = packed_model()
    for name in ("q_proj", "o_proj"):
        getattr(plain.model.layers[0].self_attn, name).weight.requires_grad_(False)
    plain.model.layers[1].mlp.down_proj.weight.requires_grad_(False)
    ours = with_rooms(copy.deepcopy(plain))
    close(gradients(ours), gradients(plain))


def summed(model: PreTrainedModel, *, rooms: bool, known: bool = True) -> list[Tensor]:
    """The gradients of a step of three passes, in the masters, with rooms or from autograd."""
    if rooms:
        install(model)
    optimizer = Optimizer(list(model.named_parameters()), weight_decay=0.0)
    if not rooms:
        for parameter in model.parameters():
            vars(parameter).pop(room._NAME, None)
    rows, objective = uneven(6), Sft(MATRIX)
    packs = [objective.collate([rows[index] for index in pack]) for pack in PACKS]
    weight = sum(pack.weight for pack in packs)
    for pack in objective.ready(model, packs, weight if known else None):
        (objective.sums(model, pack)["loss"] / weight).backward()
        optimizer.accumulate()
    given = [master.grad for master in optimizer.masters]
    assert all(one is not None and one.dtype == torch.float32 for one in given)
    assert not any(parameter.grad is not None for parameter in model.parameters() if parameter.dtype != torch.float32)
    return [one for one in given if one is not None]


@pytest.mark.parametrize("known", [True, False])
def test_gradients_of_16_bit_weights_are_as_near_to_the_exact_ones_in_their_masters_as_those_of_autograd(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_ROWS", 7)  # so that some matrices are made in parts
    exact = summed(packed_model().bfloat16().float(), rooms=False)
    ours = summed(packed_model().bfloat16(), rooms=True, known=known)
    theirs = summed(packed_model().bfloat16(), rooms=False)

    def error(found: list[Tensor]) -> float:
        return sum(float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True))

    assert error(ours) < 1.05 * error(theirs) < 0.05 * len(exact)


def test_an_optimizer_step_takes_the_gradients_and_leaves_none() -> None:
    model = with_rooms(packed_model())
    optimizer = Optimizer(list(model.named_parameters()), weight_decay=0.0)
    gradients(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert optimizer.step(1e-3, 1.0) > 0
    assert all(p.grad is None for p in model.parameters())
    assert not any(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_weight_that_nothing_uses_keeps_no_gradient_though_it_has_a_room() -> None:
    model = with_rooms(untied(packed_model()))
    likelihood._hidden(model, Sft(MATRIX).collate(uneven(2))).sum().backward()
    assert model.lm_head.weight.grad is None


def test_a_loss_that_is_scaled_otherwise_than_was_said_is_found() -> None:
    head, hidden = nn.Parameter(torch.randn(9, 4)), torch.randn(5, 4, requires_grad=True)
    room.give([(head, head)])
    loss = token_loss.weighted_nll(hidden, head, torch.arange(5), torch.ones(5), 0.5)
    with pytest.raises(AssertionError, match="summed with it already"):
        (loss / 3).backward()


def test_the_gradient_of_an_embedding_is_torchs_with_a_room_and_without() -> None:
    ids = torch.tensor([[3, 1, 3, 2, 0]])
    for given in (False, True):
        ours, theirs = (nn.Parameter(torch.ones(5, 3)) for _ in range(2))
        if given:
            room.give([(ours, ours)])
        scale = torch.arange(15.0).view(1, 5, 3)
        (embedding(ids, ours) * scale).sum().backward()
        (nn.functional.embedding(ids, theirs) * scale).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_layers_behind_a_norm_have_their_gradients_without_keeping_its_output(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, out, bias=bias).to(dtype) for out in (6, 3)]
    scale, x = nn.Parameter(torch.randn(8).to(dtype)), torch.randn(1, 7, 8).to(dtype).requires_grad_()
    inputs = [x, scale, *(p for layer in layers for p in layer.parameters())]
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    found = []
    for behind in (False, True):
        normal = norm.rms_norm(x, scale, 1e-5)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outs = linears(normal, layers) if behind else tuple(layer(normal) for layer in layers)
        assert (normal.data_ptr() in kept) is not behind
        kept.clear()
        found.append(torch.autograd.grad(torch.cat(outs, -1).square().sum(), inputs))
    limit = 3e-2 if dtype == torch.bfloat16 else 1e-5
    for one, other in zip(*found, strict=True):
        assert float((one - other).double().norm() / other.double().norm()) < limit


def test_a_brief_tensor_has_the_shape_asked_for_and_more_behind_it() -> None:
    like = torch.zeros(2, 3)
    made = heap.brief((2, 3), like, turn=2)
    assert made.shape == like.shape and made.is_contiguous()
    assert made.untyped_storage().nbytes() == like.nbytes + 2 * 64 * 4
