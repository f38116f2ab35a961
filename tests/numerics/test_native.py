"""Attention in C: the same as plain torch to rounding, whatever the forest, and the same bits wherever a row lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Gemma4TextConfig, LlamaConfig

from honed.train import attention, attention_native
from honed.train.attention import Segments
from honed.train.attention_native import NATIVE
from honed.train.kernels import native
from tests.needs import missing


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    if native.why_not():
        missing("a C compiler with OpenMP", "gcc libc6-dev")


CONFIG = LlamaConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2)

FOREST = st.lists(st.tuples(st.integers(1, 140), st.integers(0, 5)), min_size=1, max_size=6)
"""Lengths of segments, and how far up the last one's line each hangs (0: on the last one)."""


def forest(drawn: list[tuple[int, int]]) -> Segments:
    parents: list[int] = []
    for index, (_, up) in enumerate(drawn):
        parent = index - 1
        for _ in range(up):
            parent = parents[parent] if parent >= 0 else -1
        parents.append(parent)
    return Segments(tuple(length for length, _ in drawn), tuple(parents))


def drawn(segments: Segments, heads: int, groups: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, values and a gradient; the first and last lie as a model gives them, tokens before heads."""
    tokens = sum(segments.lengths)
    made = [torch.randn(1, tokens, count, width) for count in (heads, groups, groups, heads)]
    return [one.transpose(1, 2).to(dtype) for one in made]


def computed(path: attention.Path, start: list[Tensor], segments: Segments) -> list[Tensor]:
    q, k, v = (one.detach().clone().requires_grad_() for one in start[:3])
    out = path(q, k, v, segments, 0.2)
    return [out.detach(), *torch.autograd.grad(out, (q, k, v), start[3])]


@given(shape=FOREST, heads=st.sampled_from([(4, 2, 16), (3, 1, 64), (2, 2, 128)]), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_outputs_and_gradients_over_any_forest_equal_plain_torch(
    shape: list[tuple[int, int]], heads: tuple[int, int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    segments = forest(shape)
    for dtype, apart in ((torch.float32, 2e-5), (torch.bfloat16, 5e-2)):
        start = drawn(segments, *heads, dtype)
        found = computed(attention_native.by_native, start, segments)
        expected = computed(attention.by_parts, [one.double() for one in start], segments)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == dtype
            assert float((one - other).abs().max()) <= apart * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_gets_the_same_bits_alone_and_among_others(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    pack = Segments((70, 131, 5), (-1, -1, -1))
    start = drawn(pack, 3, 1, 64, dtype)
    together = computed(attention_native.by_native, start, pack)
    alone = computed(attention_native.by_native, [one[:, :, 70:201] for one in start], Segments((131,)))
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one[:, :, 70:201], other)


def test_the_number_of_threads_changes_no_bit() -> None:
    torch.manual_seed(0)
    segments = Segments((200, 60, 90, 33), (-1, 0, 0, -1))
    start = drawn(segments, 4, 2, 64, torch.float32)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(computed(attention_native.by_native, start, segments))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_a_number_is_not_lost(which: int) -> None:
    segments = Segments((80, 30), (-1, 0))
    start = drawn(segments, 2, 1, 16, torch.float32)
    start[which][0, 0, 79, 3] = torch.nan
    assert computed(attention_native.by_native, start, segments)[0][0, 0, 79].isnan().any()


@pytest.mark.parametrize(("dtype", "width"), [(torch.float64, 16), (torch.float32, 24), (torch.float32, 272)])
def test_what_the_kernel_does_not_take_is_computed_by_torch(dtype: torch.dtype, width: int) -> None:
    segments = Segments((20, 5), (-1, 0))
    start = drawn(segments, 2, 1, width, dtype)
    found = computed(attention_native.by_native, start, segments)
    for one, other in zip(found, computed(attention.by_fused, start, segments), strict=True):
        assert torch.equal(one, other)


def test_a_model_of_a_common_kind_gets_the_kernel() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert attention_native.choose(CONFIG, dtype) == (attention_native.NATIVE, "")
    assert attention_native.choose(CONFIG, torch.float64) == (attention.FUSED, "")
    assert (
        attention_native.choose(LlamaConfig(hidden_size=48, num_attention_heads=4), torch.float32)[0] == attention.FUSED
    )


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache that holds no kernel yet."""
    monkeypatch.setenv("HONED_CACHE", str(tmp_path / "cache"))
    native.library.cache_clear()
    native.why_not.cache_clear()
    yield
    native.library.cache_clear()
    native.why_not.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_torch_does_the_work_and_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    name, why = attention_native.choose(CONFIG, torch.float32)
    assert name == attention.FUSED
    assert why.startswith("attention by torch's kernel: there is no C compiler (no-such-compiler); with gcc")


@pytest.mark.usefixtures("forgotten")
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "no OpenMP here" >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert native.why_not() == f"the C compiler ({compiler}) failed: no OpenMP here"
    assert not list((tmp_path / "cache" / f"kernels-{os.getuid()}").iterdir())


@pytest.mark.usefixtures("forgotten")
def test_a_kernel_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not native.why_not()
    compiled = list((tmp_path / "cache" / f"kernels-{os.getuid()}").iterdir())
    assert [path.suffix for path in compiled] == [".so"]
    native.library.cache_clear()
    ran: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **more: ran.append(command) or run(command, **more))
    native.library()
    assert [command[-1] for command in ran] == ["--version"]


