"""``/rounds`` and ``/rounds/{ref}``: what each round learned from, and why its model went live or did not."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from honed.store import aliases
from honed.store.workspace import Workspace
from honed.web.api import rounds
from honed.web.render import page


def router(workspace: Workspace) -> APIRouter:
    """The list and a round's own page."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/rounds")
    def all_rounds() -> HTMLResponse:
        return page("rounds.html", here="rounds", rounds=rounds.listing(workspace))

    @routes.get("/rounds/{ref}")
    def one(ref: str) -> HTMLResponse:
        found = rounds.find(workspace, ref)
        return page("round.html", here="rounds", round=found, now=aliases.target(workspace, found.alias))

    return routes
