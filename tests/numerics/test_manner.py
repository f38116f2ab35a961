"""Attention with a window, a cap or sinks, over rows that share prefixes: as each token's own softmax would have it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from honed.train import attention, attention_cuda, own_attention, prepare
from honed.train.attention import Manner, Segments
from honed.train.ranks import ALONE
from tests.numerics.rows import packed_model
from tests.numerics.test_prefixes import FOREST_OF_SEVEN, UNCOMPILED

SINKS = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
MANNERS = [
    Manner(window=window, cap=cap, sinks=sinks)
    for window, cap, sinks in product((None, 1, 9, 40), (None, 0.7), (None, SINKS))
]


def by_definition(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, manner: Manner) -> Tensor:
    """Token after token, over what it sees of its row."""
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    outs = []
    for token in range(q.shape[2]):
        row = [key for start, end, below in segments.spans if start <= token < below for key in range(start, end)]
        seen = [key for key in row if key <= token][-(manner.window or len(row)) :]
        scores = (q[:, :, token : token + 1] @ k[:, :, seen].transpose(2, 3)) * scale
        if manner.cap is not None:
            scores = manner.cap * (scores / manner.cap).tanh()
        if manner.sinks is not None:
            scores = torch.cat((scores, manner.sinks.expand(1, 1, 1, 4).transpose(1, 3)), 3)
        outs.append(scores.softmax(3)[..., : len(seen)] @ v[:, :, seen])
    return torch.cat(outs, 2)


@pytest.mark.parametrize("manner", MANNERS, ids=str)
@pytest.mark.parametrize("block", [7, 256])
def test_attention_in_any_manner_equals_its_definition_and_so_do_its_gradients(
    block: int, manner: Manner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_BLOCK", block)
    torch.manual_seed(0)
    start = [torch.randn(1, heads, 138, 8, dtype=torch.float64) for heads in (4, 2, 2, 4)]
    found = []
    for path in (attention.by_fused, by_definition):
        q, k, v = (tensor.clone().requires_grad_() for tensor in start[:3])
        out = path(q, k, v, FOREST_OF_SEVEN, 0.3, manner)
        found.append([out.detach(), *torch.autograd.grad(out, (q, k, v), start[3])])
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@UNCOMPILED
@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_flex_attention_in_any_manner_equals_plain_torch(manner: Manner) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 138, 16) for heads in (4, 2, 2))
    for segments in (FOREST_OF_SEVEN, Segments((30, 100, 8))):
        found = attention_cuda.by_flex(q, k, v, segments, 0.3, manner)
        expected = attention.by_parts(q, k, v, segments, 0.3, manner)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_scores_of_a_window_are_made_for_its_keys_only() -> None:
    q = torch.randn(1, 1, 2000, 4)
    block = attention._Block(1024, 1280, 1024, ((0, 1280, 0),), 100)
    assert block.keys(q).shape[2] == 256 + 99
    assert block.hidden(q.device).sum(1).tolist() == [255] * 256


def test_weights_are_dropped_one_by_one_and_the_others_scaled() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 40, 8) for _ in range(3))
    v.fill_(1.0)  # the weights' sum, then
    sums = attention.by_fused(q, k, v, Segments((40,)), 0.3, Manner(dropout=0.5))[..., 0]
    assert sums.std() > 0.1 and float(sums.mean()) == pytest.approx(1.0, abs=0.2)


def _model(attend: Any) -> PreTrainedModel:
    """A model whose layers call ``attend`` in place of their attention's own function."""
    model = packed_model()
    for layer in model.base_model.layers:
        usual = layer.self_attn.forward
        layer.self_attn.forward = lambda *args, _usual=usual, **options: attend(_usual, *args, **options)
    return model


@pytest.mark.parametrize(
    "attend",
    [
        lambda usual, *args, **options: usual(*args, **options, position_bias=torch.zeros(1)),
        lambda usual, *args, **options: tuple(
            2 * out if "eager" in usual.__self__.config._attn_implementation and out is not None else out
            for out in usual(*args, **options)
        ),
    ],
    ids=["passes what no path computes with", "gives something else"],
)
def test_a_model_for_whose_attention_ours_does_not_stand_keeps_its_own(attend: Any) -> None:
    model = _model(attend)
    assert not prepare._compared(model, ALONE, print).ours
    assert model.config._attn_implementation == own_attention.OWN


def test_what_a_model_says_that_cannot_be_computed_with_our_attention_is_told() -> None:
    def fails(usual: Any, *args: Any, **options: Any) -> Any:
        raise TypeError("where is the mask?\nand more")

    said: list[str] = []
    assert not prepare._compared(_model(fails), ALONE, said.append).ours
    assert said == ["our attention can't be put into this model: where is the mask?"]


def test_a_model_for_whose_attention_ours_stands_gets_it_and_its_windows_are_seen() -> None:
    for options, windows in (({}, False), ({"sliding_window": 100}, True)):
        model = _model(lambda usual, *args, _given=options, **more: usual(*args, **_given, **more))
        assert prepare._compared(model, ALONE, print) == own_attention.Found(ours=True, windows=windows)
        assert model.config._attn_implementation == attention.FUSED


def test_a_layer_is_told_apart_by_what_it_passes() -> None:
    model = packed_model()
    asked: dict[nn.Module, dict[str, Any]] = {}
    layer = model.base_model.layers[1].self_attn
    usual = layer.forward
    layer.forward = lambda *args, **options: usual(*args, **options, sliding_window=7)
    own_attention.hidden(model, asked)
    assert [passed for _, passed in asked.items()] == [{}, {"sliding_window": 7}]


def test_a_path_that_computes_in_another_manner_than_was_asked_for_is_found() -> None:
    start = [torch.randn(1, 2, sum(FOREST_OF_SEVEN.lengths), 8) for _ in range(3)]
    asked = Manner(window=100_000, cap=5.0)
    plain, bent = attention_cuda._compared(asked, FOREST_OF_SEVEN)
    assert plain.plain and bent.cap == 5.0 and bent.window is not None and bent.window < FOREST_OF_SEVEN.longest
    assert attention_cuda._compared(Manner(), FOREST_OF_SEVEN) == [Manner()]

    def deaf(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float, _: Manner = plain) -> Tensor:
        return attention.by_parts(q, k, v, segments, scale)

    assert attention.agrees(deaf, *start, FOREST_OF_SEVEN, 1e-4, plain)
    assert not attention.agrees(deaf, *start, FOREST_OF_SEVEN, 1e-4, bent)
