"""Instruction-following difficulty: how much an answer's loss falls when the model has read the instruction.

The loss a token of the answer given its prompt, over that of the answer alone: near 0 the prompt says the answer, near
1 it is of little help, above 1 it misleads. M. Li et al., "From Quantity to Quality: Boosting LLM Performance with
Self-Guided Data Selection for Instruction Tuning" (2023), section 2.3. Both losses are over the same tokens, those of
the final answer without its stop token. Alone, an answer stands behind the ids that open any assistant turn, so that
its first token has a loss too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from honed.data.score.kept import Kept
from honed.data.score.watch import Watch
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.models.load import LoadedModel
from honed.records import Conversation

WITH, ALONE, TOKENS = 0, 1, 2
"""Places of what is kept of a row: nats of the answer given its prompt, nats of it alone, how many tokens it has."""

_FLUSH_SECONDS = 20.0


class Passes(NamedTuple):
    """A row as it goes through the model twice: the answer behind its prompt, and alone."""

    given: Encoded
    alone: Encoded


def passes(row: Conversation, chat: ChatFormat, context: int) -> Passes:
    """Return a row's two passes. Raises ``Unusable`` if it is too long, or its answer has no tokens of its own."""
    turns = [
        turn.model_copy(update={"weight": float(at == len(row.messages) - 1)}) for at, turn in enumerate(row.messages)
    ]
    whole = chat.encode(row.model_copy(update={"messages": tuple(turns)}))
    if len(whole.ids) > context:
        raise Unusable("too long", f"it has {len(whole.ids)} tokens, and the model's context is {context}")
    *answer, _stop = [place for place, weight in enumerate(whole.weights) if weight]
    if not answer:
        raise Unusable("no answer", "its final answer has no words, so it has no loss of its own")
    ids = whole.ids[answer[0] : answer[-1] + 1]
    weights = tuple(float(answer[0] <= place <= answer[-1]) for place in range(len(whole.ids)))
    lead = _lead(whole, chat)
    return Passes(Encoded(whole.ids, weights), Encoded((*lead, *ids), (*(0.0 for _ in lead), *(1.0 for _ in ids))))


def measure(todo: Sequence[tuple[str, Passes]], loaded: LoadedModel, kept: Kept, batch_size: int, watch: Watch) -> None:
    """Measure rows, the shortest first, and keep the numbers as they come: what a stopped job has made is there."""
    from honed.models import losses

    order = iter(sorted(todo, key=lambda row: (len(row[1].given.ids), row[0])))
    ids: list[str] = []
    values: list[tuple[float, float, float]] = []
    done, flushed = 0, time.monotonic()
    try:
        while chunk := list(islice(order, batch_size)):
            given = {name: both.given for name, both in chunk}
            alone = {name: both.alone for name, both in chunk}
            found: list[dict[str, losses.Nats]] = [{}, {}]
            for side, rows in enumerate((given, alone)):
                for batch in losses.measure(loaded, rows, batch_size):
                    found[side].update(batch)
                    watch.step("ifd", done + (len(found[0]) + len(found[1])) // 2, len(todo))
            done += len(chunk)
            ids += given
            values += [(found[0][name].nats, found[1][name].nats, found[0][name].tokens) for name in given]
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                kept.add(ids, values)
                ids, values, flushed = [], [], time.monotonic()
    finally:
        kept.add(ids, values)


def _lead(whole: Encoded, chat: ChatFormat) -> tuple[int, ...]:
    """What stands before an answer that stands alone: the start token, if rows have one, and the turn's opening."""
    start = whole.ids[:1] if whole.ids[0] == chat.tokenizer.bos_token_id else ()
    lead = chat.opening if chat.opening[:1] == start else (*start, *chat.opening)
    return lead or (min(chat.stop_ids),)
