"""Adapters side by side, behind a norm and behind SwiGLU compute their formula, and keep no input twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from honed.train import adapters, batches, likelihood, lora
from honed.train.head import MATRIX
from honed.train.kernels import choice
from honed.train.kernels.install import install
from honed.train.kernels.norm import rms_norm
from honed.train.lora import LoraLinear, behind_swiglu, side_by_side
from honed.train.lora_config import LoraConfig
from tests.numerics.adapted import KINDS, stir
from tests.numerics.rows import close, gradients, packed_model, uneven

IN, OUTS, RANKS = 12, (10, 4, 7), (2, 3, 1)
TYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
COMPILED = pytest.mark.parametrize("compiled", [False, True])
KIND = pytest.mark.parametrize(("dropout", "dora", "bias"), list(product((0.0, 0.4), (False, True), (False, True))))


def made(
    dtype: torch.dtype, count: int, *, dropout: float = 0.0, dora: bool = False, bias: bool = False
) -> list[LoraLinear]:
    torch.manual_seed(count)
    layers = []
    for out, rank in list(zip(OUTS, RANKS, strict=True))[:count]:
        base = nn.Linear(IN, out, bias=bias).to(dtype).requires_grad_(False)
        layer = LoraLinear(base, torch.randn(rank, IN).to(dtype), scale=0.7, dropout=dropout, dora=dora)
        nn.init.normal_(layer.lora_B)
        layers.append(layer)
    return layers


def formula(layer: LoraLinear, x: Tensor) -> Tensor:
    """What autograd makes of the papers' words, with the masks that are drawn next."""
    share = layer.dropout
    kept = ~lora._dropped(x.detach().flatten(0, -2), share).view(x.shape) if share else torch.ones_like(x)
    weight, wide = layer.base.weight, torch.promote_types(x.dtype, torch.float32)
    out = x @ weight.T + layer.scale * ((x * kept / (1 - share)).to(x.dtype) @ layer.lora_A.T) @ layer.lora_B.T
    if layer.magnitude is not None:
        norm = (weight.to(wide) + layer.scale * layer.lora_B.to(wide) @ layer.lora_A.to(wide)).norm(dim=1).detach()
        out = out * (layer.magnitude / norm).to(x.dtype)
    return out if layer.base.bias is None else out + layer.base.bias


def compared(
    ours: Callable[[], Sequence[Tensor]], theirs: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor]
) -> None:
    found = []
    for function in (ours, theirs):
        torch.manual_seed(5)
        outs = function()
        torch.manual_seed(6)
        upstream = [torch.randn_like(out) for out in outs]
        found.append([*(out.detach() for out in outs), *torch.autograd.grad(outs, wanted, upstream)])
    limit = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 4e-2}[found[0][0].dtype]
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert float((one - other).double().norm() / other.double().norm()) < limit


@TYPES
@KIND
@pytest.mark.parametrize("count", [1, 3])
def test_layers_on_one_input_have_the_outputs_and_gradients_of_the_formula(
    dtype: torch.dtype, count: int, dropout: float, dora: bool, bias: bool
) -> None:
    layers = made(dtype, count, dropout=dropout, dora=dora, bias=bias)
    x = torch.randn(2, 5, IN).to(dtype).requires_grad_()
    wanted = [x, *(p for layer in layers for p in layer.parameters() if p.requires_grad)]
    assert len(wanted) == 1 + count * (3 if dora else 2)
    compared(lambda: side_by_side(x, layers), lambda: [formula(layer, x) for layer in layers], wanted)


@TYPES
@COMPILED
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("learns", [True, False])
def test_behind_a_norm_they_have_them_too_without_keeping_what_it_made(
    dtype: torch.dtype, compiled: bool, dropout: float, learns: bool
) -> None:
    compiled = compiled and choice.choose(dtype, "cpu")[0]
    layers = made(dtype, 3, dropout=dropout)
    x = torch.randn(1, 9, IN).to(dtype).requires_grad_()
    weight = nn.Parameter(torch.rand(IN).to(dtype), requires_grad=learns)

    def behind() -> Sequence[Tensor]:
        normal = rms_norm(x, weight, 1e-5, compiled=compiled)
        with kept() as places:
            outs = side_by_side(normal, layers)
        assert normal.data_ptr() not in places
        return outs

    def plain() -> Sequence[Tensor]:
        wide = x.to(torch.promote_types(dtype, torch.float32))
        normal = weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(dtype)
        return [formula(layer, normal) for layer in layers]

    wanted = [x, *([weight] if learns else []), *(p for layer in layers for p in layer.parameters() if p.requires_grad)]
    compared(behind, plain, wanted)


@TYPES
@COMPILED
@KIND
def test_behind_swiglu_a_layer_has_them_too_without_keeping_the_product(
    dtype: torch.dtype, compiled: bool, dropout: float, dora: bool, bias: bool
) -> None:
    compiled = compiled and choice.choose(dtype, "cpu")[0]
    (layer,) = made(dtype, 1, dropout=dropout, dora=dora, bias=bias)
    gate, up = (torch.randn(1, 9, IN).to(dtype).requires_grad_() for _ in range(2))

    def behind() -> Sequence[Tensor]:
        with kept() as places:
            out = behind_swiglu(gate, up, layer, compiled=compiled)
        whole = [place for place, numbers in places.items() if numbers == gate.numel()]
        assert {gate.data_ptr(), up.data_ptr()} <= set(whole)
        assert len(whole) == (3 if dropout else 2)  # the mask of what is dropped is as large
        return [out]

    wanted = [gate, up, *(p for p in layer.parameters() if p.requires_grad)]
    compared(behind, lambda: [formula(layer, functional.silu(gate) * up)], wanted)


