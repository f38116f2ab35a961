"""What of a model training reaches: layers that stay as they are, each with why, and weights that text doesn't move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

READ = "the code around them reads their weights without calling them"
NOT_TEXT = "no text goes through them"

EXPERTS = frozenset(("gate", "gate_proj", "up_proj", "down_proj"))
"""Names that PEFT takes for those of the experts, whichever layer has them."""

RENAMED = frozenset(
    (
        "afmoe",
        "beam",
        "cohere2_moe",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "dots1",
        "ernie4_5_moe",
        "exaone_moe",
        "flex_olmo",
        "glm4_moe",
        "glm4_moe_lite",
        "glm4v_moe",
        "glm_moe_dsa",
        "hunyuan_v1_moe",
        "longcat_flash",
        "mellum",
        "olmoe",
        "qwen3_moe",
        "qwen3_next",
        "qwen3_omni_moe",
        "qwen3_omni_moe_text",
        "qwen3_omni_moe_thinker",
        "solar_open",
    )
)
"""Model types of which PEFT turns targets of these names into the experts' tensors (``_convert_peft_config_moe``)."""


_READ = frozenset(("weights_proj", "prediction_coefs", "correction_coefs", "wg", "classifier"))
"""Layers of DeepSeek's indexer, Gemma 3n and some routers of which the code asks for the weight itself."""


def apart(model: PreTrainedModel) -> dict[str, str]:
    """Return the parts of the model in which no layer gets an adapter or 4 bits, each with why.

    A state-space module (Mamba and its kin: a convolution, and ``D``, which skips the state) hands the weights of its
    layers to fused code; ``in_proj`` alone is called by all of them. Other modules with a convolution (LFM2,
    Qwen3-Next) call all their layers.
    """
    found = dict.fromkeys(_beside_text(model), NOT_TEXT)
    for name, module in model.named_modules():
        inner = dict(module.named_children())
        states = hasattr(module, "D") and any(isinstance(part, nn.Conv1d) for part in inner.values())
        read = inner.keys() - {"in_proj"} if states else inner.keys() & _READ
        found |= {f"{name}.{part}": READ for part in inner if part in read}
    return found


def why_apart(layer: str, parts: Mapping[str, str]) -> str | None:
    """Return why ``layer`` stays as it is, by what ``apart`` found; None if it needn't."""
    return next((why for part, why in parts.items() if layer == part or layer.startswith(f"{part}.")), None)


def misread(model: PreTrainedModel, layers: Sequence[str]) -> list[str]:
    """Return those of ``layers`` whose adapters PEFT would put on the experts' tensors instead."""
    if model.config.model_type not in RENAMED:
        return []
    return [layer for layer in layers if layer.rpartition(".")[2] in EXPERTS]


def freeze_beside_text(model: PreTrainedModel) -> None:
    """Freeze the weights that no text goes through: nothing moves them, and the optimizer would hold copies of them."""
    for part in _beside_text(model):
        model.get_submodule(part).requires_grad_(False)


def beside_text(model: PreTrainedModel) -> int:
    """Return how many weights ``freeze_beside_text`` freezes."""
    return sum(p.numel() for part in _beside_text(model) for p in model.get_submodule(part).parameters())


def _beside_text(model: PreTrainedModel) -> list[str]:
    """Return the parts that stand beside the text's decoder, its embeddings and its head: a vision tower, say.

    None where the model has settings for text alone, or doesn't tell its decoder.
    """
    decoder = model.get_decoder()
    if model.config.get_text_config() is model.config or decoder is model:
        return []
    text = (decoder, model.get_input_embeddings(), model.get_output_embeddings())
    around = {
        name for name, module in model.named_modules() if module is not decoder and decoder in set(module.modules())
    }
    return [
        name
        for name, module in model.named_modules()
        if name and name not in around and name.rpartition(".")[0] in around and module not in text
    ]
