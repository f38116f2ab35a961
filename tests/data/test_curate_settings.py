"""Settings of a recipe that make no sense are refused in words, and each is described."""

from __future__ import annotations

import re
from typing import Any

import pytest

from honed.config import build
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.table import STEPS
from honed.errors import ConfigError, StoreError
from honed.store.workspace import Workspace
from tests.data.curated import curated, queued, said, stored


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("english", "did you mean 'English'?"),
        ("Germn", "did you mean 'German'?"),
        ("Russian", "Russian is told by its script only: Cyrillic"),
        ("unclear", "rows that can't be told stay, unless unclear is drop"),
        ("Klingon", "there are Arabic, Chinese,"),
    ],
)
def test_a_language_that_is_not_told_is_refused_by_name(workspace: Workspace, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        queued(workspace, "languages", languages={"keep": ["English", name]})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": ["near", "near"]}, "only once"),
        ({"steps": ["nearly"]}, "Input should be"),
        ({"steps": ["tokens"]}, "set tokens.model"),
        ({"near": {"threshold": 0.5}, "steps": ["exact"]}, "settings of near say what that step does"),
        ({"near": {"treshold": 0.8}}, "unknown key"),
        ({"decontaminate": {"drop_at": 4}}, "can't be under report_at"),
        ({"pii": {"kinds": {"e-mail": "mask"}}}, "'e-mail' is no kind; did you mean 'email'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(CurateConfig, {"dataset": "a", "name": "b", **values}, "recipe.yaml")


def test_every_step_has_settings_that_are_described() -> None:
    assert set(STEPS) < set(CurateConfig.model_fields)
    for name in STEPS:
        settings = getattr(CurateConfig(dataset="a", name="b"), name)
        assert all(field.description for field in type(settings).model_fields.values())


def test_an_evaluation_set_that_is_not_there_is_named(workspace: Workspace) -> None:
    stored(workspace, [said("a", "b")])
    with pytest.raises(ConfigError, match="no such file or suite"):
        curated(workspace, "decontaminate", decontaminate={"against": ["nowhere/set.jsonl"]})
    with pytest.raises(StoreError, match="there is no dataset"):
        curated(workspace, "decontaminate", decontaminate={"against": ["other"]})
