"""Personal data: e-mail, phone, card, IBAN, IP and national ids, found by their form and their own checks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.data.curate.masking import Find, Remedy, treated
from honed.data.curate.personal.patterns import PATTERNS, spans
from honed.data.curate.pieces import of_each
from honed.data.curate.presidio import Both, Presidio, analyzer
from honed.data.curate.row import Finding
from honed.data.curate.view import View


class Pii(Config):
    """Settings of the step ``pii``."""

    action: Remedy = Field(
        default="mask", description="mask ([EMAIL] in its place), drop the row, keep it and report, or ignore"
    )
    kinds: Mapping[str, Remedy] = Field(
        default={}, description=f"another action for one kind, such as phone: keep; kinds are {', '.join(PATTERNS)}"
    )
    engine: Literal["patterns", "presidio"] = Field(
        default="patterns", description="our own patterns, or these and Presidio (extra presidio), which finds names"
    )
    presidio: Presidio = Field(default=Presidio(), description="what Presidio is asked, if it is")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for kind in self.kinds:
            if kind not in self.named():
                near = difflib.get_close_matches(kind, self.named(), n=1)
                raise ValueError(f"{kind!r} is no kind{f'; did you mean {near[0]!r}?' if near else ''}")
        return self

    def named(self) -> list[str]:
        """Return the kinds that are looked for: our own, then those that Presidio is asked for."""
        asked = self.presidio.entities if self.engine == "presidio" else ()
        return [*PATTERNS, *(entity.lower() for entity in asked)]


def pii(view: View, settings: Pii, say: Callable[[str], None]) -> Iterator[Finding]:
    """Mask, drop or report rows with personal data in them."""
    remedy: Mapping[str, Remedy] = {kind: settings.kinds.get(kind, settings.action) for kind in settings.named()}
    wanted = tuple(kind for kind, what in remedy.items() if what != "ignore")
    find: Find = partial(spans, kinds=wanted)
    if settings.engine == "presidio":
        analyzer(settings.presidio.model, settings.presidio.language)  # what is missing is said now
        say(f"Presidio looks for {', '.join(settings.presidio.entities)} with {settings.presidio.model}")
        find = Both(settings.presidio, wanted)
    treat = partial(treated, find=find, remedy=remedy, title="personal data")
    yield from chain.from_iterable(view.mapped(of_each(treat), "all"))
