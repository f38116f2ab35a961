"""Our embedding, norm, MLP and attention in a model's own modules, each only where it gives the same output there.

A module keeps its class, its parameters and their names; only what its ``forward`` calls is replaced, on the instance.
Adapters put in later are found, since the submodules are looked up at each call. Whether a module is what it looks
like (Gemma's norm adds one to its weight, some layers have no rotary positions) is not guessed from names: one pass
through the model computes every candidate both ways on its own input.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from honed.errors import ModelError
from honed.train.attention import Segments
from honed.train.kernels.embedding import embedding
from honed.train.kernels.linear import linears, plain, unhooked
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down
from honed.train.lora import LoraLinear, behind_swiglu, side_by_side

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""How far, relative to its norm, the output may be from the model's own. Norms compute in fp32 in an fp64 model too."""

_PROBE = 16
"""Tokens of the pass in which every module is computed both ways."""

Forward = Callable[..., Any]

_Tried = tuple[str, Forward, bool]
"""A module's kind, our forward for it, and whether that gave the same."""


@dataclass(frozen=True)
class Installed:
    """How many modules of each kind a pass went through, and in how many our kernel computes now.

    ``elementwise`` says by what: C on a CPU (``native``), what torch compiled on a GPU (``triton``), or plain torch.
    """

    found: dict[str, int]
    fused: dict[str, int]
    elementwise: str = "torch"

    def describe(self) -> dict[str, str]:
        """Say for each kind how many of how many, and by what, as ``result.json`` has it."""
        said = {kind: f"{self.fused.get(kind, 0)} of {count}" for kind, count in sorted(self.found.items())}
        return {**said, "elementwise": self.elementwise}


def install(model: PreTrainedModel, *, compiled: bool = False) -> Installed:
    """Put our kernels where one pass over a few tokens shows that they compute what the model's own modules do.

    Call it before adapters are added, on a model with our attention. Modules that the pass doesn't reach (an expert
    that no token chose) stay as they are and aren't counted. The model's padding token learns from then on as others
    do: passes hold no padding, and that token is often the one that ends every turn.

    ``compiled``: by the kernels that ``choice`` found fit, for what these take.
    """
    tried: dict[nn.Module, _Tried] = {}
    handles = []
    model.get_input_embeddings().padding_idx = None
    for module in model.modules():
        candidate = _candidate(module, compiled)
        if candidate:
            handles.append(module.register_forward_hook(partial(_compare, tried, candidate), with_kwargs=True))
    try:
        with torch.no_grad():
            text = model.config.get_text_config()
            ids = torch.arange(_PROBE, device=model.device)[None] % text.vocab_size
            model.base_model(
                input_ids=ids,
                position_ids=_near_and_far(text)[None].to(model.device),
                use_cache=False,
                segments=Segments((_PROBE,), asked={}),
            )
    finally:
        for handle in handles:
            handle.remove()
    for module, (_, forward, same) in tried.items():
        if same:
            module.forward = partial(forward, module)
    found = Counter(kind for kind, _, _ in tried.values())
    fused = Counter(kind for kind, _, same in tried.values() if same)
    return Installed(dict(found), dict(fused), by(model.device.type) if compiled else "torch")


