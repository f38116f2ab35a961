"""Trap 24: a prefix that is computed once changes nothing in the result, however prefixes nest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from honed.models.chat import Encoded
from honed.train import answers, attention, attention_cuda, attention_native, batches, likelihood, prefixes
from honed.train.attention import Segments
from honed.train.head import MATRIX
from honed.train.kernels import choice, native
from honed.train.kernels.install import install
from honed.train.objectives.dpo import Dpo
from honed.train.objectives.preference import PairObjective
from honed.train.pairs import Pair
from tests.needs import missing
from tests.numerics.rows import chat, close, conversation, packed_model

RULES = "You are the help desk of a shop for garden tools. Answer briefly, and never promise a date."
DOCUMENT = RULES + " The returns desk opens at nine and takes back whatever came in the last thirty days."

FOREST = st.lists(
    st.lists(st.sampled_from([(5,) * 9, (6,) * 12, (7, 8) * 8, (9,), (10, 11, 12)]), min_size=1, max_size=5),
    min_size=1,
    max_size=12,
).map(lambda rows: [tuple(token for part in row for token in part) for row in rows])
"""Rows put together from few parts, so that they share prefixes of prefixes, and some are prefixes of others."""


UNCOMPILED = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
"""On a CPU it runs uncompiled, and warns that this is slow."""

FOREST_OF_SEVEN = Segments((5, 3, 40, 2, 17, 70, 1), (-1, 0, 1, 1, 0, -1, 5))


def nested() -> list[Encoded]:
    """A system prompt for all, a document for some, turns that go on, a row twice, and one that stands alone."""
    talk = ("When are you open?", "At nine.", "And on Sundays?", "We are closed on Sundays.")
    rows = [
        conversation("Where is my parcel?", "On its way.", system=RULES),
        conversation("Do you sell rakes?", "Yes, three kinds.", system=RULES),
        conversation(*talk[:2], system=DOCUMENT),
        conversation(*talk, system=DOCUMENT),
        conversation("May I return a rake?", "Within thirty days.", system=DOCUMENT),
        conversation("May I return a rake?", "Within thirty days.", system=DOCUMENT),
        conversation("Hello", "Hello to you."),
    ]
    return [chat().encode(row) for row in rows]


def sft_gradients(rows: Sequence[Encoded], passes: Sequence[Sequence[int]], share: bool) -> dict[str, Tensor]:
    model = packed_model()
    weight = sum(sum(row.weights) for row in rows)
    for one in passes:
        pack = batches.collate([rows[index] for index in one], share=share)
        (likelihood.nll(model, pack, MATRIX) / weight).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_sft_gradients_with_nested_shared_prefixes_equal_those_of_unshared_rows() -> None:
    rows = nested()
    alone = sft_gradients(rows, [[index] for index in range(len(rows))], share=False)
    pack = batches.collate(rows)
    assert pack.tokens < 0.5 * sum(len(row.ids) for row in rows)
    assert max(depths(pack.parents)) == 3  # rules, document, the first turns, what follows them
    close(sft_gradients(rows, [range(len(rows))], share=True), alone)


def test_dpo_gradients_with_shared_prompts_equal_those_of_unshared_rows() -> None:
    rows = nested()
    made = [Pair(rows[i], rows[j], (-3.0, -4.0)) for i, j in ((0, 1), (3, 2), (4, 2), (6, 0))]
    found = []
    for packed in (True, False):
        model = packed_model()
        objective = PairObjective(Dpo(0.1, "sigmoid"), MATRIX, packed=packed)
        batch = objective.collate(made)
        objective.sums(model, batch)["loss"].backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert objective.collate(made[:1]).tokens > answers.collate([made[0].rows], [(0.0, 0.0)], packed=True).tokens
    close(found[0], found[1])


@given(rows=FOREST, seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_likelihoods_and_gradients_of_any_forest_equal_those_of_its_rows(
    rows: list[tuple[int, ...]], seed: int
) -> None:
    rng = random.Random(seed)
    encoded = [Encoded(row, (0.0, *(rng.choice([0.0, 1.0, 0.5]) for _ in row[1:]))) for row in rows]
    pull = torch.tensor([rng.uniform(-1, 1) for _ in rows])
    found = []
    for passes in ([range(len(rows))], [[index] for index in range(len(rows))]):
        model = packed_model()
        logps = torch.cat(
            [likelihood.row_logps(model, batches.collate([encoded[i] for i in one]), MATRIX) for one in passes]
        )
        (logps * pull).sum().backward()
        found.append((logps.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (one, together), (other, alone) = found
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    size = sum(float(gradient.norm()) for gradient in alone.values())
    for name, gradient in together.items():  # some are zero but for rounding: a row of one token over and over
        assert float((gradient - alone[name]).norm()) <= 1e-5 * size + 1e-9, name


@given(rows=FOREST)
@settings(max_examples=100, deadline=None)
def test_every_row_can_be_read_off_its_forest_and_nothing_is_laid_twice(rows: list[tuple[int, ...]]) -> None:
    tree = prefixes.grow(rows)
    for row, places in zip(rows, tree.places, strict=True):
        assert tuple(tree.ids[place] for place in places) == row
        assert [tree.positions[place] for place in places] == list(range(len(row)))
    assert sum(tree.lengths) == len(tree.ids) == len({place for places in tree.places for place in places})
    assert all(parent < index for index, parent in enumerate(tree.parents))
    exact = prefixes.grow(rows, least=1)
    assert len(exact.ids) == len({row[:end] for row in rows for end in range(1, len(row) + 1)})
    assert len(exact.ids) <= len(tree.ids) <= sum(map(len, rows))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_attention_over_a_forest_equals_plain_attention_over_each_path(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    start = [torch.randn(1, heads, 138, 16, dtype=dtype) for heads in (4, 2, 2, 4)]
    found = []
    for path in (attention.by_fused, attention.by_parts, by_definition):
        q, k, v = (tensor.clone().requires_grad_() for tensor in start[:3])
        out = path(q, k, v, FOREST_OF_SEVEN, 0.3)
        out.backward(start[3])
        found.append([out.detach(), q.grad, k.grad, v.grad])
    tolerance = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 5e-2}[dtype]
    for other in found[:2]:
        for left, right in zip(other, found[2], strict=True):
            torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


def by_definition(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> Tensor:
    """Every token's softmax over its ancestors and what is before it in its segment."""
    size = q.shape[2]
    seen = torch.zeros(size, size, dtype=torch.bool)
    for start, end, below in segments.spans:
        for token in range(start, below):
            seen[token, start : min(end, token + 1)] = True
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    scores = (q @ k.transpose(2, 3) * scale).masked_fill(~seen, -torch.inf)
    return scores.softmax(3) @ v


