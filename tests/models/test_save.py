"""A saved model's tokenizer and template are those that it was trained with, in whatever form its base had them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import (
    AutoConfig,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaTokenizer,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
)

from honed.errors import ModelError
from honed.models import load
from honed.models import save as saving
from tests.tiny import END, PAD, START, TEMPLATE, tiny_folder, tiny_model, tiny_tokenizer


def of_old_llama(folder: Path) -> None:
    """Give a folder the tokenizer of an older derivative of Llama: a space goes before every piece between marks."""
    marks = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b"]
    vocab = {piece: at for at, piece in enumerate(marks)}
    tokenizer = LlamaTokenizer(vocab=vocab, merges=[], eos_token=END, extra_special_tokens=[START])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"legacy": True}))


def test_a_tokenizer_whose_class_makes_it_anew_is_saved_as_the_one_that_was_trained_with(tmp_path: Path) -> None:
    of_old_llama(tiny_folder(tmp_path / "base"))
    chat = load.load_chat(str(tmp_path / "base"), None)
    saving.save(tiny_model(), chat, tmp_path / "saved")
    again = load.load_chat(str(tmp_path / "saved"), None)
    assert again.hash == chat.hash
    text = f"a{END}a"
    assert again.tokenizer(text)["input_ids"] == chat.tokenizer(text)["input_ids"]
    assert again.tokenizer.eos_token == END


def test_a_template_with_line_ends_of_windows_is_saved_as_it_is(tmp_path: Path) -> None:
    chat = load.from_tokenizer(tiny_tokenizer(TEMPLATE.replace("{% if", "{# the answer #}\r\n{% if")))
    saving.save(tiny_model(), chat, tmp_path)
    assert load.load_chat(str(tmp_path), None).hash == chat.hash


def test_a_chat_format_that_can_not_be_kept_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = load.from_tokenizer(tiny_tokenizer())
    other = replace(chat, pad_id=0)
    monkeypatch.setattr(saving, "chat_in", lambda _: other)
    with pytest.raises(ModelError, match=f"another chat format .{other.hash}. than before .{chat.hash}."):
        saving.save(tiny_model(), chat, tmp_path)


def test_positions_and_tokenizer_are_said_in_the_words_of_transformers_4_too(tmp_path: Path) -> None:
    model, chat = tiny_model(), load.from_tokenizer(tiny_tokenizer())
    far = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    for name, rope in (("near", {"rope_type": "default"}), ("far", far)):
        model.config.rope_parameters = {"rope_theta": 5e5, **rope}
        saving.save(model, chat, tmp_path / name)
        said = json.loads((tmp_path / name / "config.json").read_text())
        assert said["rope_theta"] == 5e5 and said.get("rope_scaling") == (far if name == "far" else None)
        read = load.load(str(tmp_path / name), None).model.config
        assert read.rope_parameters == model.config.rope_parameters
    told = json.loads((tmp_path / "near" / "tokenizer_config.json").read_text())
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast"


FAR = {"rope_theta": 20000.0, "rope_type": "linear", "factor": 4.0}
LONG = {"rope_theta": 1e4, "rope_type": "longrope", "type": "longrope"} | {
    name: [1.0] * 48 for name in ("short_factor", "long_factor")
}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            GPTNeoXConfig(rope_parameters={**FAR, "partial_rotary_factor": 1.0}),
            {"rotary_emb_base": 20000.0, "rotary_pct": 1.0},
        ),
        (Phi3Config(rope_parameters=LONG | {"original_max_position_embeddings": 4096}), {"rope_theta": 1e4}),
        (Olmo2Config(rope_parameters=FAR), {"rope_theta": 20000.0}),
        (Gemma3TextConfig(), {}),
    ],
    ids=lambda one: getattr(one, "model_type", ""),
)
def test_what_is_said_for_transformers_4_is_never_what_transformers_5_reads_otherwise(
    config: PretrainedConfig, said: dict[str, float], tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).rope_parameters
    saving._for_older(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == before
    found = json.loads((tmp_path / "config.json").read_text())
    assert said.items() <= found.items() and found["rope_parameters"] == config.rope_parameters
    if config.model_type in ("phi3", "olmo2"):  # any other key is an error there
        assert set(found.get("rope_scaling", {})) <= {"type", "short_factor", "long_factor", "factor"}


def test_special_tokens_without_a_role_have_the_name_that_transformers_4_reads_too(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|x|>"]})
    chat = load.from_tokenizer(tokenizer)
    model = tiny_model()
    model.resize_token_embeddings(260)
    saving.save(model, chat, tmp_path)
    stated = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert stated["additional_special_tokens"] == ["<|x|>"] and "extra_special_tokens" not in stated
    assert load.load_chat(str(tmp_path), None).hash == chat.hash


def test_without_a_pad_token_the_end_of_text_pads_whatever_else_ends_an_answer(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token, tokenizer.eos_token = None, PAD  # 258; answers end with 257
    chat = load.from_tokenizer(tokenizer)
    assert (chat.pad_id, chat.stop_ids) == (258, {257, 258})
    saving.save(tiny_model(), chat, tmp_path)
    assert load.load_chat(str(tmp_path), None).hash == chat.hash
