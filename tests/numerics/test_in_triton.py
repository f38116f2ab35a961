"""The formulas that torch compiles for a GPU: as exact as the plain ones. What it makes of them: ``test_cuda``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from honed.train.kernels import elementwise, in_triton
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down
from tests.numerics.rows import close, gradients, packed_model, uneven

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as on a GPU, without its compiler."""
    monkeypatch.setattr(elementwise, "by", lambda _: in_triton)
    monkeypatch.setattr(in_triton, "_compiled", lambda formula: formula)


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
def test_each_formula_and_its_gradients_are_those_of_torch(rows: int, dtype: torch.dtype) -> None:
    wide = drawn(1, rows, 24, dtype=dtype)
    angles = drawn(1, rows, 4, dtype=dtype).repeat(1, 1, 2)

    def turned(x: Tensor, *, compiled: bool) -> Tensor:
        return rotate(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), compiled=compiled)

    def normed(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
        return rms_norm(x, weight, 1e-5, compiled=compiled)

    cases: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (normed, [wide, drawn(24, dtype=dtype)]),
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


@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_with_them_has_the_same_gradients(recompute: bool) -> None:
    plain, ours = packed_model(), packed_model()
    install(plain)
    assert install(ours, compiled=True).fused["rms_norm"] == 5
    if recompute:
        checkpoint_layers(ours.train())
    packs = [[0, 1, 2], [3, 4, 5]]
    close(gradients(ours, uneven(6), packs), gradients(plain, uneven(6), packs))


def test_what_they_take() -> None:
    x = torch.ones(4, 6)
    assert in_triton.takes(x, torch.ones(3)) and in_triton.takes(x.bfloat16())
    for other in (x.double(), x.T, x[:0], x.bfloat16()):
        assert not in_triton.takes(x, other)