@pytest.mark.parametrize("block", [1, 7, 64])
def test_plain_attention_is_the_same_in_blocks_of_queries_of_any_size(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 138, 16, dtype=torch.float64) for heads in (4, 2, 2))
    monkeypatch.setattr(attention, "_BLOCK", block)
    found = attention.by_parts(q, k, v, FOREST_OF_SEVEN, 0.3)
    torch.testing.assert_close(found, by_definition(q, k, v, FOREST_OF_SEVEN, 0.3), rtol=1e-12, atol=1e-12)


class _Largest(TorchDispatchMode):
    """The most elements of any tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        tensors = [one for one in (made if isinstance(made, tuple | list) else (made,)) if isinstance(one, Tensor)]
        self.elements = max([self.elements, *(one.numel() for one in tensors)])
        return made


def test_neither_a_mask_nor_scores_of_all_tokens_by_all_are_built_for_one_long_row() -> None:
    q, k, v = (torch.randn(1, 1, 2000, 4, requires_grad=True) for _ in range(3))
    with _Largest() as largest:
        attention.by_parts(q, k, v, Segments((2000,)), 0.3).sum().backward()
    assert 0 < largest.elements <= attention._BLOCK * 2000


@pytest.mark.parametrize("installed", [True, False], ids=["our kernels", "transformers"])
@pytest.mark.parametrize("path", [attention.FUSED, attention_native.NATIVE, attention.PARTS])
def test_a_model_makes_nothing_of_all_tokens_by_all_of_a_long_row_and_many_short_ones(
    path: str, installed: bool
) -> None:
    """Forward and backward. What a token has is some hundred numbers here: a mask, or scores, would be the largest."""
    rng = random.Random(0)
    model, long = packed_model(path=path, hidden=64), 1600
    if path == attention_native.NATIVE and native.why_not():
        missing("a C compiler with OpenMP", "gcc libc6-dev")
    if installed:
        install(model, compiled=choice.choose(torch.float32, "cpu")[0])
    lengths = [long] + [20] * 20
    rows = [
        Encoded(tuple(rng.randrange(256) for _ in range(length)), (0.0,) * (length - 1) + (1.0,)) for length in lengths
    ]
    pack = batches.collate(rows)
    assert pack.tokens == 2000
    with _Largest() as largest:
        likelihood.nll(model, pack, MATRIX).backward()
    a_block = model.config.num_attention_heads * attention._BLOCK * long
    most = a_block if path == attention.PARTS else 300 * pack.tokens
    assert pack.tokens * model.config.intermediate_size <= largest.elements <= most < long**2


def test_a_path_whose_gradients_are_wrong_does_not_agree_with_plain_torch() -> None:
    def forgets_a_gradient(q: Tensor, k: Tensor, *others: Any) -> Tensor:
        return attention.by_fused(q, k.detach() + 0 * k, *others)

    torch.manual_seed(0)
    start = [torch.randn(1, heads, 138, 16) for heads in (4, 2, 2)]
    assert attention.agrees(attention.by_fused, *start, FOREST_OF_SEVEN, 1e-4)
    assert not attention.agrees(forgets_a_gradient, *start, FOREST_OF_SEVEN, 1e-4)
    start[2][0, 0, 5, 1] = torch.nan
    assert not attention.agrees(attention.by_fused, *start, FOREST_OF_SEVEN, 1e-4)


@UNCOMPILED
def test_every_path_can_be_set_on_a_model_by_its_name() -> None:
    attention.register({attention_cuda.FLEX: attention_cuda.by_flex, attention_cuda.VARLEN: attention_cuda.by_varlen})
    model, pack = packed_model(), batches.collate(nested())
    with torch.no_grad():
        expected = likelihood.nll(model, pack, MATRIX)
        for name in (attention.PARTS, attention_cuda.FLEX, attention_cuda.VARLEN):
            model.set_attn_implementation(name)
            assert model.config._attn_implementation == name
            if name != attention_cuda.VARLEN:  # it needs a card
                torch.testing.assert_close(likelihood.nll(model, pack, MATRIX), expected, rtol=1e-5, atol=1e-4)


@UNCOMPILED
def test_flex_attentions_mask_of_one_number_a_token_says_all_of_a_forest() -> None:
    """No card is needed for the mask to be right."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 138, 16) for heads in (4, 2, 2))
    for segments in (FOREST_OF_SEVEN, Segments((30, 100, 8))):
        found = attention_cuda.by_flex(q, k, v, segments, 0.3)
        torch.testing.assert_close(found, by_definition(q, k, v, segments, 0.3), rtol=1e-4, atol=1e-5)


