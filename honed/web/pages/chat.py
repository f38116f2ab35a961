"""``/``: the chat, where a person asks, reads, and says what was good and what was not."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from honed.serve.config import ServeConfig
from honed.store.tokens import SUBJECT_COOKIE
from honed.web.render import page

_YEAR = 365 * 24 * 3600


def router(models: Callable[[], Sequence[Mapping[str, Any]]], config: ServeConfig) -> APIRouter:
    """The chat with any of ``models()`` (``Pool.names``), asking for the segments that the operator declared.

    A browser that comes for the first time gets a random value in a cookie: the person behind all that it says.
    """
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def chat(request: Request) -> HTMLResponse:
        response = page("chat.html", here="chat", models=models(), config=config)
        if SUBJECT_COOKIE not in request.cookies:
            value = secrets.token_urlsafe(24)
            secure = request.url.scheme == "https"
            response.set_cookie(SUBJECT_COOKIE, value, max_age=_YEAR, httponly=True, samesite="strict", secure=secure)
        return response

    return routes