@contextmanager
def kept() -> Iterator[dict[int, int]]:
    """Where the tensors lie that are kept meanwhile for a backward pass, and how many numbers each has."""
    places: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        places[tensor.data_ptr()] = tensor.numel()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield places


@COMPILED
@pytest.mark.parametrize("which", ["a", "b", "gate", "up"])
def test_behind_swiglu_only_what_learns_has_a_gradient(which: str, compiled: bool) -> None:
    compiled = compiled and choice.choose(torch.float32, "cpu")[0]
    (layer,) = made(torch.float32, 1)
    leaves = {"gate": torch.randn(3, IN), "up": torch.randn(3, IN), "a": layer.lora_A, "b": layer.lora_B}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name == which)

    def ours() -> Sequence[Tensor]:
        with kept() as places:
            out = behind_swiglu(leaves["gate"], leaves["up"], layer, compiled=compiled)
        out.sum().backward()
        assert [name for name, leaf in leaves.items() if leaf.grad is not None] == [which]
        leaves[which].grad = None
        assert leaves["gate"].data_ptr() in places
        return [behind_swiglu(leaves["gate"], leaves["up"], layer, compiled=compiled)]

    compared(ours, lambda: [formula(layer, functional.silu(leaves["gate"]) * leaves["up"])], [leaves[which]])


@pytest.mark.parametrize("which", [{"a0"}, {"b1"}, {"x"}, {"a0", "b1"}, {"a1", "x"}])
def test_on_one_input_only_what_learns_has_a_gradient_and_where_no_a_learns_the_input_is_not_kept(
    which: set[str],
) -> None:
    layers, x = made(torch.float64, 2), torch.randn(3, IN, dtype=torch.float64)
    leaves = {"x": x}
    for number, layer in enumerate(layers):
        leaves |= {f"a{number}": layer.lora_A, f"b{number}": layer.lora_B}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in which)
    learn = [leaves[name] for name in sorted(which)]

    def ours() -> Sequence[Tensor]:
        with kept() as places:
            outs = side_by_side(x, layers)
        assert (x.data_ptr() in places) == bool(which & {"a0", "a1"})
        torch.cat(outs, -1).sum().backward()
        assert {name for name, leaf in leaves.items() if leaf.grad is not None} == which
        for leaf in learn:
            leaf.grad = None
        return [torch.cat(side_by_side(x, layers), -1)]

    compared(ours, lambda: [torch.cat([formula(layer, x) for layer in layers], -1)], learn)


@TYPES
@COMPILED
def test_an_input_that_was_changed_after_its_norm_is_kept_as_it_is(dtype: torch.dtype, compiled: bool) -> None:
    compiled = compiled and choice.choose(dtype, "cpu")[0]
    layers, weight = made(dtype, 2), torch.ones(IN, dtype=dtype)
    x = torch.randn(1, 5, IN).to(dtype).requires_grad_()

    def normal() -> Tensor:
        out = rms_norm(x, weight, 1e-5, compiled=compiled)
        out *= 2  # some models with experts shake what goes into them
        return out

    wanted = [x, *(p for layer in layers for p in layer.parameters() if p.requires_grad)]
    compared(
        lambda: side_by_side(normal(), layers),
        lambda: [formula(layer, 2 * functional.rms_norm(x, (IN,), weight, 1e-5)) for layer in layers],
        wanted,
    )


def test_layers_that_get_no_token_have_gradients_of_zero() -> None:
    layers = made(torch.float64, 2)
    x = torch.randn(0, IN, dtype=torch.float64, requires_grad=True)
    torch.cat(side_by_side(x, layers), -1).sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    assert all(not layer.lora_A.grad.any() and not layer.lora_B.grad.any() for layer in layers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_with_our_kernels_a_model_with_adapters_has_the_gradients_it_has_without(kind: str, dropout: float) -> None:
    found = []
    how = LoraConfig(**{**vars(KINDS[kind]), "dropout": dropout})
    for ours in (False, True):
        model = packed_model().train()
        if ours:
            assert install(model).describe()["swiglu"] == "2 of 2"
        adapters.add(model, how, seed=3)
        stir(model)
        torch.manual_seed(7)
        found.append(gradients(model, uneven(6), [[0, 1, 2], [3, 4, 5]]))
    close(*found)


def test_adapters_keep_no_more_of_a_pass_than_all_weights_do_but_their_narrow_products() -> None:
    held, tokens, rank = {}, 0, 2
    for weights in ("full", "lora"):
        model = packed_model(hidden=64)
        install(model)
        if weights == "lora":
            adapters.add(model, LoraConfig(rank=rank, alpha=4.0), seed=0)
        head = model.get_output_embeddings().weight.shape
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        seen: dict[int, int] = {}

        def note(tensor: Tensor, own: set[int] = own, seen: dict[int, int] = seen, head: torch.Size = head) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in own and tensor.shape != head:  # its gradient stands apart
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor.detach()

        pack = batches.collate(uneven(6), share=False)
        tokens = pack.tokens
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = likelihood.nll(model, pack, MATRIX)
        held[weights] = sum(seen.values())
        del loss
    narrow = 4 * tokens * rank * 7 * model.config.num_hidden_layers
    assert held["lora"] <= held["full"] + narrow
