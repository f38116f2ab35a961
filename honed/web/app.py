"""The whole web application: OpenAI's API, feedback, the JSON of jobs, models and rounds, and the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from honed.feedback import routes as feedback
from honed.serve import routes as serve
from honed.serve.answer import Answers
from honed.serve.config import ServeConfig
from honed.serve.pool import Pool
from honed.store.interactions import Interactions
from honed.store.tokens import Signer
from honed.store.workspace import Workspace
from honed.version import __version__
from honed.web import assets, errors, login
from honed.web.api import jobs, models, rounds
from honed.web.guard import Guard
from honed.web.pages import chat as chat_page
from honed.web.pages import jobs as jobs_page
from honed.web.pages import models as models_page
from honed.web.pages import rounds as rounds_page


def make_app(workspace: Workspace, pool: Pool, store: Interactions, signer: Signer, config: ServeConfig) -> FastAPI:
    """Return the application over what is open already; the caller closes ``pool`` and the store's database.

    When it shuts down, running answers are cancelled and what came of them is stored.
    """
    answers = Answers(pool, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await answers.close()

    app = FastAPI(title="honed", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    errors.install(app)
    app.add_middleware(Guard, token=config.token)
    app.include_router(serve.router(pool, answers, signer, config))
    app.include_router(feedback.router(store, signer))
    for api in (jobs, models, rounds):
        app.include_router(api.router(workspace))
    app.include_router(chat_page.router(pool.names, config))
    for page in (jobs_page, models_page, rounds_page):
        app.include_router(page.router(workspace))
    app.include_router(assets.router())
    app.include_router(login.router(config.token))
    return app
