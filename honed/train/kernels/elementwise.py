"""RMSNorm and SwiGLU as one kernel each: in C on a CPU (``in_c``), compiled by torch on a GPU (``in_triton``)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from honed.train.kernels import in_c, in_triton

_KINDS = (Tensor, nn.Parameter)
"""Tensors whose memory is where ``data_ptr`` says: not shares of FSDP's, nor what torch traces with."""


class Kernels(Protocol):
    """What there is of each."""

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Return RMSNorm of x (... x D) by weight (D,), and 1 / root mean square of each row (... x 1, fp32)."""
        ...

    def norm_again(self, x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
        """Return what ``norm`` returned, from what else it returned: in C the same bits."""
        ...

    def norm_back(
        self, x: Tensor, weight: Tensor, inverse: Tensor, upstream: Tensor, *, learns: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of x and, if it ``learns``, of the weight; ``upstream`` is that of the output."""
        ...

    def swiglu(self, gate: Tensor, up: Tensor, *, brief: bool = False) -> Tensor:
        """Return silu(gate) x up; all of one shape. ``brief``: it won't be kept."""
        ...

    def swiglu_back(
        self, gate: Tensor, up: Tensor, upstream: Tensor, *, product: bool = False, spare: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the gradients of gate and up, and the product itself if it is asked for; that won't be kept.

        ``spare``: nobody needs ``upstream`` any more, so that a gradient may take its place.
        """
        ...


def by(x: Tensor) -> Kernels:
    """Return those for the device of a tensor."""
    return in_c if x.device.type == "cpu" else in_triton


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels compute inputs like these: all fp32 or all bf16, on one device, contiguous, not empty."""
    first = tensors[0]
    return first.dtype in (torch.float32, torch.bfloat16) and all(
        type(one) in _KINDS
        and (one.dtype, one.device) == (first.dtype, first.device)
        and one.numel() > 0
        and one.is_contiguous()
        for one in tensors
    )
