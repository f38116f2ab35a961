"""How each objective reads its examples, and how it is made once the model is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from honed.models.chat import ChatFormat, Encoded
from honed.store.artifacts import Artifact
from honed.train import pairs, ratings
from honed.train.head import Head
from honed.train.loop import Objective
from honed.train.objectives.dpo import Dpo
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.kto import Kto
from honed.train.objectives.orpo import Orpo
from honed.train.objectives.preference import PairLoss, PairObjective
from honed.train.objectives.sft import Sft
from honed.train.objectives.simpo import Simpo
from honed.train.rows import Limit, Reading, Rows, encode, encode_row


@dataclass(frozen=True)
class Entry:
    """An objective before its model is known.

    ``read(dataset, chat, limit, count, reading)`` gives the examples, ``make(settings, head, packed, shared, within)``
    the objective, from the settings that ``kinds`` names. ``encode(record, chat, limit)`` returns the example of one
    row or preference, where these can be streamed: not where the base model must have seen all of them first.
    """

    read: Callable[[Artifact, ChatFormat, Limit, int | None, Reading], Rows[Any]]
    make: Callable[[Mapping[str, Any], Head, bool, bool, int | None], Objective[Any, Any]]
    encode: Callable[[Any, ChatFormat, Limit], Any] | None = None


def _rows(dataset: Artifact, chat: ChatFormat, limit: Limit, count: int | None, reading: Reading) -> Rows[Encoded]:
    return encode(reading.of(dataset, "rows", count), chat, limit)


def _of_pairs(kind: str, loss: Callable[..., PairLoss]) -> Entry:
    encode = None if KINDS[kind].refers else pairs.encode
    return Entry(pairs.read, lambda settings, *how: PairObjective(loss(**settings), *how), encode)


OBJECTIVES: Mapping[str, Entry] = {
    "sft": Entry(_rows, lambda _settings, head, _packed, shared, _within: Sft(head, shared), encode=encode_row),
    "dpo": _of_pairs("dpo", Dpo),
    "kto": Entry(
        ratings.read,
        lambda settings, head, packed, share, within: Kto(
            **settings, head=head, packed=packed, share=share, within=within
        ),
    ),
    "orpo": _of_pairs("orpo", Orpo),
    "simpo": _of_pairs("simpo", Simpo),
}
