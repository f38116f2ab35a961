"""Feedback as files for elsewhere: JSON lines that ``honed data import`` reads, of people who allow training only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from honed.errors import StoreError
from honed.feedback.derive import DeriveConfig, allowed, derive, unfit
from honed.records import FeedbackEvent, Interaction, Message
from honed.store.interactions import Interactions
from honed.store.workspace import writing


class Exported(NamedTuple):
    """The lines of each file that was written, and how often what was left out for which reason."""

    files: Mapping[Path, int]
    left_out: Mapping[str, int]


def export(store: Interactions, path: Path) -> Exported:
    """Write every answer of which something was said, as the model gave it, and what was said of it.

    A line has ``messages``, ``tags`` (``feedback`` names what was said), ``events`` and ``feedback``. Raises
    ``StoreError`` if the file is there already or can't be written.
    """
    people = allowed(store.consents())
    left_out: Counter[str] = Counter()

    def lines() -> Iterator[dict[str, Any]]:
        for answer in store.interactions(rated=True):
            refused = "" if answer.subject in people else "the person doesn't allow training, or was never asked"
            if reason := refused or unfit(answer.prompt, answer.answer):
                left_out[reason] += 1
            else:
                yield _answer(answer, list(store.feedback(interaction=answer.id)))

    _refuse_existing(path)
    count = _write(path, lines())
    return Exported({path: count}, left_out)


def export_derived(store: Interactions, path: Path) -> Exported:
    """Write what is derived from the feedback, as a round does it: rows whose answers people wrote.

    Preferences and ratings, if there are any, go beside them, into ``<name>.preferences.jsonl`` and
    ``<name>.ratings.jsonl``. Raises ``StoreError`` if a file is there already or can't be written.
    """
    found = derive(store.interactions(rated=True), store.feedback(), store.consents(), DeriveConfig())
    beside = {"preferences": found.preferences, "ratings": found.ratings}
    records = {path: [row.model_dump(exclude={"check"}) for row in found.rows]}
    for name, ones in beside.items():
        if ones:
            records[path.with_suffix(f".{name}.jsonl")] = [one.model_dump() for one in ones]
    for file in records:
        _refuse_existing(file)
    counts = {file: _write(file, lines) for file, lines in records.items()}
    return Exported(counts, Counter(one.reason for one in found.left_out))


def _answer(answer: Interaction, said: list[FeedbackEvent]) -> dict[str, Any]:
    kinds = sorted({_word(event, answer) for event in said})
    turns = (*answer.prompt, Message(role="assistant", content=answer.answer))
    return {
        "messages": [turn.model_dump(include={"role", "content"}) for turn in turns],
        "tags": {
            **answer.segments,
            "source": "simulated" if answer.simulated else "served",
            "model": answer.model,
            "feedback": ", ".join(kinds),
        },
        "events": [answer.id, *(event.id for event in said)],
        "feedback": [event.model_dump() for event in said],
    }


def _word(event: FeedbackEvent, answer: Interaction) -> str:
    if event.kind == "thumb":
        return "thumb up" if event.good else "thumb down"
    if event.kind == "choice":
        return "chosen" if event.interaction == answer.id else "not chosen"
    return "edited"


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise StoreError(f"{path}: there is a file already", "Name another, or remove it.")


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> int:
    """Write the lines to a scratch file, then give it its name: whole, or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    with writing(path):
        try:
            with scratch.open("wb") as file:
                for line in lines:
                    file.write(orjson.dumps(line) + b"\n")
                    count += 1
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    return count
