"""``/api/rounds``: what each round learned from, measured and decided, as JSON."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from honed.errors import RequestError, StoreError
from honed.rounds import outcome
from honed.rounds.outcome import RoundOutcome
from honed.store import artifacts
from honed.store.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """List rounds, and show one."""
    routes = APIRouter(prefix="/api/rounds", tags=["rounds"])

    @routes.get("")
    def all_rounds() -> dict[str, Any]:
        return {"rounds": [found.model_dump(mode="json") for found in listing(workspace)]}

    @routes.get("/{ref}")
    def one(ref: str) -> dict[str, Any]:
        return find(workspace, ref).model_dump(mode="json")

    return routes


def listing(workspace: Workspace) -> list[RoundOutcome]:
    """Return every round that ended, promoted or held, newest first."""
    return list(reversed(outcome.listing(workspace)))


def find(workspace: Workspace, ref: str) -> RoundOutcome:
    """Return the round ``name@vN``, or the newest of a name. Raises ``RequestError`` (404) if there is none."""
    try:
        return outcome.read(artifacts.resolve(workspace, "rounds", ref))
    except StoreError as error:
        raise RequestError(error.message, error.hint, status=404, code="round_not_found") from error
