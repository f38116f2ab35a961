"""Answers that were found good or bad, each by itself: what KTO reads, from ratings and from both sides of preferences.

Each comes with an answer to another prompt, laid behind its own: KTO measures by such pairs how far the model has moved
from the base as such. Which answer that is depends on the dataset alone, so that the base's likelihoods of all
rows can be kept from run to run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from honed.models.chat import ChatFormat, Encoded
from honed.store.artifacts import Artifact
from honed.train import pairs
from honed.train.objectives.kinds import of_each
from honed.train.rows import Limit, Reading, Rows, collect, encode_row


@dataclass(frozen=True)
class Rated:
    """A prompt with an answer that was found good or not; only the answer is supervised.

    ``unrelated`` is the same prompt with the answer of another; None where every other prompt is the same, or the row
    would be too long. ``reference`` holds the base model's log-likelihoods (nats) of both, once they are known.
    """

    row: Encoded
    good: bool
    unrelated: Encoded | None = None
    reference: tuple[float, ...] = (math.nan, math.nan)

    @property
    def rows(self) -> tuple[Encoded]:
        """The row that is learned."""
        return (self.row,)

    @property
    def referred(self) -> tuple[Encoded, ...]:
        """The rows that ``reference`` is about."""
        return (self.row,) if self.unrelated is None else (self.row, self.unrelated)


def read(dataset: Artifact, chat: ChatFormat, limit: Limit, count: int | None, reading: Reading) -> Rows[Rated]:
    """Return the first ``count`` ratings and preferences of a dataset as ids; unusable ones are set aside, named.

    Of fewer than all there are as many of each kind as their shares of the dataset, ratings first. A preference gives
    two examples, its chosen answer as a good and its rejected one as a bad one; what makes a pair unusable for other
    objectives leaves out both.
    """
    first = second = None
    if count is not None:
        first, second = of_each(
            count, *(int(dataset.manifest.facts.get(part, 0)) for part in ("ratings", "preferences"))
        )
    single = collect(
        reading.of(dataset, "ratings", first),
        lambda one: Rated(encode_row(one.row(), chat, limit), one.good),
        "answers",
    )
    double = pairs.read(dataset, chat, limit, second, reading)
    both = [Rated(row, good) for pair in double.encoded for row, good in ((pair.chosen, True), (pair.rejected, False))]
    names = [name for name in double.names for _ in range(2)]
    return Rows(
        matched((*single.encoded, *both), limit.tokens),
        (*single.names, *names),
        single.left_out + double.left_out,
        "ratings and pairs",
    )


def matched(rated: Sequence[Rated], limit: int) -> tuple[Rated, ...]:
    """Return the examples, each with the answer of one that has another prompt; every answer is used once at most.

    Sorted by prompt, everyone takes the answer that lies as many places further as the most frequent prompt has.
    """
    by_prompt: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, one in enumerate(rated):
        by_prompt[_prompt(one.row)].append(index)
    order = [index for group in by_prompt.values() for index in group]
    shift = max((len(group) for group in by_prompt.values()), default=0)
    made = list(rated)
    for place, index in enumerate(order):
        made[index] = replace(
            made[index], unrelated=_crossed(rated[index].row, rated[order[(place + shift) % len(order)]].row, limit)
        )
    return tuple(made)


def _crossed(asked: Encoded, answered: Encoded, limit: int) -> Encoded | None:
    """The prompt of one row with the answer of another; None if the prompts are the same, or it is too long."""
    prompt = _prompt(asked)
    start = len(_prompt(answered))
    ids = prompt + answered.ids[start:]
    if answered.ids[:start] == prompt or len(ids) > limit:
        return None
    return Encoded(ids, (0.0,) * len(prompt) + answered.weights[start:])


def _prompt(row: Encoded) -> tuple[int, ...]:
    """The tokens before the first supervised one."""
    return row.ids[: next(place for place, weight in enumerate(row.weights) if weight)]
