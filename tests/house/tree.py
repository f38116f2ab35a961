"""The project's own files, for the tests that hold the house rules."""

from __future__ import annotations

import ast
import gc
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def files() -> list[Path]:
    """Every file that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return sorted(path for path in paths if path.is_file())


def python_files(*folders: str) -> list[Path]:
    """The Python files below the given folders of the project, or all of them."""
    return [
        path
        for path in files()
        if path.suffix == ".py" and (not folders or any(path.is_relative_to(ROOT / folder) for folder in folders))
    ]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    collects = gc.isenabled()
    gc.disable()  # a tree is kept, and has no garbage: each look through all of them would be in vain
    try:
        return ast.parse(path.read_text(), str(path))
    finally:
        if collects:
            gc.enable()


def name_of(path: Path) -> str:
    """The path as people write it, from the project's root."""
    return str(path.relative_to(ROOT))
