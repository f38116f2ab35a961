"""What people said of two answers: lines that are on the disk before they are acknowledged, and files of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from honed.errors import DataError
from honed.evaluate import lines, outcome
from honed.evaluate.judge import answers
from honed.evaluate.judge.answers import Pair
from honed.evaluate.judge.contest import Choice
from honed.records import Message, Record, digest, turns_id
from honed.store.workspace import writing

FILE = "labels.jsonl"
HINT = (
    'Each line is {"prompt": ..., "base": ..., "tuned": ..., "choice": "base" or "tuned" or "tie"}, as --people writes.'
)

Said = Literal["base", "tuned", "tie", "skip"]


class Label(Record):
    """One line: a person's word on two answers to a prompt. ``first`` is the answer that stood on the left, or first.

    ``rater`` is a pseudonym; ``when`` Unix time; ``seconds`` what it took; whoever skips says nothing.
    """

    prompt: tuple[Message, ...] = Field(min_length=1)
    base: str
    tuned: str
    choice: Said
    rater: str = ""
    first: Literal["base", "tuned"] | None = None
    when: float = 0.0
    seconds: float = 0.0
    tags: Mapping[str, str] = {}

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_messages(cls, value: object) -> object:
        return ({"role": "user", "content": value},) if isinstance(value, str) else value

    @property
    def id(self) -> str:
        """The same for all labels of the same two answers to the same prompt."""
        return digest([turns_id(self.prompt), self.base, self.tuned])


class Labelled(Record):
    """Two answers with all that people said of them, in order; ``choice`` is what most said, a draw is a tie."""

    pair: Pair
    said: tuple[Choice, ...]
    choice: Choice


def append(path: Path, label: Label) -> None:
    """Write one label; when this returns it is on the disk. Raises ``StoreError`` if it can't be written."""
    with writing(path):
        outcome.mend(path)
        with path.open("ab") as file:
            file.write(label.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def kept(path: Path) -> list[Label]:
    """Return the labels that ``append`` wrote; none if there is no file. A line that a crash tore is left out."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.append(Label.model_validate_json(line))
        except ValidationError:
            continue
    return found


def newest(labels: Iterable[Label]) -> list[Label]:
    """Return each rater's last word on each pair: a person may change their mind. Lines without a name are all kept."""
    last = {(label.rater or place, label.id): label for place, label in enumerate(labels)}
    return list(last.values())


def read(path: Path) -> list[Label]:
    """Read a file of choices. Raises ``DataError`` that names every line which is none, or if nobody chose."""
    found = [label for _, label in lines.read(path, Label, "label", HINT)]
    if not any(label.choice != "skip" for label in found):
        raise DataError(f"{path}: there are no choices", HINT)
    return found


def by_pair(labels: Iterable[Label]) -> list[Labelled]:
    """Return the pairs that somebody judged, with what was said of each; skips say nothing."""
    groups: dict[str, list[Label]] = {}
    for label in newest(labels):
        if label.choice != "skip":
            groups.setdefault(label.id, []).append(label)
    return [
        Labelled(
            pair=Pair(id=id_, prompt=group[0].prompt, tags=group[0].tags, base=group[0].base, tuned=group[0].tuned),
            said=tuple(_choice(label) for label in group),
            choice=majority([_choice(label) for label in group]),
        )
        for id_, group in sorted(groups.items())
    ]


def chosen(path: Path, rows: int | None, seed: int) -> tuple[list[Labelled], int]:
    """Return a file's labelled pairs, or ``rows`` of them, and how many people chose. Raises as ``read`` does."""
    given = read(path)
    labelled = by_pair(given)
    wanted = set(answers.chosen([one.pair.id for one in labelled], rows, seed))
    return [one for one in labelled if one.pair.id in wanted], _people(given)


def _people(labels: Iterable[Label]) -> int:
    """Return how many people chose: by their names, and of those without one as many as the most on one pair."""
    chose = [label for label in labels if label.choice != "skip"]
    unnamed = Counter(label.id for label in chose if not label.rater)
    return len({label.rater for label in chose if label.rater}) + max(unnamed.values(), default=0)


def majority(said: Sequence[Choice]) -> Choice:
    """Return what most say; where as many say something else, a tie."""
    (first, most), *others = Counter(said).most_common()
    return "tie" if any(count == most for _, count in others) else first


def _choice(label: Label) -> Choice:
    assert label.choice != "skip"
    return label.choice
