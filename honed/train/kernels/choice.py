"""Whether norms, SwiGLU and the like are computed by kernels of ours: where they compile, and agree with torch."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from honed.train import loss_sweeps, token_loss
from honed.train.kernels import compiler, in_c, native
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down

_ROWS, _WIDTH = 70, 100
"""More rows than a thread sums at a time, and a width that no vector divides."""

_HEADS, _HALF = 3, 32
"""Of what is rotated."""

_APART = {("cpu", torch.float32): 1e-5, ("cuda", torch.float32): 1e-4, ("cpu", torch.bfloat16): 2e-2}
_APART |= {("cuda", torch.bfloat16): 2e-2}
"""How far from plain torch in fp32, relative to the largest number. A GPU adds up long sums in another order."""

_WORDS = 120
"""Letters of an error that are said."""

_FAILS = (RuntimeError, ImportError, OSError, subprocess.SubprocessError, AssertionError, TypeError, ValueError)
"""What torch's compiler raises where it can't compile: no Triton, no C compiler, a card that it doesn't know."""

_Computed = Callable[..., Tensor]


def choose(dtype: torch.dtype, device: str, width: int = _WIDTH, vocabulary: int = _WIDTH) -> tuple[bool, str]:
    """Return whether a model of this type is computed so on a device, and why not where that isn't plain.

    On a CPU norms and SwiGLU, in C; on a GPU these, rotary positions and losses, compiled by torch. There it takes some
    seconds for each kernel, the first time: ``width`` and ``vocabulary`` are those of the run's model, for which they
    are then compiled already.
    """
    within = _APART.get((device, dtype))
    if within is None:
        return False, ""
    if device == "cpu":
        try:
            in_c.library()
        except compiler.UnavailableError as error:  # that there is no compiler is said of attention
            return False, "" if native.why_not() else f"norms and SwiGLU by torch: {error}"
    what, whose = _SAID[device]
    try:
        cases = _cases(dtype, device, width, vocabulary)
        apart = [name for name, inputs, function in cases if not _agrees(function, inputs, within)]
    except torch.OutOfMemoryError:
        raise
    except _FAILS as error:
        if device == "cpu":
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return False, f"{what} by torch: its compiler fails here ({first[:_WORDS]})"
    if apart:
        return False, f"{what} by torch: {whose} don't agree with it ({', '.join(apart)})"
    return True, ""


_SAID = {
    "cpu": ("norms and SwiGLU", "ours in C"),
    "cuda": ("norms, SwiGLU, rotary positions and losses", "its compiled ones"),
}
"""What is computed, and by whose kernels."""


def _cases(dtype: torch.dtype, device: str, width: int, vocabulary: int) -> list[tuple[str, list[Tensor], _Computed]]:
    """What is compared, each with its inputs."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    gate, up, down = drawn(1, _ROWS, width), drawn(1, _ROWS, width), drawn(24, width)

    def normed(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
        return rms_norm(x, weight, 1e-5, compiled=compiled)

    cases: list[tuple[str, list[Tensor], _Computed]] = [
        ("RMSNorm", [drawn(1, _ROWS, width), drawn(width)], normed),
        ("SwiGLU", [gate, up], swiglu),
        ("SwiGLU and its matrix", [gate, up, down], swiglu_down),
    ]
    if device == "cpu":
        return cases
    angles = drawn(1, _ROWS, _HALF).repeat(1, 1, 2)
    # So many places that the head's gradient takes a second sweep.
    places = 1 + math.ceil(1.5 * loss_sweeps.CHUNK_BYTES / (dtype.itemsize * vocabulary))
    targets = torch.randint(vocabulary, (places,), generator=generator).to(device)
    weights = torch.rand(places, generator=generator).to(device)

    def rotated(x: Tensor, *, compiled: bool) -> Tensor:
        return rotate(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), compiled=compiled)

    def lost(hidden: Tensor, head: Tensor, *, compiled: bool) -> Tensor:
        return token_loss.weighted_nll(hidden, head, targets, weights, compiled=compiled)

    return [
        *cases,
        ("rotary positions", [drawn(1, _ROWS, _HEADS, 2 * _HALF).transpose(1, 2)], rotated),
        ("losses", [0.3 * drawn(places, _HALF), drawn(vocabulary, _HALF)], lost),  # sums of about 2, as logits are
    ]


def _agrees(function: _Computed, inputs: Sequence[Tensor], within: float) -> bool:
    """Tell whether ours gives what torch gives in fp32, and its gradients; a number that is none is too far."""
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
        upstream = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape)
        upstream = upstream.bfloat16().to(out.dtype)  # the same in any type
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream)]
