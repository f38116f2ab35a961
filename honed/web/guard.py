"""Who may speak to the server, and what its pages may load: checked before any route is reached.

Without a token only this machine's own browser and programs may ask, under a loopback name, so that no foreign page
can reach the server through a name of its own (DNS rebinding). With one, every request must bring it.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import SplitResult, urlsplit

from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from honed.errors import RequestError
from honed.serve.server import loopback
from honed.web.errors import refusal, wants_page

LOGIN_COOKIE = "honed_login"
LONGEST_BODY = 8 * 2**20
"""Bytes of a request's body; a prompt that fills a context of a million tokens has about half of them."""

_OPEN = ("/login", "/static/")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""What a page may load: only what comes from here, and no script within it."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts, foreign pages, requests without the token and bodies without end."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with the refusal; either way with the security headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(HTTPConnection(scope))
        except RequestError as error:
            to_form = error.status == 401 and wants_page(HTTPConnection(scope))
            response = RedirectResponse("/login", 303) if to_form else refusal(error)
            await response(scope, receive, headed)
            return
        await self._app(scope, _bounded(receive), headed)

    def _check(self, request: HTTPConnection) -> None:
        host = request.headers.get("host", "")
        if self._token is None and not loopback(_split(f"//{host}").hostname or ""):
            raise RequestError(
                "this server answers to the names of this machine only, such as 127.0.0.1",
                "To serve others, start it with --token.",
                status=403,
                code="foreign_host",
            )
        origin = request.headers.get("origin")
        if request.scope["method"] not in _SAFE_METHODS and origin is not None and _split(origin).netloc != host:
            raise RequestError("pages of other sites may not write here", status=403, code="foreign_origin")
        open_ = request.scope["path"].startswith(_OPEN)
        if self._token is not None and not open_ and not self._known(request, self._token):
            raise RequestError(
                "a token is needed", "Send the header Authorization: Bearer TOKEN.", status=401, code="invalid_api_key"
            )

    def _known(self, request: HTTPConnection, token: str) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), token):
            return True
        return same(request.cookies.get(LOGIN_COOKIE, ""), login_value(token))


def login_value(token: str) -> str:
    """Return what the login cookie holds: proof of the token that doesn't show it."""
    return hmac.digest(token.encode(), b"honed login", hashlib.sha256).hex()


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that doesn't tell where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _split(url: str) -> SplitResult:
    """Return the parts of a header's URL; one that is none has none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _bounded(receive: Receive) -> Receive:
    """Count a request's bytes, however they come, and refuse it beyond ``LONGEST_BODY``."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LONGEST_BODY:
            raise HTTPException(413, f"the body has more than {LONGEST_BODY} bytes")
        return message

    return counted
