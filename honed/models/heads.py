"""The heads of a model's attention, layer by layer: in some models (Gemma 4) layers have heads of several widths."""

from __future__ import annotations

from typing import Any, NamedTuple


class Heads(NamedTuple):
    """Of a layer: numbers a head, heads of its queries, and those of its keys (and values)."""

    width: int
    queries: int
    keys: int


def layers(text: Any) -> list[Any]:
    """Return the settings of each layer, of a model's text configuration: as a whole it raises for what differs."""
    # Older versions of transformers know no settings of single layers.
    return list(getattr(text, "per_layer_config", ())) or [text] * text.num_hidden_layers


def heads(layer: Any) -> Heads:
    """Return the heads that a layer's settings ask for."""
    queries = layer.num_attention_heads
    keys = getattr(layer, "num_key_value_heads", None) or queries
    return Heads(getattr(layer, "head_dim", None) or layer.hidden_size // queries, queries, keys)


def kinds(text: Any) -> list[Heads]:
    """Return what heads the layers of a text configuration have: each kind once, the widest last."""
    return sorted(set(map(heads, layers(text))))
