"""Which attention path a run on CUDA takes, found without a card: what fails is left out and said, but for memory."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention, varlen
from transformers import MistralConfig, MistralForCausalLM

from honed.models.chat import Encoded
from honed.models.heads import Heads
from honed.train import attention, attention_cuda, layout
from honed.train.attention import PARTS, PLAIN, Manner, Segments, register
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve

SIZES = SimpleNamespace(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, num_key_value_heads=2)


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw what paths are compared on here, time nothing, and let plain torch stand for FlexAttention."""

    def drawn(kind: Heads, some: Segments, dtype: torch.dtype) -> tuple[Tensor, ...]:
        counts = (kind.queries, kind.keys, kind.keys)
        return tuple(torch.randn(1, count, sum(some.lengths), kind.width).to(dtype) for count in counts)

    monkeypatch.setattr(attention_cuda, "_drawn", drawn)
    monkeypatch.setattr(attention_cuda, "_timed", lambda *_: 0.001)
    monkeypatch.setattr(attention_cuda, "by_flex", attention.by_parts)
    monkeypatch.setattr(attention, "register", lambda _: None)


def fastest(config: Any = SIZES, manner: Manner = PLAIN) -> tuple[str, str]:
    return attention_cuda.fastest(config, Segments((40, 9)), torch.bfloat16, manner, shared=False)


ROWS = [Encoded(tuple(range(length)), (0.0, *[1.0] * (length - 1))) for length in (12, 9, 50)]
FACTS = Facts(1, 3, 71, 10**10, "cuda", "fp32", "")


def near(**options: Any) -> MistralForCausalLM:
    """A model whose tokens see 20 of their row."""
    register()
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, **vars(SIZES)}
    model = MistralForCausalLM(MistralConfig(**sizes, sliding_window=20, **options))
    model.set_attn_implementation(PARTS)
    return model


def test_memory_that_runs_out_while_paths_are_timed_ends_the_run_and_demotes_no_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(error: Exception) -> None:
        def timed(*_: Any) -> float:
            raise error

        monkeypatch.setattr(attention_cuda, "_timed", timed)

    fails(RuntimeError("no such kernel"))
    assert fastest()[0] == PARTS
    fails(torch.OutOfMemoryError("too much"))
    with pytest.raises(torch.OutOfMemoryError):
        fastest()


def test_a_torch_that_has_no_attention_over_rows_of_varying_length_takes_another_path_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    name, why = fastest()
    assert name == attention_cuda.FLEX
    assert "varlen doesn't run here (import of torch.nn.attention.varlen" in why


def test_a_path_that_fails_with_the_heads_of_some_layers_is_left_out_and_the_widest_are_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[int] = []

    def narrow(q: Tensor, *rest: Any) -> Tensor:
        if q.shape[3] > 8:
            raise RuntimeError("heads of 8 at most")
        return attention.by_parts(q, *rest)

    def time(_path: Any, start: tuple[Tensor, ...], *_: Any) -> float:
        timed.append(start[0].shape[3])
        return 0.001

    monkeypatch.setattr(attention_cuda, "by_varlen", narrow)
    monkeypatch.setattr(attention_cuda, "_timed", time)
    wide = SimpleNamespace(num_attention_heads=4, num_key_value_heads=1, head_dim=16)
    name, why = fastest(SimpleNamespace(per_layer_config=[wide, SIZES]))
    assert name == attention_cuda.FLEX and timed == [16]
    assert "varlen doesn't run here (heads of 8 at most)" in why


def test_flex_attention_is_asked_for_its_kernel_by_the_option_that_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attention_cuda._for_passes() == {"BACKEND": "TRITON"}
    monkeypatch.setattr(flex_attention, "FlexKernelOptions", SimpleNamespace(__annotations__={}))
    attention_cuda._for_passes.cache_clear()
    assert attention_cuda._for_passes() == {"FORCE_USE_FLEX_ATTENTION": True}
    attention_cuda._for_passes.cache_clear()


def test_rows_beyond_a_window_take_flash_attention_with_that_window_and_not_plain_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    attention_cuda._grouped()  # what torch's own takes

    def documented(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, *_: Any, **how: Any) -> Tensor:
        """T x H x D; a query sees ``window_size`` keys before and behind its own, where these aren't -1."""
        asked.append(how["window_size"])
        k, v = (tensor.repeat_interleave(2, 1) for tensor in (k, v))
        places = torch.arange(len(q))
        row = torch.bucketize(places, ends[1:-1], right=True)
        back = places[:, None] - places
        left, right = how["window_size"]
        seen = (row[:, None] == row) & (back >= -right) & ((back <= left) | (left < 0))
        scores = torch.einsum("qhd,khd->hqk", q, k) * how["scale"]
        return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)

    monkeypatch.setattr(varlen, "varlen_attn", documented)
    q, k, v = (torch.randn(1, heads, 62, 8) for heads in (4, 2, 2))
    for manner in (PLAIN, Manner(window=20)):
        found, expected = (
            path(q, k, v, Segments((12, 50)), 0.3, manner) for path in (attention_cuda.by_varlen, attention.by_parts)
        )
        torch.testing.assert_close(found, expected)
    assert asked == [(-1, 0), (19, 0)]


def test_a_path_is_chosen_by_the_longest_row_of_the_run_and_not_by_the_first_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manners: list[Manner] = []

    def caught(_config: Any, segments: Segments, _dtype: Any, manner: Manner, **_: Any) -> tuple[str, str]:
        assert segments.longest == 12
        manners.append(manner)
        return PARTS, ""

    monkeypatch.setattr(attention_cuda, "fastest", caught)
    settings = resolve(TrainConfig(base="", data=""), FACTS)
    layout._attention(near(), ROWS, [StepRows(0, ((0, 1),)), StepRows(0, ((2,),))], settings, shared=False)
    assert manners == [Manner(window=20)]


def test_a_path_that_would_leave_the_models_manner_to_plain_torch_is_not_timed_on_the_runs_rows() -> None:
    assert fastest(manner=Manner(cap=5.0)) == (
        attention_cuda.FLEX,
        "attention by flex: measured a layer: flex 1.00 ms",
    )


@pytest.mark.parametrize("path", [attention_cuda.FLEX, attention_cuda.VARLEN])
def test_on_a_gpu_layers_of_which_plain_torch_does_the_attention_are_counted_too(path: str) -> None:
    register({attention_cuda.FLEX: attention_cuda.by_flex, attention_cuda.VARLEN: attention_cuda.by_varlen})
    settings = resolve(TrainConfig(base="", data=""), FACTS)
    for dropout, plainly in ((0.0, 0), (0.1, 2)):
        model = near(attention_dropout=dropout)
        model.set_attn_implementation(path)
        assert layout._by_plain(model, ROWS, settings) == (plainly, 2)
        assert model.config._attn_implementation == path
