"""Traps 1, 3, 9, 12, 13, 14: packing, accumulation and chunking change nothing in the result."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.models.chat import Encoded
from honed.train import attention, batches, heldout, loss_sweeps, prefixes, token_loss
from honed.train.head import MATRIX, MODEL, Head, find
from honed.train.likelihood import packing_is_exact
from honed.train.objectives.sft import Sft
from honed.train.placement import Replicated
from tests.numerics.rows import close, gradients, packed_model, reference_loss, uneven
from tests.tiny import tiny_model


def _token_by_token(rows: list[Encoded], *, share: bool) -> list[torch.Tensor]:
    """What ``collate`` lays out, as its definition has it."""
    tree = prefixes.grow([row.ids for row in rows], prefixes.LEAST if share else None)
    found = [
        (places[place - 1], row.ids[place], row.weights[place])
        for row, places in zip(rows, tree.places, strict=True)
        for place in range(1, len(row.ids))
        if row.weights[place] > 0
    ]
    at, targets = (torch.tensor([one[part] for one in found], dtype=torch.long) for part in (0, 1))
    weights = torch.tensor([one[2] for one in found], dtype=torch.float32)
    return [torch.tensor([tree.ids]), torch.tensor([tree.positions]), at, targets, weights]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 1), st.sampled_from((0.0, 1.0, 0.3, 7.25))), min_size=1, max_size=30),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
@settings(deadline=None)
def test_rows_are_laid_out_at_once_as_they_would_be_token_by_token(
    drawn: list[list[tuple[int, float]]], share: bool
) -> None:
    rows = [Encoded(tuple(token for token, _ in row), (0.0, *[weight for _, weight in row[1:]])) for row in drawn]
    pack = batches.collate(rows, share=share)
    found = [pack.ids, pack.positions, pack.at, pack.targets, pack.weights]
    for ours, theirs in zip(found, _token_by_token(rows, share=share), strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    assert pack.counts == tuple(row.supervised for row in rows)


def test_1x8_and_8x1_on_rows_of_unequal_length_give_equal_gradients() -> None:
    model, rows = packed_model(), uneven(8)
    close(gradients(model, rows, [range(8)]), gradients(model, rows, [[i] for i in range(8)]))


def test_in_the_held_out_loss_every_answers_token_counts_once_whatever_its_turn_weighs() -> None:
    model = packed_model()
    weighed = [
        replace(row, weights=tuple(by * weight for weight in row.weights))
        for row, by in zip(uneven(3), (0.25, 1.0, 3.0), strict=True)
    ]
    with torch.no_grad():
        each = [float(reference_loss(model, row)) for row in uneven(3)]  # of which each token weighs 1
        found = heldout.HeldOut(weighed, Sft(MATRIX), True, "cpu", 1000).loss(Replicated(model))
    assert found == pytest.approx(sum(each) / sum(row.supervised for row in weighed), rel=1e-5)


@pytest.mark.parametrize("pack_tokens", [1, 40, 10_000])
def test_the_held_out_loss_does_not_depend_on_how_many_rows_share_a_pass(pack_tokens: int) -> None:
    model, rows = packed_model(), uneven(8)
    tokens = sum(row.supervised for row in rows)
    with torch.no_grad():
        expected = sum(float(reference_loss(model, row.unweighted)) for row in rows) / tokens
    for packed in (True, False):
        loss = heldout.HeldOut(rows, Sft(MATRIX), packed, "cpu", pack_tokens).loss(Replicated(model))
        assert loss == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_that_of_the_plain_loss_over_all_logits() -> None:
    model, rows = packed_model(), uneven(5)
    ours = gradients(model, rows, [[0, 1, 2], [3, 4]])
    model.zero_grad()
    weight = sum(sum(row.weights) for row in rows)
    sum(reference_loss(model, row) for row in rows).div(weight).backward()
    close(ours, {name: p.grad.clone() for name, p in model.named_parameters()})


def test_packed_hidden_states_equal_those_of_each_row_alone() -> None:
    model, rows = packed_model(), uneven(6)
    pack = batches.collate(rows, share=False)
    with torch.no_grad():
        together = model(pack.ids, position_ids=pack.positions, segments=attention.Segments(pack.lengths)).logits[0]
        plain = tiny_model()  # transformers' own attention
        for row, part in zip(rows, together.split(pack.lengths), strict=True):
            alone = plain(torch.tensor([row.ids])).logits[0]
            torch.testing.assert_close(part, alone, rtol=1e-4, atol=1e-5)


def test_loss_of_a_pack_is_the_sum_of_the_losses_of_its_rows() -> None:
    model, rows = packed_model(), uneven(7)
    objective = Sft(MATRIX)
    with torch.no_grad():
        together = objective.loss(model, objective.collate(rows))
        alone = sum(objective.loss(model, objective.collate([row])) for row in rows)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_loss_through_the_models_own_head_equals_the_fused_one() -> None:
    model, rows = packed_model(), uneven(6)
    pack = batches.collate(rows)
    values = [Sft(head).loss(model, pack) for head in (MATRIX, Head("module"), MODEL)]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunked_loss_and_gradients_equal_cross_entropy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", chunk * 4 * 50)
    torch.manual_seed(0)
    hidden, head = torch.randn(11, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets, weights = torch.randint(50, (11,)), torch.rand(11)
    token_loss.weighted_nll(hidden, head, targets, weights).mul(0.3).backward()
    ours = (hidden.grad.clone(), head.grad.clone())
    hidden.grad = head.grad = None
    (torch.nn.functional.cross_entropy(hidden @ head.T, targets, reduction="none") * weights).sum().mul(0.3).backward()
    torch.testing.assert_close(ours[0], hidden.grad)
    torch.testing.assert_close(ours[1], head.grad)


def test_no_more_than_64_megabytes_of_logits_are_held() -> None:
    for vocabulary in (259, 49_152, 262_144):
        assert loss_sweeps.chunk_size(vocabulary) * vocabulary * 4 <= 64 * 2**20


def test_first_target_is_the_first_answer_token_and_is_predicted_from_the_header() -> None:
    for row in uneven(4):
        pack = batches.collate([row])
        first = next(place for place, weight in enumerate(row.weights) if weight)
        assert pack.targets[0] == row.ids[first]
        assert pack.at[0] == first - 1


def test_a_model_that_mixes_tokens_elsewhere_is_found_before_training() -> None:
    rows = uneven(2)
    model = packed_model()
    assert packing_is_exact(model, batches.collate(rows))
    model.set_attn_implementation("sdpa")  # stands for a layer that doesn't come to our attention
    assert not packing_is_exact(model, batches.collate(rows))


def test_a_head_that_does_more_than_a_matrix_product_is_found_before_training() -> None:
    model, pack = packed_model(), batches.collate(uneven(2))
    assert find(model, pack) == MATRIX
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda *args: torch.tanh(args[2]))
    assert find(model, pack) == Head("module")
    handle.remove()
    handle = model.register_forward_hook(lambda *args: replace_logits(args[2]))
    assert find(model, pack) == MODEL
    handle.remove()


def replace_logits(out: Any) -> Any:
    out.logits = torch.tanh(out.logits)
    return out


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    epochs=st.sampled_from([0.5, 1.0, 2.0, 2.5]),
    batch=st.integers(50, 2000),
    pack=st.integers(20, 1000),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_plan_takes_every_row_once_an_epoch_within_the_budget(
    lengths: list[int], epochs: float, batch: int, pack: int, seed: int
) -> None:
    options = {"epochs": epochs, "batch_tokens": batch, "pack_tokens": pack, "packing": True, "seed": seed}
    steps = batches.plan(lengths, **options)
    assert steps == batches.plan(lengths, **options)
    for epoch in range(math.ceil(epochs)):
        mine = [step for step in steps if step.epoch == epoch]
        seen = sorted(index for step in mine for one in step.packs for index in one)
        assert len(seen) == len(set(seen))
        whole = [step for step in batches.plan(lengths, **{**options, "epochs": epoch + 1}) if step.epoch == epoch]
        assert mine == whole[: max(1, round(min(1.0, epochs - epoch) * len(whole)))]
        if epoch < int(epochs):
            assert seen == list(range(len(lengths)))
    for step in steps:
        for one in step.packs:
            assert len(one) == 1 or sum(lengths[index] for index in one) <= pack


@given(
    families=st.lists(st.tuples(st.integers(1, 9), st.integers(10, 200)), min_size=1, max_size=8),
    batch=st.integers(100, 1500),
    pack=st.integers(50, 800),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_plan_takes_every_row_once_an_epoch_whatever_rows_begin_alike(
    families: list[tuple[int, int]], batch: int, pack: int, seed: int
) -> None:
    rows = [
        Encoded((*[100 + number] * shared, *range(3 + one)), (0.0,) + (1.0,) * (shared + 2 + one))
        for number, (count, shared) in enumerate(families)
        for one in range(count)
    ]
    options = {"epochs": 2, "batch_tokens": batch, "pack_tokens": pack, "packing": True, "seed": seed}
    steps = batches.plan([len(row.ids) for row in rows], **options, shared=prefixes.sort(rows))
    for epoch in range(2):
        seen = sorted(index for step in steps if step.epoch == epoch for one in step.packs for index in one)
        assert seen == list(range(len(rows)))


def test_half_an_epoch_is_half_its_steps_and_a_step_has_as_many_tokens_as_were_asked_for() -> None:
    options = {"batch_tokens": 100, "pack_tokens": 50, "packing": True, "seed": 0}
    whole, half = (batches.plan([10] * 400, epochs=epochs, **options) for epochs in (1, 0.5))
    assert len(whole) == 40 and half == whole[:20]
    assert {sum(map(len, step.packs)) for step in whole} == {10}


def test_epochs_and_seeds_differ_in_order() -> None:
    options = {"epochs": 2, "batch_tokens": 100, "pack_tokens": 10, "packing": True}
    steps, other = (batches.plan([10] * 40, **options, seed=seed) for seed in (0, 1))
    packs = [step.packs for step in steps]
    assert packs[:4] != packs[4:] and packs[:4] != [step.packs for step in other[:4]]


def test_packing_off_gives_one_row_a_pass() -> None:
    steps = batches.plan([10] * 9, epochs=1, batch_tokens=30, pack_tokens=100, packing=False, seed=0)
    assert all(len(pack) == 1 for step in steps for pack in step.packs)


def test_row_weights_scale_the_loss_of_their_turn() -> None:
    model, row = packed_model(), uneven(1)[0]
    doubled = Encoded(row.ids, tuple(2 * weight for weight in row.weights))
    objective = Sft(MATRIX)
    losses = [objective.loss(model, objective.collate([one])) for one in (row, doubled)]
    torch.testing.assert_close(2 * losses[0], losses[1])
