"""The formulas that torch compiles for a GPU: as exact as the plain ones. What it makes of them: ``test_cuda``."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Gemma4TextConfig

from honed.train import loss_sweeps, token_loss
from honed.train.kernels import choice, elementwise, in_triton
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down
from tests.numerics.rows import close, gradients, packed_model, uneven

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Compute as on a GPU, without its compiler; the names of the formulas that were."""
    names: set[str] = set()

    def uncompiled(formula: Callable[..., Any]) -> Callable[..., Any]:
        names.add(formula.__name__)
        return formula

    monkeypatch.setattr(elementwise, "by", lambda _: in_triton)
    monkeypatch.setattr(in_triton, "_compiled", uncompiled)
    monkeypatch.setattr(token_loss, "_sweeps_twice", lambda _: True)
    return names


def drawn(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def both(function: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Output and gradients by the formulas, and in fp32 by torch."""
    found = []
    for compiled, start in ((True, inputs), (False, [one.float() for one in inputs])):
        leaves = [one.clone().requires_grad_() for one in start]
        out = function(*leaves, compiled=compiled)
        upstream = torch.linspace(-2, 3, out.numel()).view(out.shape).bfloat16().to(out.dtype)
        found.append([out.detach(), *torch.autograd.grad(out, leaves, upstream)])
    return found[0], found[1]


@TYPES
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_each_formula_and_its_gradients_are_those_of_torch(rows: int, dtype: torch.dtype, called: set[str]) -> None:
    wide = drawn(1, rows, 24, dtype=dtype)
    angles = drawn(1, rows, 4, dtype=dtype).repeat(1, 1, 2)

    def turned(x: Tensor, *, compiled: bool) -> Tensor:
        return rotate(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), compiled=compiled)

    def normed(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
        return rms_norm(x, weight, 1e-5, compiled=compiled)

    def shaken(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
        return normed(x, weight, compiled=compiled).mul_(2)  # in its place, as some models with experts do it

    cases: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (normed, [wide, drawn(24, dtype=dtype)]),
        (shaken, [wide, drawn(24, dtype=dtype)]),
        (swiglu, [wide, drawn(1, rows, 24, dtype=dtype).flip(2)]),
        (swiglu_down, [wide, drawn(1, rows, 24, dtype=dtype).flip(2), drawn(5, 24, dtype=dtype)]),
        (turned, [drawn(1, rows, 3, 8, dtype=dtype).transpose(1, 2)]),
    ]
    within = 1e-5 if dtype == torch.float32 else 2e-2
    for function, inputs in cases:
        ours, theirs = both(function, inputs)
        for one, right in zip(ours, theirs, strict=True):
            assert one.dtype == dtype
            assert float((one.float() - right).abs().max()) <= within * float(right.abs().max())
    norms, others = {"_norm", "_norm_back_of_both"}, {"_swiglu", "_swiglu_back", "_swiglu_back_and_product"}
    assert called == {*norms, *others, "_rotate", "_rotate_back"}


@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_with_them_has_the_same_gradients(recompute: bool, called: set[str]) -> None:
    plain, ours = packed_model(), packed_model()
    install(plain)
    assert install(ours, compiled=True).fused["rms_norm"] == 5
    if recompute:
        checkpoint_layers(ours.train())
    packs = [[0, 1, 2], [3, 4, 5]]
    close(gradients(ours, uneven(6), packs), gradients(plain, uneven(6), packs))
    assert {"_norm_again", "_swiglu_back_and_product", "_rotate_back"} <= called


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[torch.dtype], tuple[bool, str]]:
    """What a run on a card begins with, here."""
    cases = choice._cases_of_gpu
    monkeypatch.setattr(choice, "_cases_of_gpu", lambda dtype, _, sizes: cases(dtype, "cpu", sizes))
    monkeypatch.setattr(choice, "_MANY", 40)
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", 20_000)
    sizes = choice.Sizes.of(packed_model())
    return lambda dtype: choice.choose(dtype, "cuda", sizes)


def test_of_layers_that_differ_the_widest_heads_are_compared() -> None:
    kinds = ["sliding_attention", "full_attention"]
    config = Gemma4TextConfig(vocab_size=259, hidden_size=32, num_hidden_layers=2, layer_types=kinds, head_dim=8)
    model: Any = SimpleNamespace(config=config)
    assert choice.Sizes.of(model) == choice.Sizes(32, config.intermediate_size, 259, 8, 512)


@TYPES
def test_a_run_compares_every_formula_with_torch(
    dtype: torch.dtype, compared: Callable[[torch.dtype], tuple[bool, str]], called: set[str]
) -> None:
    assert compared(dtype) == (True, "")
    formulas = {name for name, one in vars(in_triton).items() if name[0] == "_" and hasattr(one, "__code__")}
    assert called == formulas - {"_compiled", "_rows", "_flat"}


def test_what_disagrees_is_named_and_a_compiler_that_fails_is_said(
    compared: Callable[[torch.dtype], tuple[bool, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    back = in_triton.norm_back
    with monkeypatch.context() as patch:
        patch.setattr(in_triton, "norm_back", lambda *args, **how: (1.1 * back(*args, **how)[0], back(*args, **how)[1]))
        can, why = compared(torch.float32)
        assert not can and why.endswith("don't agree with it (RMSNorm, RMSNorm, frozen, RMSNorm and a matrix)")

    def fails(_: object) -> None:
        raise RuntimeError("no Triton here\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(in_triton, "_compiled", fails)
        said = "norms, SwiGLU, rotary positions and losses by torch: its compiler fails here (no Triton here)"
        assert compared(torch.float32) == (False, said)

    def too_much(_: object) -> None:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(in_triton, "_compiled", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        compared(torch.float32)


def test_what_they_take() -> None:
    x = torch.ones(4, 6)
    assert elementwise.takes(x, torch.ones(3)) and elementwise.takes(x.bfloat16())
    for other in (x.double(), x.T, x[:0], x.bfloat16(), x.to("meta")):
        assert not elementwise.takes(x, other)
