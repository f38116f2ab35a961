"""The steps that a recipe may have: a name, what can be set, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from honed.data.curate.contradictions import contradictions
from honed.data.curate.decontaminate import decontaminate
from honed.data.curate.exact import exact
from honed.data.curate.languages import languages
from honed.data.curate.length import length, tokens
from honed.data.curate.near import near
from honed.data.curate.pii import pii
from honed.data.curate.row import Finding
from honed.data.curate.secrets import secrets
from honed.data.curate.semantic import semantic
from honed.data.curate.toxicity import toxicity
from honed.data.curate.triggers import triggers
from honed.data.curate.view import View


class Step(Protocol):
    """A step reads the rows as they are by now, as often as it likes, and yields what it found.

    What it yields is done once it is exhausted. ``say`` takes a sentence for the user.
    """

    def __call__(self, view: View, settings: Any, say: Callable[[str], None], /) -> Iterator[Finding]: ...  # noqa: D102


STEPS: Mapping[str, Step] = {
    "decontaminate": decontaminate,
    "pii": pii,
    "secrets": secrets,
    "toxicity": toxicity,
    "exact": exact,
    "near": near,
    "semantic": semantic,
    "contradictions": contradictions,
    "triggers": triggers,
    "languages": languages,
    "length": length,
    "tokens": tokens,
}
JUDGED = frozenset({"decontaminate", "pii", "secrets", "toxicity", "exact", "length"})
"""Steps that read preferences and ratings too; what the others look for is a matter of rows that are learned."""
