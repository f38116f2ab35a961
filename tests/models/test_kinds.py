"""Which kinds of models are loaded: those that transformers would give in part are refused, or said to be that part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import BartConfig, BartForConditionalGeneration

from honed.errors import ModelError
from honed.models import load
from tests.tiny import tiny_folder


@pytest.mark.parametrize("how", [load.load, load.outline])
def test_an_encoder_with_a_decoder_is_refused_and_not_loaded_as_half_of_it(how: Any, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "bart")
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 64}
    ids = {"vocab_size": 259, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
    BartForConditionalGeneration(BartConfig(**sizes, **heads, **ids)).save_pretrained(folder)
    with pytest.raises(ModelError, match="bart is an encoder and a decoder"):
        how(str(folder), None)
