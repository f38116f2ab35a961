"""AdamW on fp32 master weights, and the learning-rate schedule.

Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization". A bf16 weight has 8 bits of mantissa: an update
under 1/256 of it would be rounded away, so bf16 weights get fp32 masters that take the update and are copied back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from honed.train import heap
from honed.train.average import Average
from honed.train.kernels import room

_WIDE = "honed_wide"


class Optimizer:
    """AdamW over named parameters, with fp32 masters where the parameters are not fp32 themselves.

    Of a parameter that is sharded over ranks (``placement.Sharded``) only this rank's rows are held and updated;
    ``rows`` says which, by name: all of them (``slice(None)``) where it isn't. With ``average`` the mean of the weights
    is kept too: what is measured (``averaged``) and left in the end (``settle``).
    """

    def __init__(
        self, named: Sequence[tuple[str, nn.Parameter]], *, weight_decay: float, average: bool = False
    ) -> None:
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.rows = {name: _rows(parameter) for name, parameter in named}
        self.masters = [_master(parameter) for parameter in self.parameters]
        both = list(zip(self.parameters, self.masters, strict=True))
        self._moved = [(p, m) for p, m in both if p is not m]
        self._copied = [(p, m) for p, m in self._moved if not isinstance(p, DTensor)]
        room.give(both)
        decayed = [master for master in self.masters if master.ndim >= 2]
        plain = [master for master in self.masters if master.ndim < 2]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=(0.9, 0.999), fused=True)
        for master in self.masters:  # now, so that they don't lie among a step's activations
            self._adamw.state[master] = {
                "step": torch.zeros((), device=master.device),
                "exp_avg": heap.lasting(master).zero_(),
                "exp_avg_sq": heap.lasting(master).zero_(),
            }
        self._average = Average(self.masters) if average else None

    def accumulate(self) -> None:
        """Move the gradients of the last backward pass to the masters, in fp32; call it after every pass."""
        for parameter, master in self._moved:
            if parameter.grad is None:  # this pass doesn't use it: an expert that no token chose, say
                continue
            if isinstance(parameter, DTensor):  # stays: FSDP adds the next pass's to it, and makes no second one
                master.grad = local(parameter.grad)
                continue
            gradient = parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def step(self, learning_rate: float, clip_norm: float, norm_of_all: Callable[[float], float] = float) -> float:
        """Clip, update and clear the gradients; return their norm before. Nothing is updated unless it is finite.

        ``norm_of_all(mine)`` makes the norm of this rank's gradients that of all (``Placement.norm``).
        """
        for parameter, _ in self._moved:
            parameter.grad = None  # of shares: their masters have it
        gradients = [master.grad for master in self.masters if master.grad is not None]
        norm = norm_of_all(float(nn.utils.get_total_norm(gradients)))
        if not math.isfinite(norm):
            return norm
        total = torch.tensor(norm)
        if clip_norm / (total + 1e-6) < 1:  # as it is reckoned there: by 1 it would multiply, too
            nn.utils.clip_grads_with_norm_(self.masters, clip_norm, total)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad()
        if self._average:
            self._average.take_in()
        self._hand_down()
        return norm

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model have the mean of its weights meanwhile, if it is kept: a held-out loss is that of the mean."""
        self.settle()
        try:
            yield
        finally:
            self.settle()

    def settle(self) -> None:
        """Leave the mean of the weights in the model, if it is kept; a second call takes the weights back."""
        if self._average:
            self._average.swap()
            self._hand_down()

    def _hand_down(self) -> None:
        """Let 16-bit weights be what their masters are."""
        if self._copied:
            parameters, masters = zip(*self._copied, strict=True)
            torch._foreach_copy_([parameter.data for parameter in parameters], [master.detach() for master in masters])

    @property
    def sharded(self) -> bool:
        """Whether this rank holds a share of the state only."""
        return any(rows != slice(None) for rows in self.rows.values())

    def weights(self) -> dict[str, Tensor]:
        """Return the master weights as flat named tensors."""
        return {f"master.{name}": master.detach() for name, master in zip(self.names, self.masters, strict=True)}

    def state(self) -> dict[str, Tensor]:
        """Return everything that a resume needs, as flat named tensors."""
        tensors = self.weights()
        for name, master in zip(self.names, self.masters, strict=True):
            for key, value in self._adamw.state[master].items():
                tensors[f"{key}.{name}"] = value
        if self._average:
            tensors |= {f"mean.{name}": mean for name, mean in zip(self.names, self._average.means, strict=True)}
        return tensors

    @torch.no_grad()
    def load_weights(self, saved: Callable[[str], Tensor]) -> None:
        """Take back what ``weights`` gave, asking for each by its name; the moments stay."""
        for name, master in zip(self.names, self.masters, strict=True):
            master.copy_(saved(f"master.{name}"))
        self._hand_down()

    @torch.no_grad()
    def load_state(self, saved: Callable[[str], Tensor], steps: int) -> None:
        """Take back what ``state`` gave after so many steps, weights included."""
        self.load_weights(saved)
        for name, master in zip(self.names, self.masters, strict=True):
            for key, value in self._adamw.state[master].items():
                value.copy_(saved(f"{key}.{name}"))
        if self._average:
            self._average.steps = steps
            for name, mean in zip(self.names, self._average.means, strict=True):
                mean.copy_(saved(f"mean.{name}"))


def _master(parameter: nn.Parameter) -> Tensor:
    """The fp32 weight that takes the updates: the parameter itself, this rank's share of it, or a wider copy."""
    if isinstance(parameter, DTensor):
        share = local(parameter.detach())  # the same memory
        assert share.dtype == torch.float32, "placement.py shards in fp32"
        return share.requires_grad_()
    if parameter.dtype == torch.float32:
        return parameter
    # A copy: what was read from a file lies in its pages, which each would be copied by a fault at the first update.
    return heap.lasting(parameter).copy_(take_wide(parameter)).requires_grad_()


def keep_wide(model: nn.Module, wide: nn.Module) -> None:
    """Let the masters of ``model``'s 16-bit weights begin at those of ``wide``, the same model in fp32.

    Rounded to 16 bits first, a model that is stored in more would begin its training from another one.
    """
    for (name, parameter), (same, other) in zip(model.named_parameters(), wide.named_parameters(), strict=True):
        assert name == same and other.dtype == torch.float32
        if parameter.requires_grad and parameter.dtype != torch.float32:
            setattr(parameter, _WIDE, other.detach())


def take_wide(parameter: nn.Parameter) -> Tensor:
    """Return the fp32 weight that ``keep_wide`` kept for a parameter, which it then keeps no more; or its own."""
    wide: Tensor = vars(parameter).pop(_WIDE, parameter.detach())
    return wide


def kept_wide(model: nn.Module) -> list[Tensor]:
    """Return the fp32 weights that ``keep_wide`` kept for the masters."""
    return [wide for parameter in model.parameters() if (wide := getattr(parameter, _WIDE, None)) is not None]


def local(tensor: Tensor) -> Tensor:
    """This rank's share of a sharded tensor; any other as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _rows(parameter: nn.Parameter) -> slice:
    """Which rows of a parameter this rank holds. FSDP2 cuts the first dimension as ``torch.chunk`` does."""
    if not isinstance(parameter, DTensor):
        return slice(None)
    mesh, count = parameter.device_mesh, parameter.shape[0]
    share = -(-count // mesh.size())
    start = min(count, share * mesh.get_local_rank())
    return slice(start, min(count, start + share))


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
