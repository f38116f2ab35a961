"""What others call our settings: each word leads to something that is there."""

from __future__ import annotations

import re

import click
import pytest
import yaml
from pydantic import TypeAdapter

from honed.cli import main
from honed.config import Config, _innermost, load
from honed.errors import ConfigError
from honed.evaluate.config import EvaluateConfig
from honed.serve.config import ServeConfig
from honed.train.config import TrainConfig
from honed.train.synonyms import _WORDS, SYNONYMS
from tests.house.tree import name_of, python_files

_MODELS = (TrainConfig, EvaluateConfig, ServeConfig)


def test_every_model_that_has_synonyms_is_known_here() -> None:
    declared = [name_of(path) for path in python_files("honed") if "    synonyms: ClassVar" in path.read_text()]
    known = [f"{model.__module__.replace('.', '/')}.py" for model in (Config, *_MODELS)]
    assert sorted(declared) == sorted(known)


@pytest.mark.parametrize("model", _MODELS)
def test_every_synonym_leads_to_a_setting_a_value_it_may_have_or_a_command(model: type[Config]) -> None:
    for word, ours in model.synonyms.items():
        assert word not in model.model_fields, word
        if ours.startswith("honed "):
            _is_a_command(ours)
            continue
        path, _, value = ours.partition(":")
        home, name = _innermost(model, path.split("."))
        assert name in home.model_fields and home.model_fields[name].description, (word, ours)
        if value:
            TypeAdapter(home.model_fields[name].annotation).validate_python(yaml.safe_load(value))


def _is_a_command(line: str) -> None:
    command: click.Command = main.cli
    words = line.split()[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    command.make_parser(click.Context(command)).parse_args(words)


def test_no_word_of_others_means_two_things() -> None:
    assert len(SYNONYMS) == sum(len(words.split()) for words in _WORDS.values())


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("lr", "learning_rate"),
        ("beta", "preference.beta"),
        ("dpo_beta", "preference.beta"),
        ("lora_r", "lora.rank"),
        ("r", "lora.rank"),
        ("lora_alpha", "lora.alpha"),
        ("eval_steps", "eval_every"),
        ("save_steps", "checkpoint_every"),
        ("bf16", "precision: bf16"),
        ("fp16", "precision"),
        ("dtype", "precision"),
        ("load_in_4bit", "weights: qlora"),
        ("gradient_accumulation_steps", "batch_tokens"),
        ("per_device_train_batch_size", "batch_tokens"),
        ("num_train_epochs", "epochs"),
        ("max_steps", "epochs"),
        ("steps", "epochs"),
        ("max_seq_length", "max_length"),
        ("cutoff_len", "max_length"),
        ("seq_len", "max_length"),
        ("warmup_ratio", "warmup"),
        ("gradient_checkpointing", "activation_checkpointing"),
        ("report_to", "honed train --track NAME"),
    ],
)
def test_a_setting_of_another_tool_is_answered_with_ours(word: str, ours: str) -> None:
    with pytest.raises(ConfigError, match=f"train: unknown key '{word}'") as raised:
        load(TrainConfig, "train", None, ("base=b", "data=d", f"{word}=1"), {})
    assert raised.value.hint.startswith(f"Here it is '{ours}'")


@pytest.mark.parametrize("word", ["optimizer", "logging_steps", "optim", "dataloader_num_workers"])
def test_what_no_setting_stands_for_is_not_answered_with_one_that_looks_a_little_like_it(word: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(TrainConfig, "train", None, ("base=b", "data=d", f"{word}=1"), {})
    assert raised.value.hint.startswith("Known keys: ")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lora.r", "Here it is 'rank': rank of the adapters"),
        ("lora.target_modules", "Here it is 'targets': layers that get adapters"),
        ("preference.loss_type", "Here it is 'dpo_loss': dpo: sigmoid lets"),
        ("lora.lr", "Known keys: alpha"),
    ],
)
def test_inside_a_group_a_word_is_answered_with_the_groups_own(word: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"train: unknown key '{re.escape(word)}'") as raised:
        load(TrainConfig, "train", None, ("base=b", "data=d", f"{word}=8"), {})
    assert raised.value.hint.startswith(hint)
