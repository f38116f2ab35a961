"""Whether norms, SwiGLU and the like are computed by kernels of ours: where they compile, and agree with torch."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.errors import first_line
from honed.models import heads
from honed.train import loss_sweeps, token_loss
from honed.train.kernels import compiler, in_c, native
from honed.train.kernels.linear import linears
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down

_ROWS, _WIDTH = 70, 100
"""On a CPU: more rows than a thread sums at a time, and a width that no vector divides."""

_MANY = 4096
"""On a GPU: rows as a pass has; how sums over them are divided is decided by the first that are seen."""

_INNER = 32
"""Of the matrices that losses are computed with."""

_APART = {
    ("cpu", torch.float32): 1e-5,
    ("cuda", torch.float32): 1e-4,
    ("cpu", torch.bfloat16): 2e-2,
    ("cuda", torch.bfloat16): 2e-2,
}
"""How far from plain torch in fp32, relative to the largest number. A GPU adds up long sums in another order."""

_WORDS = 120
"""Letters of an error that are said."""

_FAILS = (RuntimeError, ImportError, OSError, subprocess.SubprocessError, AssertionError, TypeError, ValueError)
"""What torch's compiler raises where it can't compile: no Triton, no C compiler, a card that it doesn't know."""

_Computed = Callable[..., Tensor]


@dataclass(frozen=True)
class Sizes:
    """Of a model: its width, the inputs of its MLP, its vocabulary, its heads and their width."""

    width: int
    inner: int
    vocabulary: int
    heads: int
    head: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> Sizes:
        """Read them from the settings; what isn't said there is made up: it is only compared with."""
        text = model.config.get_text_config()
        layers = heads.layers(text)

        def whole(name: str, other: int) -> int:
            """The largest of the layers; some models have one for each layer, in a list."""
            values = [getattr(layer, name, None) for layer in layers]
            return max((value for value in values if isinstance(value, int)), default=other)

        width, queries = whole("hidden_size", _WIDTH), whole("num_attention_heads", 1)
        head = whole("head_dim", max(2, width // queries // 2 * 2))
        return cls(width, whole("intermediate_size", 4 * width), text.vocab_size, queries, head)


ODD = Sizes(_WIDTH, _WIDTH, _WIDTH, 1, 2)


def choose(dtype: torch.dtype, device: str, sizes: Sizes = ODD) -> tuple[bool, str]:
    """Return whether a model of this type is computed so on a device, and why not where that isn't plain.

    On a CPU norms and SwiGLU, in C; on a GPU these, rotary positions and losses, compiled by torch. There that takes
    seconds for each kernel, the first time: those for a model of these ``sizes``, or nearly all of them, are compiled
    already then.
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
        cases = _cases(dtype) if device == "cpu" else _cases_of_gpu(dtype, device, sizes)
        apart = [name for name, inputs, function in cases if not _agrees(function, inputs, within)]
    except torch.OutOfMemoryError:
        raise
    except _FAILS as error:
        if device == "cpu":
            raise
        return False, f"{what} by torch: its compiler fails here ({first_line(error)[:_WORDS]})"
    if apart:
        return False, f"{what} by torch: {whose} don't agree with it ({', '.join(apart)})"
    return True, ""


_SAID = {
    "cpu": ("norms and SwiGLU", "ours in C"),
    "cuda": ("norms, SwiGLU, rotary positions and losses", "its compiled ones"),
}
"""What is computed, and by whose kernels."""


_Case = tuple[str, list[Tensor], _Computed]
"""What is compared, and its inputs."""


def _cases(dtype: torch.dtype) -> list[_Case]:
    drawn = _drawn(dtype, "cpu")
    gate, up, down = drawn(1, _ROWS, _WIDTH), drawn(1, _ROWS, _WIDTH), drawn(24, _WIDTH)
    return [
        ("RMSNorm", [drawn(1, _ROWS, _WIDTH), drawn(_WIDTH)], _normed),
        ("SwiGLU", [gate, up], swiglu),
        ("SwiGLU and its matrix", [gate, up, down], swiglu_down),
    ]


def _cases_of_gpu(dtype: torch.dtype, device: str, sizes: Sizes) -> list[_Case]:
    drawn = _drawn(dtype, device)
    generator = torch.Generator().manual_seed(1)
    normal, frozen = drawn(1, _MANY, sizes.width), drawn(sizes.width)
    gate, up, down = drawn(1, _MANY, sizes.inner), drawn(1, _MANY, sizes.inner), drawn(24, sizes.inner)
    angles = drawn(1, _MANY, sizes.head // 2).repeat(1, 1, 2)
    # So many places that the head's gradient takes a second sweep.
    places = 1 + math.ceil(1.5 * loss_sweeps.CHUNK_BYTES / (dtype.itemsize * sizes.vocabulary))
    targets = torch.randint(sizes.vocabulary, (places,), generator=generator).to(device)
    weights = torch.rand(places, generator=generator).to(device)

    def normed_by_frozen(x: Tensor, *, compiled: bool) -> Tensor:
        return _normed(x, frozen.to(x.dtype), compiled=compiled)

    def multiplied(x: Tensor, weight: Tensor, matrix: Tensor, *, compiled: bool) -> Tensor:
        layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, device="meta")
        del layer.weight
        layer.weight = matrix  # a leaf of its own, whose gradient is asked for
        (out,) = linears(_normed(x, weight, compiled=compiled), (layer,))
        return out

    def rotated(x: Tensor, *, compiled: bool) -> Tensor:
        return rotate(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), compiled=compiled)

    def lost(hidden: Tensor, head: Tensor, *, compiled: bool) -> Tensor:
        return token_loss.weighted_nll(hidden, head, targets, weights, compiled=compiled)

    return [
        ("RMSNorm", [normal, drawn(sizes.width)], _normed),
        ("RMSNorm, frozen", [normal], normed_by_frozen),
        ("RMSNorm and a matrix", [normal, drawn(sizes.width), drawn(24, sizes.width)], multiplied),
        ("SwiGLU", [gate, up], swiglu),
        ("SwiGLU and its matrix", [gate, up, down], swiglu_down),
        ("rotary positions", [drawn(1, _MANY, sizes.heads, sizes.head).transpose(1, 2)], rotated),
        # Sums of about 2, as logits are: of large ones no 16 bits give the losses.
        ("losses", [0.3 * drawn(places, _INNER), drawn(sizes.vocabulary, _INNER)], lost),
    ]


def _drawn(dtype: torch.dtype, device: str) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator).to(device, dtype)


def _normed(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
    return rms_norm(x, weight, 1e-5, compiled=compiled)


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
