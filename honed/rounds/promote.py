"""Which model is live: put there by hand, and taken back step by step. A round moves it in its worker."""

from __future__ import annotations

from honed.errors import DataError, StoreError
from honed.evaluate import gated
from honed.records import Record
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace


class Moved(Record):
    """A step of an alias: from which model (None: the alias is new) to which, and why; ``was`` is why it was there.

    ``gate`` is what ``honed gate`` said of a model that is promoted by hand, in words; "" if it wasn't asked.
    """

    alias: str
    before: str | None
    now: str
    why: str
    was: str = ""
    gate: str = ""


def promote(workspace: Workspace, model: str, alias: str, why: str) -> Moved:
    """Let ``alias`` name ``model`` by hand. Raises ``StoreError`` if there is no such model, or it has the alias."""
    before = aliases.target(workspace, alias)
    found = artifacts.resolve(workspace, "models", aliases.resolve(workspace, model))
    if found.ref == before:
        raise StoreError(f"{before} is {alias!r} already", "Name another model: honed models list")
    aliases.move(workspace, alias, found.ref, why=why, left=before)
    return Moved(alias=alias, before=before, now=found.ref, why=why, gate=_gate(workspace, found.ref))


def rollback(workspace: Workspace, alias: str, why: str = "") -> Moved:
    """Let ``alias`` name the model that it named before; a second time, the one before that.

    Raises ``StoreError`` if there is no such alias, or no model before.
    """
    last, back = aliases.move_back(workspace, alias, why=why)
    return Moved(alias=alias, before=last.model, now=back.model, why=back.why, was=last.why)


def _gate(workspace: Workspace, model: str) -> str:
    """Say what the newest decision of ``honed gate`` on a model was, and who overruled it, if it was signed here."""
    try:
        made = gated.of_model(workspace, model)
    except DataError as error:
        return f"What the gate said of {model} can't be relied on: {error.message}."
    if made is None:
        return ""
    said = f"The gate said {made.judgement.verdict} of {model} against {made.sides[0].base} ({made.when})"
    if made.override:
        said += f", overridden by {made.override.who}: {made.override.reason}"
    return f"{said}: {made.judgement.reasons[0]}" if made.judgement.verdict != "promote" else f"{said}."
