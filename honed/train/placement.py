"""How a model lies on the ranks: whole on each of them, or in shares. Gradients are summed over ranks, never averaged.

A step's loss is divided by the weight of the whole step before any gradient is made, so that the sum over ranks is the
gradient of one process, however unequally rows and passes are dealt (transformers #34191, #34242).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from honed.train import deal
from honed.train.deal import Turn
from honed.train.optim import take_wide
from honed.train.ranks import ALONE, Ranks

BUCKET_BYTES = 64 * 1024 * 1024
"""Small gradients travel together, up to this size."""

B = TypeVar("B")
R = TypeVar("R")


class Placement(Protocol):
    """A model on its ranks. Every rank calls the same methods in the same order."""

    model: PreTrainedModel
    ranks: Ranks
    name: str

    def run(self, function: Callable[[PreTrainedModel, B], R], batch: B) -> R:
        """Return ``function(model, batch)``, computed while the model's weights are at hand."""
        ...

    def turns(self, costs: Sequence[float]) -> list[Turn]:
        """Return which of the passes with these costs (in tokens) this rank computes, in order."""
        ...

    def add_up(self, parameters: Sequence[Tensor]) -> None:
        """Let every gradient be the sum over all ranks, once this rank's passes of the step are done."""
        ...

    def norm(self, mine: float) -> float:
        """Return the norm of all gradients, of which this rank holds those with norm ``mine``."""
        ...

    def gather(self) -> None:
        """Make rank 0's ``model`` whole and plain again, to be saved; nothing can be trained after that."""
        ...


class Replicated:
    """Every rank holds the whole model; gradients are added in buckets after the last pass of a step.

    Not torch's DistributedDataParallel, which averages, and asks every rank for equally many passes.
    """

    def __init__(self, model: PreTrainedModel, ranks: Ranks = ALONE) -> None:
        self.model = model
        self.ranks = ranks
        self.name = "replicated" if ranks.size > 1 else "one process"

    def run(self, function: Callable[[PreTrainedModel, B], R], batch: B) -> R:
        """Call it."""
        return function(self.model, batch)

    def turns(self, costs: Sequence[float]) -> list[Turn]:
        """Balanced by cost; none is as good as several."""
        return deal.balanced(costs, self.ranks.size)[self.ranks.number]

    def add_up(self, parameters: Sequence[Tensor]) -> None:
        """All-reduce in buckets, one on its way while the next is filled. What no rank used keeps no gradient."""
        if self.ranks.size == 1:
            return
        unused = [index for index, parameter in enumerate(parameters) if parameter.grad is None]
        nowhere = set.intersection(*map(set, self.ranks.exchange(unused)))
        gradients = [_gradient(parameter) for i, parameter in enumerate(parameters) if i not in nowhere]
        before: Callable[[], None] = _nothing
        for bucket in _buckets(gradients):
            after = _sent(bucket)
            before()
            before = after
        before()

    def norm(self, mine: float) -> float:
        """Every rank holds every gradient."""
        return mine

    def gather(self) -> None:
        """It is whole."""


class Sharded:
    """FSDP2: a rank holds a share of each weight, gradient and moment; layers are put together as they are computed.

    Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel"; torch's ``fully_shard``. What
    is trained is kept in fp32 and gathered in ``compute``, so the shares are the master weights. The decoder and the
    head are called one by one, so the root is a module around the model that runs whatever is to be computed.
    """

    def __init__(
        self, model: PreTrainedModel, ranks: Ranks, *, device: str, compute: torch.dtype, cpu_offload: bool
    ) -> None:
        self.model = model
        self.ranks = ranks
        self._dtypes = {name: parameter.dtype for name, parameter in model.named_parameters(remove_duplicate=False)}
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = take_wide(parameter).float()
        pinned = device == "cuda"
        self.name = "fsdp, offloaded to the cpu" if cpu_offload and pinned else "fsdp"
        options: dict[str, Any] = {
            "mesh": init_device_mesh(device, (ranks.size,)),
            "mp_policy": MixedPrecisionPolicy(compute, torch.float32, cast_forward_inputs=False),
            "offload_policy": CPUOffloadPolicy(pin_memory=pinned) if cpu_offload else OffloadPolicy(),
        }
        for layer in layers(model):
            fully_shard(layer, **options)
        self._root = fully_shard(_Root(model), **options)
        for module in cast(nn.Module, self._root).modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)  # a plain sum, which gloo knows too
                module.unshard()  # the shares get their place in memory now, before an optimizer points at them
                module.reshard()

    def run(self, function: Callable[[PreTrainedModel, B], R], batch: B) -> R:
        """Call it inside the root's forward pass. Without gradients, nothing stays gathered behind it."""
        result: R = cast(Any, self._root)(function, batch)
        if not torch.is_grad_enabled():
            self._root.reshard()
        return result

    def turns(self, costs: Sequence[float]) -> list[Turn]:
        """Equally many on every rank: each pass gathers weights from all of them."""
        return deal.in_rounds(costs, self.ranks.size)[self.ranks.number]

    def add_up(self, parameters: Sequence[Tensor]) -> None:
        """Every backward pass has added them up already, in fp32."""

    def norm(self, mine: float) -> float:
        """The shares' norms, squared and added."""
        return math.sqrt(self.ranks.total({"squares": mine * mine})["squares"])

    def gather(self) -> None:
        """One weight at a time, kept on rank 0's host, in the type that it came in; tied ones stay tied."""
        self._root.reshard()
        whole: dict[nn.Parameter, nn.Parameter] = {}
        for name, share in list(self.model.named_parameters(remove_duplicate=False)):
            if share not in whole:
                full = cast(DTensor, share.detach()).full_tensor()
                # Elsewhere no view of it, be it an empty one: that would keep the whole weight until all are gathered.
                kept = full.to("cpu", self._dtypes[name]) if self.ranks.first else full.new_empty(0)
                whole[share] = nn.Parameter(kept, requires_grad=False)
            if self.ranks.first:
                owner, _, leaf = name.rpartition(".")
                self.model.get_submodule(owner).register_parameter(leaf, whole[share])
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.cpu())  # DoRA's squares, which merging needs beside the weights


class _Root(nn.Module):
    """What FSDP takes for the model: its forward pass is whatever is to be computed of it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[PreTrainedModel, Any], Any], batch: Any) -> Any:
        """Return ``function(model, batch)``."""
        return function(self.model, batch)


def layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the decoder's layers, which are put together one by one: the list that is as long as the settings say."""
    count = model.config.get_text_config().num_hidden_layers
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    return list(lists[0]) if lists else []


def _gradient(parameter: Tensor) -> Tensor:
    """A parameter's gradient, zeros where another rank used it and this one didn't."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours up to ``BUCKET_BYTES`` together; a larger one goes alone."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(one.nbytes for one in bucket) + gradient.nbytes > BUCKET_BYTES:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def _sent(bucket: list[Tensor]) -> Callable[[], None]:
    """Start adding a bucket up over all ranks; return what waits for it and puts the sums in their places."""
    alone = len(bucket) == 1 and bucket[0].is_contiguous()
    flat = bucket[0] if alone else torch.cat([gradient.reshape(-1) for gradient in bucket])
    handle = dist.all_reduce(flat, async_op=True)
    assert handle is not None

    def arrived() -> None:
        handle.wait()
        if not alone:
            for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    return arrived


def _nothing() -> None:
    """Nothing is on its way yet."""
