"""The application of a blind comparison: one page, and the JSON that it asks for. No models, no database."""

from __future__ import annotations

from fastapi import FastAPI

from honed.evaluate.judge.ballots import Ballots
from honed.version import __version__
from honed.web import assets, errors, login
from honed.web.guard import Guard
from honed.web.pages import blind


def make_app(ballots: Ballots, guide: str, token: str | None) -> FastAPI:
    """Return the application over the ballots; ``guide`` tells people what counts, ``token`` guards all of it."""
    app = FastAPI(title="honed", version=__version__, docs_url=None, redoc_url=None)
    errors.install(app)
    app.add_middleware(Guard, token=token)
    app.include_router(blind.router(ballots, guide))
    app.include_router(assets.router())
    app.include_router(login.router(token))
    return app
