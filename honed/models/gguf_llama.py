"""GGUF files of the plain llama architecture, read straight: seconds, where the general way takes half a minute.

The format is stated in ggml's docs/gguf.md: a header, key-value pairs, a table of tensors, aligned data. The blocks
are de-quantized by the ``gguf`` package. A file with anything beyond plain llama is left to the general way.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

_SETTINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_KNOWN = {*_SETTINGS, "rope.freq_base", "rope.dimension_count", "vocab_size"}
_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding", "unk_token_id": "unknown"}

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]  # rows first
    kind: int
    offset: int


@dataclass(frozen=True)
class File:
    """What a GGUF file holds: its facts, and a table of its tensors."""

    blob: np.ndarray[Any, np.dtype[np.uint8]]
    facts: dict[str, Any]
    tensors: list[_Tensor]
    data: int  # where the tensors' bytes begin


def convert(content: File, folder: Path) -> bool:
    """Write weights (float32) and settings of a file into ``folder``, or return False if it isn't plain llama.

    Raises ``ValueError`` for a damaged file.
    """
    from safetensors.numpy import save_file

    config = _config(content)
    if config is None:
        return False
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in content.tensors:
        name, part = _renamed(tensor.name)
        values = _values(content, tensor)
        weights[name] = np.ascontiguousarray(_halves(values, heads[part]) if part in heads else values)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text(json.dumps(ids, indent=2))
    return True


def _config(content: File) -> dict[str, Any] | None:
    """The settings in transformers' words; None if the file has what this module doesn't know."""
    facts = content.facts
    own = {key.removeprefix("llama."): value for key, value in facts.items() if key.startswith("llama.")}
    plain = facts["general.architecture"] == "llama" and "mistral" not in str(facts.get("general.name")).lower()
    if not plain or set(own) - _KNOWN or not all(_renamed(tensor.name)[0] for tensor in content.tensors):
        return None
    config = {ours: own[theirs] for theirs, ours in _SETTINGS.items() if theirs in own}
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    head = config["hidden_size"] // config["num_attention_heads"]
    if own.get("rope.dimension_count", head) != head:
        return None
    shapes = {tensor.name: tensor.shape for tensor in content.tensors}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        **config,
        "head_dim": head,
        "vocab_size": shapes["token_embd.weight"][0],
        "rope_parameters": {"rope_type": "default", "rope_theta": own.get("rope.freq_base", 10000.0)},
        "tie_word_embeddings": "output.weight" not in shapes,
        **{
            ours: facts[f"tokenizer.ggml.{theirs}_token_id"]
            for ours, theirs in _IDS.items()
            if f"tokenizer.ggml.{theirs}_token_id" in facts
        },
    }


def _renamed(name: str) -> tuple[str, str]:
    """transformers' name of a tensor and its part of a block; an empty name if it is unknown."""
    found = _BLOCK.fullmatch(name)
    if found is None:
        return _OUTER.get(name, ""), ""
    inner = _INNER.get(found[2])
    return (f"model.layers.{found[1]}.{inner}.weight" if inner else ""), found[2]


def _values(content: File, tensor: _Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(tensor.kind)
    block, size = GGML_QUANT_SIZES[kind]
    start = content.data + tensor.offset
    raw = content.blob[start : start + prod(tensor.shape) // block * size]
    values: np.ndarray[Any, np.dtype[np.float32]] = dequantize(raw.reshape(*tensor.shape[:-1], -1), kind)
    return values.reshape(tensor.shape).astype(np.float32, copy=False)


def _halves(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """GGUF pairs a rotated dimension with its neighbour, transformers with the one half a head away."""
    return values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)


def read(file: Path) -> File:
    """Return what ``file`` holds, of whatever architecture. Raises ``ValueError`` or ``struct.error`` if damaged."""
    blob = np.memmap(file, dtype=np.uint8, mode="r")
    cursor = _Cursor(blob.data)
    magic, version, tensors, pairs = cursor.take("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"GGUF version {version} is unknown")
    facts = {cursor.text(): cursor.value() for _ in range(pairs)}
    table = list(_table(cursor, tensors))
    align = facts.get("general.alignment", 32)
    return File(blob, facts, table, -(-cursor.at // align) * align)


def _table(cursor: _Cursor, count: int) -> Iterator[_Tensor]:
    for _ in range(count):
        name = cursor.text()
        (rank,) = cursor.take("I")
        shape = cursor.take(f"{rank}Q")
        yield _Tensor(name, shape[::-1], *cursor.take("IQ"))


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.at = 0

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self._data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def text(self) -> str:
        (length,) = self.take("Q")
        (raw,) = self.take(f"{length}s")
        return bytes(raw).decode()

    def value(self) -> Any:
        (kind,) = self.take("I")
        if kind != _ARRAY:
            return self._reader(kind)()
        kind, count = self.take("IQ")
        read = self._reader(kind)
        return [read() for _ in range(count)]

    def _reader(self, kind: int) -> Callable[[], Any]:
        if kind == _STRING:
            return self.text
        if kind not in _SCALARS:
            raise ValueError(f"a value of unknown kind {kind}")
        return lambda: self.take(_SCALARS[kind])[0]
