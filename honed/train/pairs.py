"""Two answers to one prompt, of which one was preferred: what objectives that learn from comparisons read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Preference
from honed.store.artifacts import Artifact
from honed.train.rows import Limit, Reading, Rows, collect, encode_row


@dataclass(frozen=True)
class Pair:
    """The prompt with the chosen and with the rejected answer; only the answers are supervised.

    ``reference`` holds the log-likelihoods (nats) that the base model gives them, once they are known.
    """

    chosen: Encoded
    rejected: Encoded
    reference: tuple[float, ...] = (math.nan, math.nan)

    @property
    def rows(self) -> tuple[Encoded, Encoded]:
        """Chosen, rejected."""
        return self.chosen, self.rejected

    @property
    def referred(self) -> tuple[Encoded, ...]:
        """The rows that ``reference`` is about: both."""
        return self.rows


def read(dataset: Artifact, chat: ChatFormat, limit: Limit, count: int | None, reading: Reading) -> Rows[Pair]:
    """Return the first ``count`` preferences of a dataset as ids; unusable ones are set aside, named.

    A pair can't be used if either answer can't be trained on, if either row is longer than ``limit``, or if
    both answers are the same tokens.
    """
    return collect(reading.of(dataset, "preferences", count), lambda one: encode(one, chat, limit), "pairs")


def encode(preference: Preference, chat: ChatFormat, limit: Limit) -> Pair:
    """Return a preference as ids. Raises ``Unusable`` saying which of its answers is at fault."""
    sides: list[Encoded] = []
    for side, answer in (("chosen", preference.chosen), ("rejected", preference.rejected)):
        try:
            sides.append(encode_row(preference.row(answer), chat, limit))
        except Unusable as error:
            raise Unusable(error.kind, f"the {side} answer: {error.message}", error.hint) from error
    chosen, rejected = sides
    if chosen.ids == rejected.ids:
        raise Unusable("same", "both answers are the same, so neither can be preferred", "Mend one, or take it out.")
    return Pair(chosen, rejected)
