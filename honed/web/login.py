"""``/login``: how a browser brings the token that programs send in a header."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from honed.web.guard import LOGIN_COOKIE, login_value, same
from honed.web.render import page

_MONTH = 30 * 24 * 3600


def router(token: str | None) -> APIRouter:
    """The form, and the cookie for who fills it in rightly. Without a token everyone is in already."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def form() -> Response:
        return RedirectResponse("/", 303) if token is None else page("login.html", here="login", wrong=False)

    @routes.post("/login")
    async def log_in(request: Request) -> Response:
        given = parse_qs((await request.body()).decode(errors="replace")).get("token", [""])[0]
        if token is not None and not same(given, token):
            return page("login.html", here="login", wrong=True, status=403)
        response = RedirectResponse("/", 303)
        if token is not None:
            secure = request.scope["scheme"] == "https"
            response.set_cookie(
                LOGIN_COOKIE, login_value(token), max_age=_MONTH, httponly=True, samesite="strict", secure=secure
            )
        return response

    return routes
