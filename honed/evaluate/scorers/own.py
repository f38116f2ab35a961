"""How rows without a check are judged: by a scorer that the user names, ours or a function in a file of their own.

Code is loaded because a person wrote its path in a command or in settings; no row and no suite can name a file.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from honed import registry
from honed.errors import ConfigError
from honed.records import Check, Conversation
from honed.registry import Verifier

OWN = "own"
"""What the check of a row says whose verifier is a file's function: the name is registered nowhere."""


class Scorer(NamedTuple):
    """A verifier, what rows call it, and what results say of it: its name, or its file with the content's hash."""

    name: str
    said: str
    verify: Verifier


def pinned(name: str) -> str:
    """Return a scorer's name as a job keeps it: the path of a file made absolute. Raises as ``find`` does."""
    find(name)
    path, _, function = name.rpartition(":")
    return f"{Path(path).resolve()}:{function}" if path else name


def find(name: str) -> Scorer:
    """Return a registered scorer, or the function of ``path/to/file.py:function``.

    Raises ``ConfigError`` for an unknown name, a file that can't be read or run, and one without that function.
    """
    path, colon, function = name.rpartition(":")
    if not colon:
        return Scorer(name, name, registry.get("verifiers", name))
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"scorer {name}: {file}: {error.strerror}", "Write FILE.py:FUNCTION.") from error
    spec = importlib.util.spec_from_file_location(f"honed_scorer_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"scorer {name}: {file} is no Python file", "Write FILE.py:FUNCTION.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is the user's code
        raise ConfigError(f"scorer {name}: {type(error).__name__}: {error}", "Mend the file.") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"scorer {name}: {file} has no function {function!r}", "Write FILE.py:FUNCTION.")
    return Scorer(OWN, f"{file.name}:{function} ({hashlib.sha256(content).hexdigest()[:12]})", found)


def given(rows: Sequence[Conversation], scorer: Scorer) -> list[Conversation]:
    """Return the rows, those without a check with one by ``scorer``: ``{"answers": [the ideal answer]}``."""
    return [
        row
        if row.check
        else row.model_copy(update={"check": Check(verifier=scorer.name, params={"answers": [row.answer]})})
        for row in rows
    ]
