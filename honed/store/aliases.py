"""Aliases such as ``live``: names that move from one model version to another, and where each has been.

One file an alias, ``aliases/<name>.jsonl``, a line a move, the newest last. A move is one whole appended line, synced
before it counts, so a crash leaves the alias where it was or where it goes, and every step can be taken back.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Sequence

from pydantic import Field, ValidationError

from honed.errors import StoreError
from honed.records import Record
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace, lock, writing

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Move(Record):
    """One step of an alias: which model it names from ``time`` (Unix) on, and why. ``back``: it undoes a step."""

    model: str
    why: str
    round: str = ""
    back: bool = False
    time: float = Field(default_factory=time.time)


def target(workspace: Workspace, name: str) -> str | None:
    """Return the model (``name@vN``) that an alias names now, or None if there is no such alias."""
    moves = history(workspace, name)
    return moves[-1].model if moves else None


def resolve(workspace: Workspace, spec: str) -> str:
    """Return the model that ``spec`` names if it is an alias, else ``spec`` as it is."""
    return target(workspace, spec) or spec


def names(workspace: Workspace) -> list[str]:
    """Return every alias, sorted."""
    return sorted(path.stem for path in (workspace.path / "aliases").glob("*.jsonl"))


def history(workspace: Workspace, name: str) -> list[Move]:
    """Return every move of an alias, oldest first; none if there is no such alias."""
    path = workspace.path / "aliases" / f"{name}.jsonl"
    if not _NAME.fullmatch(name) or not path.exists():
        return []
    moves = []
    for line in path.read_bytes().splitlines():
        try:
            moves.append(Move.model_validate_json(line))
        except ValidationError:
            continue  # torn by a kill before it was acknowledged
    return moves


def move(
    workspace: Workspace, name: str, model: str, *, why: str, round_: str = "", left: str | None = None
) -> Artifact:
    """Let ``name`` name ``model`` (``name@vN``, or a name for its newest version) and return that model.

    ``left``, if given, is the model that the alias must name until now. Raises ``StoreError`` if it names another by
    now, if there is no such model, or if the alias can't be a name or a model has it already.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} can't be an alias", "Use lower-case letters, digits and '-'; 32 at most.")
    if (workspace.models / name).exists():
        raise StoreError(f"{name!r} is a model of {workspace.path}", "Choose another name for the alias.")
    found = artifacts.resolve(workspace, "models", model)
    _append(workspace, name, Move(model=found.ref, why=why, round=round_), left)
    return found


def standing(moves: Sequence[Move]) -> list[Move]:
    """Return the moves that weren't taken back, oldest first: the last one names the alias's model now."""
    stack: list[Move] = []
    for one in moves:
        if one.back and len(stack) > 1:
            stack.pop()
        elif not stack or stack[-1].model != one.model:
            stack.append(one)
    return stack


def move_back(workspace: Workspace, name: str, *, why: str = "") -> tuple[Move, Move]:
    """Let ``name`` name the model that it named before, a second time the one before that; return both moves.

    The first is the move that was taken back, the second the one that did it. Raises ``StoreError`` if there is no
    such alias, or its model is the first it ever named, or the one before is gone.
    """
    steps = standing(history(workspace, name))
    if not steps:
        known = f"Aliases: {', '.join(names(workspace)) or 'none yet'}."
        raise StoreError(f"there is no alias {name!r} in {workspace.path}", known)
    if len(steps) == 1:
        raise StoreError(
            f"{name!r} named no model before {steps[0].model}, so there is none to go back to",
            f"Name another one: honed promote MODEL --alias {name} --why TEXT",
        )
    last, before = steps[-1], artifacts.resolve(workspace, "models", steps[-2].model)
    back = Move(model=before.ref, why=why or f"back from {last.model}", back=True)
    _append(workspace, name, back, last.model)
    return last, back


def _append(workspace: Workspace, name: str, step: Move, left: str | None) -> None:
    folder = workspace.path / "aliases"
    with writing(folder):
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.jsonl").open("ab") as file:
            lock(file, fcntl.LOCK_EX)
            if left is not None and (now := target(workspace, name)) != left:
                raise StoreError(f"{name!r} names {now} by now, no longer {left}", "See: honed models list")
            line = step.model_dump_json().encode() + b"\n"
            whole = file.tell() == 0 or (folder / f"{name}.jsonl").read_bytes().endswith(b"\n")
            file.write(line if whole else b"\n" + line)
            file.flush()
            os.fsync(file.fileno())
