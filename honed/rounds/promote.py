"""Which model is live: put there by hand, and taken back step by step. A round moves it in its worker."""

from __future__ import annotations

from honed.errors import StoreError
from honed.records import Record
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace


class Moved(Record):
    """A step of an alias: from which model (None: the alias is new) to which, and why; ``was`` is why it was there."""

    alias: str
    before: str | None
    now: str
    why: str
    was: str = ""


def promote(workspace: Workspace, model: str, alias: str, why: str) -> Moved:
    """Let ``alias`` name ``model`` by hand. Raises ``StoreError`` if there is no such model, or it has the alias."""
    before = aliases.target(workspace, alias)
    found = artifacts.resolve(workspace, "models", aliases.resolve(workspace, model))
    if found.ref == before:
        raise StoreError(f"{before} is {alias!r} already", "Name another model: honed models list")
    aliases.move(workspace, alias, found.ref, why=why, left=before)
    return Moved(alias=alias, before=before, now=found.ref, why=why)


def rollback(workspace: Workspace, alias: str, why: str = "") -> Moved:
    """Let ``alias`` name the model that it named before; a second time, the one before that.

    Raises ``StoreError`` if there is no such alias, or no model before.
    """
    last, back = aliases.move_back(workspace, alias, why=why)
    return Moved(alias=alias, before=last.model, now=back.model, why=back.why, was=last.why)
