"""A decoder of the usual kind (Llama, Mistral, Qwen) computed with few operations, which is what small passes need.

With a hundred tokens in a pass, the modules' own code spends as long between the products as in them. Here the three
products of attention's input are one, and so are the two of the gate; weights are laid out as oneDNN wants them, and
what lies between works in place. Whether a model is of that kind is found out by comparing: its states must be those
of its own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from honed.models.slots import Pass

_MANY = 8
"""Tokens from which laying out weights anew is worth their copy."""

_COPIED = 2 * 1024**3
"""Bytes of weights that may exist twice, as the model has them and laid out; a larger model's are used as they are."""

_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class Product:
    """``x @ weight.T + bias`` of one or several linear modules side by side, for about ``tokens`` rows at a time."""

    def __init__(self, modules: Sequence[nn.Linear], tokens: int, *, copy: bool) -> None:
        self.widths = [module.out_features for module in modules]
        self._bias = _joined([module.bias for module in modules])
        self._laid_out: Tensor | None = None
        self._weights = [module.weight.detach() for module in modules]
        if copy:
            whole = torch.cat(self._weights) if len(modules) > 1 else self._weights[0]
            self._laid_out = torch.ops.mkldnn._reorder_linear_weight(whole, tokens)
        self._biases = [module.bias for module in modules]

    def __call__(self, x: Tensor) -> Tensor:
        """``x``: tokens x in; the result: tokens x (the modules' outputs, one behind the other)."""
        if self._laid_out is not None and len(x):
            found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._laid_out, self._bias, "none", [], "")
            return found
        parts = [functional.linear(x, *pair) for pair in zip(self._weights, self._biases, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def worth_copying(dtype: torch.dtype, tokens: int) -> bool:
    """Whether products of about ``tokens`` rows are faster with weights of this type laid out anew."""
    return tokens >= _MANY and dtype == torch.float32 and torch.backends.mkldnn.is_available()


@dataclass(frozen=True)
class _Layer:
    number: int
    before: nn.Module
    qkv: Product
    size: int
    """Numbers a head."""
    of_query: nn.Module | None
    of_key: nn.Module | None
    scale: float
    out: Product
    between: nn.Module
    gate_up: Product
    act: nn.Module
    down: Product


class LeanDecoder:
    """The decoder behind ``model``'s head: embeddings, layers and the last norm."""

    def __init__(self, inner: Any, tokens: int) -> None:
        self._inner = inner
        weights = sum(weight.nbytes for weight in inner.parameters())
        copy = weights <= _COPIED and worth_copying(torch.float32, tokens)
        self._layers = [_layer(layer, tokens, copy=copy) for layer in inner.layers]

    def __call__(self, work: Pass) -> Tensor:
        """Return the states of the pass's tokens after the last norm, tokens x hidden size."""
        hidden: Tensor = self._inner.embed_tokens(work.ids[0])
        cos, sin = (part[0, :, None] for part in self._inner.rotary_emb(hidden[None], work.positions))
        for layer in self._layers:
            hidden = hidden + self._attend(layer, _norm(layer.before, hidden), cos, sin, work)
            inner = layer.gate_up(_norm(layer.between, hidden))
            width = layer.gate_up.widths[0]
            hidden += layer.down(layer.act(inner[:, :width]).mul_(inner[:, width:]))
        return _norm(self._inner.norm, hidden)

    def _attend(self, layer: _Layer, x: Tensor, cos: Tensor, sin: Tensor, work: Pass) -> Tensor:
        queries, keys, _ = layer.qkv.widths
        turned, value = layer.qkv(x).split([queries + keys, keys], 1)
        both = turned.unflatten(1, (-1, layer.size))
        heads = queries // layer.size
        if layer.of_query is not None and layer.of_key is not None:
            both = torch.cat((layer.of_query(both[:, :heads]), layer.of_key(both[:, heads:])), 1)
        both = _turned(both, cos, sin)
        value = value.unflatten(1, (-1, layer.size))
        found = work.attend(layer.number, both[:, :heads], both[:, heads:], value, layer.scale)
        return layer.out(found.flatten(1))


def lean(model: Any, tokens: int) -> LeanDecoder | None:
    """Return the lean decoder of a model in float32 on a CPU, or None if it is not of that kind.

    ``tokens``: how many a pass has, about. Only its shape is looked at here: whoever asks compares what it computes.
    """
    inner = model.base_model
    parts = {"embed_tokens", "layers", "norm", "rotary_emb"}
    if not parts <= {name for name, _ in inner.named_children()} or not all(map(_usual, inner.layers)):
        return None
    if not hasattr(inner.norm, "variance_epsilon"):
        return None
    if any(weight.dtype != torch.float32 for weight in inner.parameters()):
        return None
    return LeanDecoder(inner, tokens)


def _usual(layer: nn.Module) -> bool:
    children = {name: set(dict(child.named_children())) for name, child in layer.named_children()}
    if set(children) != _LAYER or children["mlp"] != _MLP:
        return False
    extra = children["self_attn"] - _ATTENTION
    if not children["self_attn"] >= _ATTENTION or extra not in (set(), {"q_norm", "k_norm"}):
        return False
    modules = dict(layer.named_modules())
    if not all(hasattr(modules["self_attn"], name) for name in ("head_dim", "scaling", "layer_idx")):
        return False
    linear = [f"self_attn.{name}" for name in _ATTENTION] + [f"mlp.{name}" for name in _MLP - {"act_fn"}]
    if not all(type(modules[name]) is nn.Linear for name in linear):
        return False
    beside = [("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")]
    same = all(len({modules[name].bias is None for name in names}) == 1 for names in beside)
    return same and all(hasattr(modules[name], "variance_epsilon") for name in _LAYER if name.endswith("norm"))


def _layer(layer: Any, tokens: int, *, copy: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        number=attention.layer_idx,
        before=layer.input_layernorm,
        qkv=Product([attention.q_proj, attention.k_proj, attention.v_proj], tokens, copy=copy),
        size=attention.head_dim,
        of_query=getattr(attention, "q_norm", None),
        of_key=getattr(attention, "k_norm", None),
        scale=attention.scaling,
        out=Product([attention.o_proj], tokens, copy=copy),
        between=layer.post_attention_layernorm,
        gate_up=Product([mlp.gate_proj, mlp.up_proj], tokens, copy=copy),
        act=mlp.act_fn,
        down=Product([mlp.down_proj], tokens, copy=copy),
    )


def _joined(biases: Sequence[Tensor | None]) -> Tensor | None:
    there = [bias.detach() for bias in biases if bias is not None]
    return torch.cat(there) if there else None


def _norm(module: Any, x: Tensor) -> Tensor:
    """RMSNorm (Zhang & Sennrich 2019) in half the operations of the module's own code."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    scaled: Tensor = x * square.div_(x.shape[-1]).add_(module.variance_epsilon).rsqrt_()
    return scaled.mul_(module.weight)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021) of ``x``, tokens x heads x size; ``cos`` and ``sin`` tokens x 1 x size."""
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    cos, sin = cos[..., :half], sin[..., :half]
    found = torch.empty_like(x)
    torch.mul(low, cos, out=found[..., :half]).addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=found[..., half:]).addcmul_(low, sin)
    return found
