"""Mistral's tokenizer since Nemo splits text as its models have learned, whichever transformers wrote its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from honed.models import load
from honed.models.save import save
from tests.tiny import TEMPLATE, tiny_folder, tiny_model, tiny_tokenizer

MARKS = ["<unk>", "<s>", "</s>", "[INST]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a tokenizer of as many tokens as Tekken, which joins up to three digits."""
    made = tiny_folder(tmp_path_factory.mktemp("tekken"))
    pieces = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "123"]
    pieces += [f"filler {at}" for at in range(131_072 - len(pieces))]
    inner = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, [("1", "2"), ("12", "3")]))
    split = pre_tokenizers.Split(Regex(r"\p{N}{1,3}|[^\p{N}]+"), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<unk>")
    tokenizer.chat_template = TEMPLATE.replace("<|im_start|>", "[INST]").replace("<|im_end|>", "</s>")
    tokenizer.save_pretrained(made)
    return made


def say(folder: Path, *, kind: str = "mistral", by: str = "4.50.0") -> None:
    """Have the model's settings name a type, and the transformers that wrote them."""
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stated | {"model_type": kind, "transformers_version": by}))


def test_each_digit_is_a_token_of_a_mistral_model_that_transformers_4_wrote_and_stays_one(
    folder: Path, tmp_path: Path
) -> None:
    say(folder)
    chat = load.chat_in(folder)
    save(tiny_model(), chat, tmp_path)
    for one in (chat, load.chat_in(tmp_path)):
        assert len(one.tokenizer("1234")["input_ids"]) == 4


@pytest.mark.parametrize("other", [{"kind": "llama"}, {"by": "5.1.0"}])
def test_tokenizers_that_transformers_5_wrote_and_those_of_others_are_left_as_they_are(
    other: dict[str, str], folder: Path
) -> None:
    say(folder, **other)
    assert len(load.chat_in(folder).tokenizer("1234")["input_ids"]) == 2


@pytest.mark.parametrize(("least", "asked"), [(2**17, True), (2**18, None)])
def test_the_mend_is_asked_for_by_the_size_too_and_keeps_the_tokenizer_of_mistrals_own_package_away(
    least: int, asked: bool | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}
    monkeypatch.setattr(load, "_TEKKEN", least)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **how: told.update(how) or tiny_tokenizer())
    say(folder, kind="ministral3", by="5.1.0")
    load.chat_in(folder)
    assert told.get("fix_mistral_regex") is asked  # with it transformers reads tokenizer.json, not tekken.json
