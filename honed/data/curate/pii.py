"""Personal data: e-mail, phone, card, IBAN, IP and national ids, found by their form and their own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pydantic import Field

from honed.config import Config
from honed.data.curate.masking import Find, Remedy, treated
from honed.data.curate.personal.patterns import PATTERNS, Kind, spans
from honed.data.curate.row import Finding
from honed.data.curate.view import View


class Pii(Config):
    """Settings of the step ``pii``."""

    action: Remedy = Field(
        default="mask", description="mask ([EMAIL] in its place), drop the row, keep it and report, or ignore"
    )
    kinds: Mapping[Kind, Remedy] = Field(
        default={}, description=f"another action for one kind, such as phone: keep; kinds are {', '.join(PATTERNS)}"
    )


def pii(view: View, settings: Pii, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Mask, drop or report rows with personal data in them."""
    remedy: Mapping[str, Remedy] = {kind: settings.kinds.get(kind, settings.action) for kind in PATTERNS}
    wanted = [kind for kind, what in remedy.items() if what != "ignore"]
    find: Find = lambda text: spans(text, wanted)  # noqa: E731 - a name for the type's sake
    for row in view.rows():
        yield from treated(row, find, remedy, "personal data")
