"""Whether norms and SwiGLU are computed in C: where that compiles, and agrees with plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from honed.train.kernels import compiler, elementwise, native
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.swiglu import swiglu, swiglu_down

_ROWS, _WIDTH = 70, 100
"""More rows than a thread sums at a time, and a width that no vector divides."""

_APART = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""How far from plain torch in fp32, relative to the largest number."""

_Computed = Callable[..., Tensor]


def choose(dtype: torch.dtype, device: str) -> tuple[bool, str]:
    """Return whether a model of this type is computed so on a device, and why not where that isn't plain."""
    if device != "cpu" or dtype not in _APART:
        return False, ""
    try:
        elementwise.library()
    except compiler.UnavailableError as error:  # that there is no compiler is said of attention
        return False, "" if native.why_not() else f"norms and SwiGLU by torch: {error}"
    if apart := [name for name, inputs, function in _cases(dtype) if not _agrees(function, inputs, _APART[dtype])]:
        names = ", ".join(apart)
        return False, f"norms and SwiGLU by torch: ours in C don't agree with it ({names})"
    return True, ""


def _cases(dtype: torch.dtype) -> list[tuple[str, list[Tensor], _Computed]]:
    """What is compared, each with its inputs."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    gate, up, down = drawn(1, _ROWS, _WIDTH), drawn(1, _ROWS, _WIDTH), drawn(24, _WIDTH)

    def normed(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
        return rms_norm(x, weight, 1e-5, compiled=compiled)

    return [
        ("RMSNorm", [drawn(1, _ROWS, _WIDTH), drawn(_WIDTH)], normed),
        ("SwiGLU", [gate, up], swiglu),
        ("SwiGLU and its matrix", [gate, up, down], swiglu_down),
    ]


def _agrees(function: _Computed, inputs: Sequence[Tensor], within: float) -> bool:
    """Tell whether C gives what torch gives in fp32, and its gradients; a number that is none is too far."""
    found = _with_gradients(function, inputs, compiled=True)
    expected = _with_gradients(function, [one.float() for one in inputs], compiled=False)
    return all(
        float((one.float() - right).abs().max()) <= within * float(right.abs().max())
        for one, right in zip(found, expected, strict=True)
    )


def _with_gradients(function: _Computed, inputs: Sequence[Tensor], *, compiled: bool) -> list[Tensor]:
    leaves = [one.detach().clone().requires_grad_() for one in inputs]
    with torch.enable_grad():
        out = function(*leaves, compiled=compiled)
        upstream = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16().to(out.dtype)  # the same in any type
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream)]
