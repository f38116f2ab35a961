"""AdamW on fp32 master weights, and the learning-rate schedule.

Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization". A bf16 weight has 8 bits of mantissa: an update
under 1/256 of it would be rounded away, so bf16 weights get fp32 masters that take the update and are copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Optimizer:
    """AdamW over named parameters, with fp32 masters where the parameters are not fp32 themselves."""

    def __init__(self, named: Sequence[tuple[str, nn.Parameter]], *, weight_decay: float) -> None:
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.masters = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in self.parameters]
        self._copied = [(p, m) for p, m in zip(self.parameters, self.masters, strict=True) if p is not m]
        decayed = [master for master in self.masters if master.ndim >= 2]
        plain = [master for master in self.masters if master.ndim < 2]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=(0.9, 0.999), fused=True)

    def accumulate(self) -> None:
        """Move the gradients of the last backward pass to the masters, in fp32; call it after every pass."""
        for parameter, master in self._copied:
            if parameter.grad is None:  # this pass doesn't use it: an expert that no token chose, say
                continue
            gradient = parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def step(self, learning_rate: float, clip_norm: float) -> float:
        """Clip, update and clear the gradients; return their norm before. Nothing is updated unless it is finite."""
        norm = float(nn.utils.clip_grad_norm_(self.masters, clip_norm))
        if not math.isfinite(norm):
            return norm
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad()
        for parameter, master in self._copied:
            parameter.data.copy_(master)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return everything that a resume needs, as flat named tensors."""
        tensors = {}
        for name, master in zip(self.names, self.masters, strict=True):
            tensors[f"master.{name}"] = master.detach()
            for key, value in self._adamw.state[master].items():
                tensors[f"{key}.{name}"] = value
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave, weights included."""
        for name, parameter, master in zip(self.names, self.parameters, self.masters, strict=True):
            master.copy_(tensors[f"master.{name}"])
            parameter.data.copy_(master)
            if f"step.{name}" not in tensors:  # it never had a gradient
                continue
            self._adamw.state[master] = {
                key: tensors[f"{key}.{name}"].to(master.device if key != "step" else "cpu").clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def learning_rate(step: float, total: float, *, peak: float, warmup: float, schedule: str) -> float:
    """Return the rate of step ``step`` (from 0) of ``total``: a linear rise to ``peak``, then the schedule's fall to 0.

    Every step has a rate above 0, the first and the last included. Both may be fractions, where steps are not all of
    one length and are counted in lengths of this one (``steps.Planned``).
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return peak * min(1.0, (step + 1) / rising)
    done = (step - rising + 0.5) / max(1, total - rising)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak * (1 - done) if schedule == "linear" else peak
