"""``/models`` and ``/models/{ref}``: which models there are, which is live, and where each came from."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from honed.store.workspace import Workspace
from honed.web.api import models
from honed.web.render import page


def router(workspace: Workspace) -> APIRouter:
    """The list and a model's own page."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/models")
    def all_models() -> HTMLResponse:
        return page("models.html", here="models", models=models.listing(workspace))

    @routes.get("/models/{ref}")
    def one(ref: str) -> HTMLResponse:
        return page("model.html", here="models", model=models.describe(workspace, ref))

    return routes
