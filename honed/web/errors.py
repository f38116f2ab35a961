"""The web's edge: whatever goes wrong becomes one body in OpenAI's shape, and a surprise an id in the log."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from honed.errors import HonedError
from honed.serve.faults import body, status_of
from honed.web.render import page

_log = logging.getLogger("honed.web")

_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
}
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error with ``{"error": {"message", "type", "param", "code"}}``."""
    app.add_exception_handler(HonedError, _honed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Surprises)


class Surprises:
    """Turns what nobody foresaw into a 500 with an id, which stands in the log beside the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer for it if it fails before its response has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:  # noqa: BLE001 - the edge: nothing leaves it as a traceback
            number = secrets.token_hex(4)
            _log.exception("error %s: %s %s", number, scope["method"], scope["path"])
            if not begun:
                text = f"honed failed; the log says why, under error {number}."
                await JSONResponse(body(text, status=500, code="internal_error"), 500)(scope, receive, send)


def refusal(error: HonedError) -> JSONResponse:
    """Return ``error`` as a response."""
    status = status_of(error)
    text = f"{_sentence(error.message)} {error.hint}".strip()
    code, param = getattr(error, "code", ""), getattr(error, "param", "")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body(text, status=status, code=code, param=param), status, headers=headers)


async def _honed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HonedError)
    if wants_page(request):
        title = "Not found" if status_of(error) == 404 else "That doesn't work"
        said = {"message": _sentence(error.message), "hint": error.hint}
        return page("error.html", status=status_of(error), here="", title=title, **said)
    return refusal(error)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = _param(first["loc"])
    code = _CODES.get(first["type"], "invalid_value")
    if first["type"] == "json_invalid":
        text, param = f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}.", ""
    else:
        text = _sentence(f"{param or 'the body'}: {_said(first)}")
    return JSONResponse(body(text, status=400, code=code, param=param), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    text = (
        f"there is no {request.method} {request.scope['path']}."
        if status in (404, 405)
        else _sentence(str(error.detail))
    )
    if status == 404 and wants_page(request):
        return page("error.html", status=404, here="", title="Not found", message=f"T{text[1:]}", hint="")
    code = _STATUS_CODES.get(status, "invalid_request")
    return JSONResponse(body(text, status=status, code=code), status, headers=error.headers)


def wants_page(request: HTTPConnection) -> bool:
    """Whether a browser asks for a page, to be told by one what is wrong; programs are told in JSON."""
    reads = request.scope["method"] == "GET" and "text/html" in request.headers.get("accept", "")
    return reads and not request.scope["path"].startswith(("/api/", "/v1/"))


def _param(place: Sequence[str | int]) -> str:
    """``("body", "messages", 0, "role")`` as people write it: ``messages[0].role``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:]]
    return "".join(parts).removeprefix(".")


def _said(fault: Mapping[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "this field is required"
    if fault["type"] != "extra_forbidden":
        return message[:1].lower() + message[1:]
    return "this server has no such parameter"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
