"""What a round trains on: the records derived from feedback, and those of the dataset before; pure.

No record whose prompt is held out by a suite, or by the dataset itself, is trained on, nor a row in which a held-out
prompt is answered on the way. What the dataset before owes to feedback is left out as well: it is derived anew from
what people allow now, so that a consent that was withdrawn holds for every later round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from honed.evaluate import scoring
from honed.records import Conversation, Fault, Preference, Rating, turns_id

SEED = 0
"""Decides with a row's text whether it is replayed: the same rows in every round."""

R = TypeVar("R", Conversation, Preference, Rating)


@dataclass(frozen=True)
class Source:
    """The training records of the dataset ``ref``."""

    ref: str
    rows: Iterable[Conversation] = ()
    preferences: Iterable[Preference] = ()
    ratings: Iterable[Rating] = ()


@dataclass(frozen=True)
class Mixed:
    """Training records, those from feedback first.

    The first ``fresh`` rows and ``fresh_pairs`` preferences come from feedback; ``left_out`` lists every record that
    may not be used, with its text.
    """

    rows: tuple[Conversation, ...]
    fresh: int
    preferences: tuple[Preference, ...]
    fresh_pairs: int
    ratings: tuple[Rating, ...]
    left_out: tuple[tuple[Fault, str], ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were left out, by kind of reason."""
        return dict(Counter(fault.kind for fault, _ in self.left_out))


def mix(feedback: Source, before: Source, heldout: Mapping[str, str], replay: int | None) -> Mixed:
    """Return the training records of a round. ``heldout`` maps each held-out prompt's id to the dataset it is of.

    ``replay`` rows of ``before`` are kept (all if None), chosen by the hash of their text. Equal records become one
    that names the events of all; a record of ``before`` that feedback gave too is one of feedback's.
    """
    guard = _Guard(heldout)
    fresh = _merged(guard.passed(feedback.ref, "row", feedback.rows))
    known = {row.id for row in fresh}
    old = (row for row in guard.passed(before.ref, "row", before.rows, imported=True) if row.id not in known)
    replayed, _ = scoring.choose(old, replay, SEED)
    pairs = _merged(guard.passed(feedback.ref, "preference", feedback.preferences))
    all_pairs = _merged([*pairs, *guard.passed(before.ref, "preference", before.preferences, imported=True)])
    ratings = list(guard.passed(feedback.ref, "rating", feedback.ratings))
    all_ratings = _merged([*ratings, *guard.passed(before.ref, "rating", before.ratings, imported=True)])
    return Mixed(
        rows=(*fresh, *replayed),
        fresh=len(fresh),
        preferences=tuple(all_pairs),
        fresh_pairs=len(pairs),
        ratings=tuple(all_ratings),
        left_out=tuple(guard.left_out),
    )


@dataclass
class _Guard:
    """Lets through what may be trained on, and lists what may not."""

    heldout: Mapping[str, str]
    left_out: list[tuple[Fault, str]] = field(default_factory=list)

    def passed(self, ref: str, kind: str, records: Iterable[R], *, imported: bool = False) -> Iterator[R]:
        """Yield the records that may be used; of an ``imported`` source, those that owe nothing to feedback."""
        for number, record in enumerate(records, 1):
            holder = next((self.heldout[prompt] for prompt in _prompts(record) if prompt in self.heldout), None)
            if imported and record.events:
                what = "it came from feedback, which is derived anew in every round"
                self._refuse(Fault(file=ref, line=number, field=kind, kind="derived anew", message=what), record)
            elif holder is not None:
                what = f"{holder} holds this prompt out: to train on it would be a leak"
                self._refuse(Fault(file=ref, line=number, field=kind, kind="leak", message=what), record)
            else:
                yield record

    def _refuse(self, fault: Fault, record: Conversation | Preference | Rating) -> None:
        self.left_out.append((fault, record.model_dump_json()))


def _prompts(record: Conversation | Preference | Rating) -> Iterator[str]:
    """Yield the id of the record's prompt and of every prompt that it answers on the way."""
    turns = record.messages if isinstance(record, Conversation) else record.prompt
    yield turns_id(record.prompt)
    for place, turn in enumerate(turns):
        if turn.role == "assistant":
            yield turns_id(turns[:place])


def _merged(records: Iterable[R]) -> list[R]:
    """Return the records in order; equal ones are one, with the events of all."""
    first: dict[str, R] = {}
    events: dict[str, dict[str, None]] = {}
    for record in records:
        first.setdefault(record.id, record)
        events.setdefault(record.id, {}).update(dict.fromkeys(record.events))
    return [one.model_copy(update={"events": tuple(events[id_])}) for id_, one in first.items()]