def test_a_kernel_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = native.forward
    monkeypatch.setattr(native, "forward", lambda *args: (forward(*args)[0] * 1.01, forward(*args)[1]))
    name, why = attention_native.choose(CONFIG, torch.float32)
    assert name == attention.FUSED
    assert "doesn't agree with plain torch" in why


@pytest.mark.parametrize(("wrong", "path"), [(16, attention.FUSED), (32, attention.FUSED), (512, NATIVE)])
def test_a_kernel_is_compared_with_the_heads_of_every_layer_that_it_takes(
    wrong: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no heads of 512."""
    forward = native.forward

    def disagreeing(*args: Any) -> tuple[Tensor, Tensor]:
        out, sums = forward(*args)
        return out * (1.01 if out.shape[3] == wrong else 1.0), sums

    monkeypatch.setattr(native, "forward", disagreeing)
    monkeypatch.setattr(attention, "register", lambda _: None)
    kinds = ["sliding_attention", "full_attention"]
    config = Gemma4TextConfig(
        num_hidden_layers=2, layer_types=kinds, head_dim=16, global_head_dim=512 if wrong == 512 else 32
    )
    assert attention_native.choose(config, torch.float32)[0] == path


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("fault", ["cut short", "open to all", "another's", "read-only"])
def test_a_cache_that_cannot_be_trusted_or_written_is_not_loaded_from(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not native.why_not()
    (made,) = (tmp_path / "cache" / f"kernels-{os.getuid()}").iterdir()
    there = tmp_path / "other" / f"kernels-{os.getuid()}" / made.name  # elsewhere: this process has the first one open
    there.parent.mkdir(parents=True, mode=0o700)
    shutil.copy(made, there)
    monkeypatch.setenv("HONED_CACHE", str(tmp_path / "other"))
    if fault == "cut short":
        there.write_bytes(b"")
    elif fault == "open to all":
        there.chmod(0o777)
    elif fault == "another's":
        here = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: here + 1)
    else:
        monkeypatch.setenv("HONED_CACHE", "/proc/no-place-for-a-cache")
    for found in (native.library, native.why_not):
        found.cache_clear()
    ran: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **more: ran.append(command) or run(command, **more))
    assert not native.why_not()
    assert [command[-1] for command in ran] == ["--version", "-lm"]  # compiled again
    assert there.stat().st_size and (there.stat().st_mode & 0o777 == 0o700 or fault == "another's")
