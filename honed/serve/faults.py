"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

from honed.errors import HonedError, RequestError, StoreError

_TYPES = {401: "authentication_error", 403: "permission_error"}


class UnavailableError(HonedError):
    """A request that is in order can't be answered now: the model failed, or the answer can't be stored. HTTP 503."""


def status_of(error: HonedError) -> int:
    """Return HTTP's status of an error: a request's own, 503 if this side failed (a full disk, say), else 400."""
    if isinstance(error, RequestError):
        return error.status
    return 503 if isinstance(error, UnavailableError | StoreError) else 400


def body(message: str, *, status: int, code: str = "", param: str = "") -> dict[str, Any]:
    """Return the body of an error. Half characters that a client sent and the message repeats are replaced."""
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": _whole(message), "type": kind, "param": _whole(param) or None, "code": code or None}}


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()
