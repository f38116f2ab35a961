"""The shape of the code: sizes, layers, rooms, names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

import honed
from tests.house.tree import ROOT, name_of, parsed, python_files

PUBLIC = [
    "__version__",
    "init_workspace",
    "open_workspace",
    "Workspace",
    "DataConfig",
    "start_import",
    "TrainConfig",
    "start_training",
    "EvaluateConfig",
    "start_evaluation",
    "compare_jobs",
    "RoundConfig",
    "start_round",
    "promote",
    "rollback",
    "explain",
    "wait",
    "Job",
    "Message",
    "Check",
    "Conversation",
    "Preference",
    "Score",
    "HonedError",
]


def test_no_file_is_longer_than_400_lines() -> None:
    long = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in python_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in long.items() if lines > 60} == {}


def test_no_file_is_a_drawer_of_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "tools"}
    assert [name_of(path) for path in python_files() if drawers & set(path.with_suffix("").parts[-2:])] == []


def test_the_init_of_a_room_is_empty() -> None:
    rooms = [path for path in python_files("honed") if path.name == "__init__.py" and path.parent != ROOT / "honed"]
    assert [name_of(path) for path in rooms if parsed(path).body] == []


def test_every_module_says_what_it_is_in_one_line() -> None:
    silent = [
        name_of(path)
        for path in python_files("honed")
        if path.read_text().strip() and not (ast.get_docstring(parsed(path)) or "").splitlines()
    ]
    assert silent == []


def test_nothing_is_left_to_do() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX:")
    assert [name_of(path) for path in python_files() if any(mark in path.read_text() for mark in marks)] == []


def test_the_layers_hold() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_the_public_names_are_these() -> None:
    assert honed.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_the_one_of_its_home(name: str) -> None:
    found = getattr(honed, name)
    if name != "__version__":
        assert getattr(importlib.import_module(found.__module__), found.__name__) is found


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="zebra"):
        honed.zebra  # noqa: B018 - the look-up is the test
