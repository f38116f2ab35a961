"""Held-out loss: each row's nats over its supervised tokens, the same whatever rows share a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from honed.evaluate.outcome import LeftOut, RowLoss
from honed.models import losses
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.models.load import LoadedModel
from honed.records import Conversation


def encode(
    rows: Sequence[Conversation], chat: ChatFormat, context: int
) -> tuple[dict[str, Encoded], tuple[LeftOut, ...]]:
    """Return each row's ids and weights by its id, and the rows that can't have a loss, each with its reason."""
    encoded: dict[str, Encoded] = {}
    left_out: list[LeftOut] = []
    for row in rows:
        try:
            one = chat.encode(row)
            longest = max(len(each.ids) for each in one.rows)
            if longest > context:
                raise Unusable("too long", f"it has {longest} tokens, and the model's context is {context}")
        except Unusable as error:
            left_out.append(LeftOut(row=row.id, kind=error.kind, why=error.message))
            continue
        encoded[row.id] = one
    return encoded, tuple(left_out)


def measure(loaded: LoadedModel, encoded: Mapping[str, Encoded], batch_size: int) -> Iterator[list[RowLoss]]:
    """Yield the losses of the rows, a batch at a time, the shortest rows first (``models.losses``).

    The loss of a row is the sum over it and the rows apart from it: ``batch_size`` such rows are measured whole.
    """
    if not any(row.apart for row in encoded.values()):
        for found in losses.measure(loaded, encoded, batch_size):
            yield [RowLoss(row=name, nats=one.nats, tokens=one.tokens) for name, one in found.items()]
        return
    order = sorted(encoded, key=lambda name: max(len(one.ids) for one in encoded[name].rows))
    for start in range(0, len(order), batch_size):
        names = order[start : start + batch_size]
        parts = {f"{place} {name}": one for name in names for place, one in enumerate(encoded[name].rows)}
        nats, tokens = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
        for found in losses.measure(loaded, parts, batch_size):
            for part, one in found.items():
                name = part.partition(" ")[2]
                nats[name] += one.nats
                tokens[name] += one.tokens
        yield [RowLoss(row=name, nats=nats[name], tokens=tokens[name]) for name in names]


def per_token(lines: Sequence[RowLoss]) -> float | None:
    """Return nats per supervised token: one sum over one sum, so batches play no part; None without any row."""
    tokens = sum(line.tokens for line in lines)
    return sum(line.nats for line in lines) / tokens if tokens else None


def size(encoded: Encoded, chat: ChatFormat) -> int:
    """Return the bytes (UTF-8) of the text that a row's supervised tokens spell, special tokens aside."""
    pairs = [zip(one.ids, one.weights, strict=True) for one in encoded.rows]
    return sum(len(chat.decode(token for token, weight in of if weight > 0).encode()) for of in pairs)


def bits_per_byte(lines: Sequence[RowLoss]) -> float | None:
    """Return the loss in bits for each byte of supervised text; None without any text.

    The stop tokens' loss counts, their text doesn't. Unlike a loss per token it can be compared between tokenizers:
    L. Gao and others, "The Pile: An 800GB Dataset of Diverse Text for Language Modeling" (2020), section 3.1.
    """
    size = sum(line.bytes for line in lines)
    return sum(line.nats for line in lines) / math.log(2) / size if size else None
