"""Suites that are another harness's tasks, told by their names: ``lm-eval:TASK`` and ``inspect:FILE.py@TASK``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from honed.errors import ConfigError

PACKAGES = {"lm-eval": "lm_eval", "inspect": "inspect_ai"}
"""Each harness's name in honed, which is its extra's as well, and the package that it is."""


def harness(suites: Sequence[str]) -> str | None:
    """Return the harness whose tasks the suites are, or None if they are suites of honed.

    Raises ``ConfigError`` for suites of two kinds.
    """
    kinds = {_split(suite)[0] for suite in suites}
    if len(kinds) > 1:
        names = " and ".join(sorted(kind or "honed" for kind in kinds))
        raise ConfigError(f"the suites are of {names}, which run apart", "Measure them in evaluations of their own.")
    return kinds.pop() if kinds else None


def tasks(suites: Sequence[str]) -> list[str]:
    """Return the names that the harness knows its tasks by."""
    return [_split(suite)[1] for suite in suites]


def pinned(suites: Sequence[str]) -> tuple[str, ...]:
    """Return what a job keeps of them: paths are absolute. Whether a harness knows the task, the job finds out.

    Raises ``ConfigError`` if the harness isn't installed, a file isn't there, or a task is named twice.
    """
    found = tuple(_pinned(*_split(suite)) for suite in suites)
    if twice := [name for place, name in enumerate(found) if name in found[:place]]:
        raise ConfigError(f"the suite {twice[0]!r} is asked for twice", "Name each suite once.")
    return found


def _split(suite: str) -> tuple[str | None, str]:
    kind, colon, name = suite.partition(":")
    return (kind, name) if colon and kind in PACKAGES else (None, suite)


def _pinned(kind: str | None, name: str) -> str:
    assert kind is not None, "suites of honed have their own way"
    if find_spec(PACKAGES[kind]) is None:
        package = PACKAGES[kind].replace("_", "-")
        raise ConfigError(f"{kind}:{name} needs {package}, which isn't installed", f"pip install 'honed[{kind}]'")
    if not name:
        like = {"lm-eval": "lm-eval:arc_easy or lm-eval:FILE.yaml", "inspect": "inspect:FILE.py@TASK"}[kind]
        raise ConfigError(f"'{kind}:' names no task", f"Write it like {like}.")
    file, at, task = name.partition("@")
    if Path(file).suffix not in (".py", ".yaml", ".yml"):
        return f"{kind}:{name}"
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"{kind}:{name}: there is no file {path}", "Check the path.")
    return f"{kind}:{path}{at}{task}"