def _near_and_far(text: Any) -> Tensor:
    """The first positions and the last: some models scale queries by how far on a token is (Ministral 3)."""
    last = max(_PROBE, getattr(text, "max_position_embeddings", None) or _PROBE)
    return torch.cat((torch.arange(_PROBE // 2), torch.arange(last - _PROBE // 2, last)))


def by(device: str) -> str:
    """Return what computes elementwise on a device where ``choice`` found that fit, as ``result.json`` has it."""
    return "native" if device == "cpu" else "triton"


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Keep only what goes into each decoder layer, and compute the layer again in the backward pass, dropout included.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". Raises ``ModelError`` if the model can't.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"activation_checkpointing: {type(model).__name__} has no layers that can be computed again",
            "Turn activation_checkpointing off; a smaller pack_tokens saves memory too.",
        )
    # Renamed in transformers 5; the older name warns. So is the flag (``_recomputed``).
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def checkpoints_layers(model: PreTrainedModel) -> bool:
    """Whether the model's layers are computed again in the backward pass."""
    return bool(_recomputed(model))


@contextmanager
def last_layer_kept(model: PreTrainedModel) -> Iterator[None]:
    """Let a pass meanwhile keep all of the last layer, as it is held when a backward pass has computed it again."""
    last = _recomputed(model)[-1:]
    for layer, flag in last:
        setattr(layer, flag, False)
    try:
        yield
    finally:
        for layer, flag in last:
            setattr(layer, flag, True)


def _recomputed(model: PreTrainedModel) -> list[tuple[nn.Module, str]]:
    """The layers that are computed again, and the name of the flag that says so."""
    names = ("activation_checkpointing", "gradient_checkpointing")
    return [(module, name) for module in model.modules() for name in names if getattr(module, name, None) is True]


def _candidate(module: nn.Module, compiled: bool) -> tuple[str, Forward] | None:
    children = {name for name, _ in module.named_children()}
    if _drops(module) or _clamps(module):  # which a pass of few tokens without dropout doesn't show
        return None
    if children >= {"gate_proj", "up_proj", "down_proj", "act_fn"}:
        return "swiglu", partial(_mlp, compiled=compiled)
    if children == {"q_proj", "k_proj", "v_proj", "o_proj"} and hasattr(module, "head_dim"):
        # OLMo's clamp shows only where numbers are large, which those of the pass may not be.
        clamps = getattr(getattr(module, "config", None), "clip_qkv", None)
        return None if clamps else ("rotary", partial(_attention, compiled=compiled))
    if type(module) is nn.Embedding and not (module.max_norm or module.scale_grad_by_freq or module.sparse):
        return "embedding", _embedding
    if not children and type(module).__name__.endswith("RMSNorm") and _epsilon(module) is not None:
        return "rms_norm", partial(_norm, compiled=compiled)
    return None


def _drops(module: nn.Module) -> bool:
    """Whether it has dropout that ours would leave out: of anything but attention's weights (Starcoder 2, Seed-OSS)."""
    own = [value for name, value in vars(module).items() if "drop" in name and name != "attention_dropout"]
    rates = [*own, *(child.p for child in module.children() if isinstance(child, nn.Dropout))]
    return any(isinstance(rate, float | int) and rate > 0 for rate in rates)


def _clamps(module: nn.Module) -> bool:
    """Whether it has a bound of its own for its numbers: DeepSeek 4 has one in its SwiGLU, Step 3.7 in some layers."""
    own = [value for name, value in vars(module).items() if any(word in name for word in ("limit", "clamp", "clip"))]
    return any(isinstance(value, float | int) and value is not False and math.isfinite(value) for value in own)


def _compare(
    tried: dict[nn.Module, _Tried],
    candidate: tuple[str, Forward],
    module: nn.Module,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    kind, forward = candidate
    if kind == "rotary":  # a window or a cap hardly shows in so few tokens: ours passes on what the model's own passed
        segments = kwargs.get("segments")
        asked = segments.asked.get(module) if isinstance(segments, Segments) and segments.asked else None
        if asked is None or not asked.keys() <= {"sliding_window", "softcap"}:
            return
        forward = partial(forward, asked=asked)
    theirs: Tensor = output[0] if isinstance(output, tuple) else output
    try:
        ours = forward(module, *args, **kwargs)
    except torch.OutOfMemoryError:  # it says nothing of the module
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):  # not what it looked like
        same = False
    else:
        ours = ours[0] if isinstance(ours, tuple) else ours
        same = ours.dtype == theirs.dtype and ours.shape == theirs.shape and _gap(ours, theirs) < TOLERANCE[ours.dtype]
    before = tried.get(module)  # a module may be shared by several layers: it must be the same at every call
    tried[module] = (kind, forward, same and (before is None or before[2]))


def _gap(ours: Tensor, theirs: Tensor) -> float:
    wide = torch.promote_types(theirs.dtype, torch.float32)
    theirs = theirs.to(wide)
    return float((ours.to(wide) - theirs).norm() / theirs.norm().clamp_min(torch.finfo(wide).tiny))


def _epsilon(module: nn.Module) -> float | None:
    value = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return value if isinstance(value, float) else None


def _norm(module: Any, x: Tensor, *, compiled: bool) -> Tensor:
    return rms_norm(x, module.weight, _epsilon(module) or 0.0, compiled=compiled)


def _embedding(module: Any, ids: Tensor) -> Tensor:
    return embedding(ids, module.weight)


def _mlp(module: Any, x: Tensor, *, compiled: bool) -> Tensor:
    gate, up = _outputs(x, (module.gate_proj, module.up_proj))
    down = module.down_proj
    if plain(down) and down.bias is None:
        return swiglu_down(gate, up, down.weight, compiled=compiled)
    if unhooked(down, LoraLinear):
        return behind_swiglu(gate, up, down, compiled=compiled)
    result: Tensor = down(swiglu(gate, up, compiled=compiled))
    return result


def _outputs(x: Tensor, layers: Sequence[nn.Module]) -> tuple[Tensor, ...]:
    """What layers that read one input make of it (... x in): in one function, or where they are others, each alone."""
    if all(map(plain, layers)):
        return linears(x, layers)
    adapted = [layer for layer in layers if unhooked(layer, LoraLinear)]
    if len(adapted) == len(layers):
        return side_by_side(x, adapted)
    return tuple(layer(x) for layer in layers)


def _attention(  # noqa: PLR0913 - the signature of transformers' own, and what is ours
    module: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    *,
    asked: Mapping[str, Any],
    compiled: bool,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    if past_key_values is not None or position_embeddings is None:
        options = {"position_embeddings": position_embeddings, "attention_mask": attention_mask, **kwargs}
        theirs: tuple[Tensor, Tensor | None] = type(module).forward(
            module, hidden_states, past_key_values=past_key_values, **options
        )
        return theirs
    shape = hidden_states.shape[:-1]
    query, key, value = (
        projected.view(*shape, -1, module.head_dim).transpose(1, 2)
        for projected in _outputs(hidden_states, (module.q_proj, module.k_proj, module.v_proj))
    )
    cos, sin = position_embeddings
    attend = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    out, weights = attend(
        module,
        rotate(query, cos, sin, compiled=compiled),
        rotate(key, cos, sin, compiled=compiled),
        value,
        attention_mask,
        dropout=getattr(module, "attention_dropout", 0.0) if module.training else 0.0,  # none by another name: _drops
        scaling=module.scaling,
        **asked,
        **kwargs,
    )
    (result,) = _outputs(out.reshape(*shape, -1).contiguous(), (module.o_proj,))
    return result, weights
