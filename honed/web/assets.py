"""The files that pages load: the package's own, and plotly's from the package that is installed. Nothing else."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent / "static"


def router() -> APIRouter:
    """Serve ``/static/<file>``. A browser asks each time whether a file has changed; plotly.js it keeps for good."""
    routes = APIRouter()
    files = StaticFiles(directory=_FOLDER)

    @routes.get("/static/plotly.min.js", include_in_schema=False)
    def plotly() -> FileResponse:
        path = Path(str(importlib.resources.files("plotly") / "package_data" / "plotly.min.js"))
        keep = {"Cache-Control": "public, max-age=31536000, immutable"}  # pages name it with its version
        return FileResponse(path, media_type="text/javascript", headers=keep)

    @routes.get("/static/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["Cache-Control"] = "no-cache"
        return response

    return routes
