"""Which weight files a model's folder names: transformers would open whatever they are, pickles and others' too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from honed.errors import ModelError

_INDEX = ".index.json"


def check(folder: Path) -> None:
    """Raise ``ModelError`` unless what transformers will read are safetensors of ``folder``, of one model."""
    if (folder / "adapter_config.json").is_file() and find_spec("peft"):  # transformers would load both, as one
        raise ModelError(
            f"{folder}: a model and an adapter in one folder",
            "Merge it into the model first; if it is merged already, copy the folder without adapter_config.json.",
        )
    for name in _named_weights(folder):
        if not name.endswith(".safetensors") or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ModelError(
                f"{folder}: its weights are said to be in {name!r}, which isn't a .safetensors file of that folder",
                "Fetch the model again; only safetensors beside its config.json are read.",
            )


def _named_weights(folder: Path) -> Iterator[str]:
    """The files that the settings and the index of a model name: transformers would open whatever they say."""
    named = str(_said(folder / "config.json").get("transformers_weights") or "model.safetensors")
    if not (folder / named).is_file() and named == "model.safetensors":
        named += _INDEX
    if named.endswith(f".safetensors{_INDEX}") and isinstance(shards := _said(folder / named).get("weight_map"), dict):
        yield from map(str, shards.values())
        named = named.removesuffix(_INDEX)
    yield named


def _said(file: Path) -> dict[str, Any]:
    """What stands in a JSON file; nothing if it is damaged, which is said where the model is read."""
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
