"""Every setting is described, read by its stage, and reachable from the command line."""

from __future__ import annotations

import ast
import importlib

import click
import pytest

from honed.cli import main
from honed.config import Config
from tests.house.tree import ROOT, parsed, python_files

_COMMANDS = {
    "data": ["data", "import"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "serve": ["serve"],
    "rounds": ["round", "run"],
}
_STAGES = sorted(path.parent.name for path in (ROOT / "honed").glob("*/config.py"))


def _model(stage: str) -> type[Config]:
    module = importlib.import_module(f"honed.{stage}.config")
    (model,) = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Config) and item.__module__ == module.__name__
    ]
    return model


def _command(path: list[str]) -> click.Command:
    command: click.Command = main.cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def test_every_stage_is_known_here() -> None:
    assert sorted(_COMMANDS) == _STAGES


@pytest.mark.parametrize("stage", _STAGES)
def test_every_setting_has_a_description(stage: str) -> None:
    missing = [name for name, field in _model(stage).model_fields.items() if not field.description]
    assert missing == []


@pytest.mark.parametrize("stage", _STAGES)
def test_every_setting_is_read_outside_its_declaration(stage: str) -> None:
    read = {
        node.attr
        for path in python_files(f"honed/{stage}")
        if path.name != "config.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert set(_model(stage).model_fields) - read == set()


@pytest.mark.parametrize("stage", _STAGES)
def test_a_stage_has_no_more_settings_than_a_person_can_read(stage: str) -> None:
    assert len(_model(stage).model_fields) <= 45


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_every_flag_of_a_stage_is_one_of_its_settings(stage: str) -> None:
    shared = {"config", "sets", "workspace", "as_json"}
    shared |= {
        "answers",
        "curve",
        "file",
        "reach",
        "served",
        "settings",
        "track",
    }  # stored answers need no stage; a curve is several jobs; a served model is the model; a tracker none
    flags = {param.name for param in _command(_COMMANDS[stage]).params} - shared
    assert flags - set(_model(stage).model_fields) == set()
