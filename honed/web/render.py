"""HTML pages from templates: everything put into one is escaped, and a name that isn't there is an error."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from honed.evaluate import words
from honed.version import __version__

_LONGEST = 160  # characters of one value in a table; the JSON has all of it


def page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return ``templates/<template>`` filled with ``values``, as a response that no cache keeps."""
    html = _environment().get_template(template).render(values)
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("honed.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "value": value, "took": took}
    environment.globals |= {"words": words, "version": __version__}
    return environment


def moment(when: float | str) -> str:
    """Return a Unix time or an ISO date as ``2026-03-01 14:05`` in UTC; nothing for 0."""
    if not when:
        return ""
    date = datetime.fromisoformat(when) if isinstance(when, str) else datetime.fromtimestamp(when, UTC)
    return f"{date.astimezone(UTC):%Y-%m-%d %H:%M}"


def took(status: Mapping[str, Any]) -> str:
    """Return how long all attempts at a job have taken, of ``Status`` as a mapping.

    Nothing for one that hasn't begun or was cut off.
    """
    end = time.time() if status["state"] == "running" else status["ended"]
    return words.seconds(status["earlier_seconds"] + end - status["started"]) if end and status["pid"] else ""


def value(thing: object) -> str:
    """Return a setting or a fact as a person reads it, on one line and of bounded length."""
    if thing is None:
        return "not given"
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, float):
        return f"{thing:.6g}"
    if isinstance(thing, int):
        return f"{thing:,}".replace(",", "\u202f") if abs(thing) >= 10_000 else str(thing)
    text = thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
