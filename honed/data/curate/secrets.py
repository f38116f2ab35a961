"""Secrets: private keys, and the tokens of well-known services by their form, others by form and entropy."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

from pydantic import Field

from honed.config import Config
from honed.data.curate.masking import Remedy, treated
from honed.data.curate.personal.patterns import Span
from honed.data.curate.pieces import of_each
from honed.data.curate.row import Finding
from honed.data.curate.view import View

_FORMS = {
    "private_key": re.compile(
        r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{16,}?"
        r"-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    ),
    "aws_key": re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    "github_token": re.compile(r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})(?!\w)"),
    "slack_token": re.compile(r"(?<!\w)xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "google_key": re.compile(r"(?<!\w)AIza[A-Za-z0-9_-]{35}(?![\w-])"),
    "stripe_key": re.compile(r"(?<!\w)[rs]k_(?:live|test)_[A-Za-z0-9]{16,}(?!\w)"),
    "api_key": re.compile(r"(?<!\w)(?:sk-(?:ant-|proj-)?|hf_|glpat-|npm_|pypi-)[A-Za-z0-9_-]{20,}(?![\w-])"),
    "jwt": re.compile(r"(?<!\w)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}(?![\w-])"),
    "url_password": re.compile(r"(?<=://)[^\s/:@]{1,64}:[^\s/:@]{3,64}(?=@[\w.-]+)"),
}
_MARKS = {
    "private_key": ("PRIVATE KEY",),
    "aws_key": ("AKIA", "ASIA"),
    "github_token": ("gh", "github_pat_"),
    "slack_token": ("xox",),
    "google_key": ("AIza",),
    "stripe_key": ("k_live_", "k_test_"),
    "api_key": ("sk-", "hf_", "glpat-", "npm_", "pypi-"),
    "jwt": ("eyJ",),
    "url_password": ("://",),
}
"""What must stand in a text for a form to match: looked for first, at a small part of the cost."""
_NAMES = ("key", "secret", "token", "bearer", "passw")
_NAMED = re.compile(
    r"(?i)(?:api[_-]?key|secret[_-]?(?:access[_-]?)?key|client[_-]?secret|access[_-]?token|auth[_-]?token|bearer|passwd|"
    r"password)[\"']?\s{0,2}(?::|=|\s)\s{0,2}[\"']?([A-Za-z0-9+/=_\-.~!@#$%^&*]{16,})"
)
_NAMED_KIND = "named_secret"
_ENTROPY = 3.5
"""Bits a character, at least, of a token that only its name betrays: words and placeholders have less."""

KINDS = (*_FORMS, _NAMED_KIND)


class Secrets(Config):
    """Settings of the step ``secrets``."""

    action: Remedy = Field(
        default="mask", description="mask ([AWS_KEY] in its place), drop the row, keep it, or ignore"
    )


def found(text: str) -> list[Span]:
    """Return the secrets in ``text``, in its order; nothing overlaps."""
    spans = [
        Span(*match.span(), kind)
        for kind, form in _FORMS.items()
        if any(mark in text for mark in _MARKS[kind])
        for match in form.finditer(text)
    ]
    lower = text.lower()
    named = _NAMED.finditer(text) if any(name in lower for name in _NAMES) else ()
    spans += [Span(*match.span(1), _NAMED_KIND) for match in named if _random(match[1])]
    kept: list[Span] = []
    for span in spans:
        if not any(span.overlaps(other) for other in kept):
            kept.append(span)
    return sorted(kept)


def _random(text: str) -> bool:
    return entropy(text) >= _ENTROPY and any(map(str.isdigit, text))


def entropy(text: str) -> float:
    """Return the entropy of the characters of ``text``, in bits a character (Shannon, 1948)."""
    return -sum(many / len(text) * math.log2(many / len(text)) for many in Counter(text).values())


def secrets(view: View, settings: Secrets, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Mask, drop or report rows with keys, tokens or passwords in them."""
    remedy = dict.fromkeys(KINDS, settings.action)
    if settings.action != "ignore":
        treat = partial(treated, find=found, remedy=remedy, title="secret")
        yield from chain.from_iterable(view.mapped(of_each(treat), "all"))
