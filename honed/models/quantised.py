"""Checkpoints with quantised weights: which of them are read as plain ones, and that nothing of any is lost unsaid."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

_READ = {"mxfp4": "", "fp8": "accelerate", "mxfp8": "accelerate", "compressed-tensors": "compressed_tensors"}
"""Methods whose weights transformers gives as plain ones, each with the module of a package that this takes."""


def ask_for_plain(folder: Path, config: PretrainedConfig) -> None:
    """Have ``config`` say that the weights of ``folder``, if they are quantised, are to be loaded as plain ones.

    Weights in 8 or 4 bits can't be trained, and layers of other types wouldn't be found. Raises ``ModelError`` if
    transformers can't give plain weights of these: of a method that it doesn't know it would take codes for weights.
    """
    for part in _quantised(config):
        _check(folder, part.quantization_config)
        part.quantization_config = {**part.quantization_config, "dequantize": True}


def forget(model: PreTrainedModel, config: PretrainedConfig, dtype: torch.dtype) -> None:
    """Make ``model`` a plain one in ``dtype`` if ``config`` asked for that: it would be saved as a quantised one."""
    import torch

    if not _quantised(config):
        return
    for part in _quantised(model.config):
        del part.quantization_config
    del model._weight_conversions  # saving reverts them: those of fp8 would make codes again
    wide = model._keep_in_fp32_modules_strict or ()
    for name, weight in model.named_parameters():  # what stands beside codes of fp8 has the type of the file
        weight.data = weight.data.to(torch.float32 if any(part in name for part in wide) else dtype)


def lost(model: PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Return those of the names of tensors without a place in ``model`` that belong to layers which it has.

    Scales of weights in 8 bits, say, or biases. What belongs to other layers (those that predict further tokens, a
    tower) may be left aside, and so may scales of what goes into a layer or comes out of it.
    """
    layers = {
        name
        for name, module in model.named_modules()
        if name and next(module.children(), None) is None and next(module.parameters(recurse=False), None) is not None
    }
    return sorted(
        name
        for name in unexpected
        if not name.rpartition(".")[2].startswith(("input_", "output_"))
        and not layers.isdisjoint((*_above(name), *_above(f"{model.base_model_prefix}.{name}")))
    )


def _quantised(config: PretrainedConfig) -> list[Any]:
    """Return those of the settings, all and the text's, that say how the weights are quantised."""
    text = config.get_text_config()
    return [
        part for part in (config, *([] if text is config else [text])) if getattr(part, "quantization_config", None)
    ]


def _above(name: str) -> Iterable[str]:
    return accumulate(name.split("."), "{}.{}".format)


def _check(folder: Path, stated: Mapping[str, Any]) -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as KINDS

    method = stated.get("quant_method") or "bitsandbytes"
    package = _READ.get(method)
    # A table of embeddings would stay quantised: transformers takes it for too large to be anything else.
    reads = method in KINDS and "dequantize" in inspect.signature(KINDS[method]).parameters
    if package is None or not reads or stated.get("modules_to_convert"):
        bits = 4 if stated.get("load_in_4bit") else 8 if stated.get("load_in_8bit") else stated.get("bits")
        how = f"{method} {bits}-bit" if bits else method
        raise ModelError(
            f"{folder}: its weights are quantised ({how}), and can't be read as plain ones",
            "Name the unquantised model; --weights qlora makes 4 bits of it.",
        )
    if package and find_spec(package) is None:
        name = package.replace("_", "-")
        raise ModelError(
            f"{folder}: its weights are quantised ({method}), and are read with {name}, which isn't installed",
            f"Run: pip install {name}. Or name the unquantised model.",
        )