@UNCOMPILED
def test_flex_attentions_gradients_are_those_of_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch refuses them on CPUs, where its compiled form has none; the uncompiled one computes them all the same."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    torch.compiler.reset()  # after a test with another scale, torch makes it a variable, which this form can't take
    torch.manual_seed(0)
    for segments in (FOREST_OF_SEVEN, Segments((30, 100, 8))):
        start = [torch.randn(1, heads, 138, 16) for heads in (4, 2, 2)]
        for manner in (attention.PLAIN, attention.Manner(window=20, cap=2.0)):
            assert attention.agrees(attention_cuda.by_flex, *start, segments, 1e-4, manner)


@given(rows=FOREST, budget=st.integers(10, 120))
@settings(max_examples=100, deadline=None)
def test_a_cut_keeps_the_budget_and_is_the_best_of_all_cuts_of_the_run(
    rows: list[tuple[int, ...]], budget: int
) -> None:
    rows = sorted(rows)[:7]
    costs = [len(row) for row in rows]
    shared = [0, *(prefixes.common(one, other) for one, other in pairwise(rows))]
    found = prefixes.cut(costs, shared, budget)
    assert sorted(place for run in found for place in run) == list(range(len(rows)))

    def computed(run: Sequence[int]) -> int:
        return sum(costs[k] for k in run) - sum(shared[k] for k in run[1:] if shared[k] >= prefixes.LEAST)

    def allowed(runs: Sequence[Sequence[int]]) -> bool:
        return all(len(run) == 1 or computed(run) <= budget for run in runs)

    cuts = [_runs(len(rows), mask) for mask in range(2 ** (len(rows) - 1))]
    best = min(sum(computed(run) + prefixes._PASS for run in runs) for runs in cuts if allowed(runs))
    assert allowed([sorted(run) for run in found])
    assert sum(len(prefixes.grow([rows[k] for k in run]).ids) for run in found) <= best


def _runs(count: int, mask: int) -> list[list[int]]:
    runs = [[0]]
    for place in range(1, count):
        if mask >> (place - 1) & 1:
            runs.append([])
        runs[-1].append(place)
    return runs


def test_rows_of_one_document_come_into_one_step_and_rows_of_one_system_prompt_stay_where_they_were_drawn() -> None:
    rng = random.Random(0)
    rules = tuple(rng.randrange(99) for _ in range(50))
    documents = [tuple(rng.randrange(99) for _ in range(60)) for _ in range(20)]
    rows = [
        Encoded(ids, (0.0,) + (1.0,) * (len(ids) - 1))
        for ids in (rules + documents[n % 20] + tuple(rng.randrange(99) for _ in range(10)) for n in range(60))
    ]
    options = {"epochs": 2, "batch_tokens": 1200, "pack_tokens": 600, "packing": True, "seed": 0}
    plain = _members(batches.plan([120] * 60, **options))
    shared = _members(batches.plan([120] * 60, **options, shared=prefixes.sort(rows)))
    of_documents = [sum(len({i % 20 for i in step}) for step in steps) for steps in (plain, shared)]
    assert of_documents[1] < 0.5 * of_documents[0]
    short = [Encoded(row.ids[:50] + row.ids[110:], (0.0,) + (1.0,) * 59) for row in rows]
    table = prefixes.sort(short)
    assert prefixes.families(table, steps=3, tokens=600) == []
    options["batch_tokens"] = 600
    assert _members(batches.plan([60] * 60, **options, shared=table)) == _members(batches.plan([60] * 60, **options))


def _members(steps: Sequence[batches.StepRows]) -> list[list[int]]:
    """The examples of each step, whatever their passes; each exactly once an epoch."""
    members = [sorted(index for one in step.packs for index in one) for step in steps]
    for epoch in {step.epoch for step in steps}:
        seen = [index for step, one in zip(steps, members, strict=True) if step.epoch == epoch for index in one]
        assert sorted(seen) == list(range(60))
    return members


def depths(parents: Sequence[int]) -> list[int]:
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent < 0 else depths[parent] + 1)
    return depths
