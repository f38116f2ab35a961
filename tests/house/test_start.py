"""Commands start at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from honed.cli.main import COMMANDS
from tests.house.tree import ROOT, name_of, python_files

_HEAVY = (
    "fastapi",
    "huggingface_hub",
    "numpy",
    "plotly",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "sqlalchemy",
    "torch",
    "transformers",
)
_TORCH_FREE = ("cli", "feedback", "jobs", "rounds", "serve", "store", "web")
_SECONDS = 0.3


def _loaded(code: str) -> set[str]:
    """Run ``code`` in a fresh interpreter and return which of the heavy modules it loaded."""
    code += f"\nimport json, sys; print(json.dumps([name for name in {_HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _cpu_seconds(*args: str) -> float:
    """CPU time of ``honed ARGS``, interpreter and all: on an idle machine, the time that passes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from honed.cli.main import main; main()", *args]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_takes_less_than_three_tenths_of_a_second(command: str) -> None:
    args = [part for part in (command, "--help") if part]
    assert any(_cpu_seconds(*args) < _SECONDS for _ in range(5 if not command else 3))


def test_the_help_of_no_command_loads_anything_heavy() -> None:
    walk = """
import contextlib, io, click
from honed.cli import main
def walk(command, path):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main.run([*path, '--help']) == 0, path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), [*path, name])
walk(main.cli, [])
"""
    assert _loaded(walk) == set()


def test_control_code_never_loads_torch() -> None:
    control = [
        path
        for path in python_files("honed")
        if path.relative_to(ROOT).parts[1] in _TORCH_FREE or path.name in ("config.py", "run.py")
        if path.name != "__init__.py"
    ]
    names = [name_of(path).removesuffix(".py").replace("/", ".") for path in control]
    assert "honed.train.run" in names
    assert _loaded("\n".join(f"import {name}" for name in names)) & {"torch", "transformers"} == set()


def test_the_public_names_are_there_without_torch() -> None:
    assert _loaded("import honed\nfor name in honed.__all__: getattr(honed, name)") & {"torch", "transformers"} == set()


def test_importing_honed_loads_nothing_heavy() -> None:
    assert _loaded("import honed") == set()
