"""How honed's pages and Markdown are made of templates: one set of rules, one style that all of them include."""

from __future__ import annotations

import re

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

_STYLE = "honed.evaluate"
"""The package among whose templates the style is."""


def environment(*packages: str, escape: bool = True) -> Environment:
    """Return the templates of ``packages`` (the first that has a name), then those of the style.

    ``escape`` is for HTML: what rows and models say is data. A value that a template lacks is an error. Templates of
    Markdown have the filter ``inline``.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys([*packages, _STYLE])]),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["inline"] = inline
    return found


def inline(text: object) -> str:
    """Return text for a cell or a line of Markdown: on one line, and nothing in it means anything."""
    return re.sub(r"([\\`*_{}\[\]<>|#!&])", r"\\\1", " ".join(str(text).split()))
