"""Which attention path a run on CUDA takes, found without a card: what fails is left out and said, but for memory."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention

from honed.models.heads import Heads
from honed.train import attention, attention_cuda
from honed.train.attention import PARTS, Segments

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


def fastest(config: Any = SIZES) -> tuple[str, str]:
    return attention_cuda.fastest(config, Segments((40, 9)), torch.bfloat16, shared=False)


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
