"""Two answers to each prompt, put to people blind: which comes next, on which side each stands, and what they said."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from honed.errors import RequestError
from honed.evaluate.judge import labels
from honed.evaluate.judge.answers import Pair
from honed.evaluate.judge.labels import Label, Said
from honed.evaluate.judge.pairwise import Side
from honed.records import Message, Record, digest, turns_id

Choice = Literal["left", "right", "tie", "skip"]
_RATER = re.compile(r"[\w][\w .-]{0,39}")


class Shown(Record):
    """A pair as a rater sees it. ``said`` is what this rater said of it before, if anything."""

    pair: str
    prompt: tuple[Message, ...]
    left: str
    right: str
    said: Choice | None


class Place(Record):
    """Where a rater stands, and the pair that is next; None when there is none."""

    done: int
    total: int
    shown: Shown | None


class Ballots:
    """The pairs of one job, and the labels that people gave, in a file that several raters may add to at once.

    All raters see the pairs in one order, so that those who stop early have judged the same ones; the sides are drawn
    for each rater and pair, from ``seed``, and stay as they are.
    """

    def __init__(self, pairs: Sequence[Pair], path: Path, seed: int) -> None:
        self._pairs = {_id(pair): pair for pair in sorted(pairs, key=lambda pair: digest([seed, pair.id]))}
        self._path, self._seed, self._lock = path, seed, threading.Lock()
        self._said: dict[str, dict[str, Said]] = {}
        for label in labels.kept(path):
            if label.id in self._pairs:
                self._seen(label)

    @property
    def total(self) -> int:
        """Number of pairs."""
        return len(self._pairs)

    @property
    def raters(self) -> dict[str, int]:
        """How many pairs each rater has done."""
        return {name: len(said) for name, said in self._said.items()}

    def at(self, rater: str, pair: str | None = None) -> Place:
        """Return where ``rater`` stands, with the first pair not done yet, or with one of those done, by its id.

        Raises ``RequestError`` for a name that can't be one, or a pair that isn't there.
        """
        said = self._of(rater)
        if pair is not None and pair not in self._pairs:
            raise RequestError("there is no such pair", "Reload the page.", status=404, code="not_found")
        following = pair or next((id_ for id_ in self._pairs if id_ not in said), None)
        shown = self._shown(rater, following) if following else None
        return Place(done=len(said), total=self.total, shown=shown)

    def before(self, rater: str) -> Place:
        """Return the pair that ``rater`` judged last, to be judged again; the next one where there is none."""
        return self.at(rater, next(reversed(self._of(rater)), None))

    def take(self, rater: str, pair: str, choice: Choice, seconds: float) -> None:
        """Keep what ``rater`` said: on the disk when this returns. Raises as ``at`` does, and ``StoreError``."""
        self.at(rater, pair)
        both = self._pairs[pair]
        first = self._first(rater, pair)
        second: Side = "tuned" if first == "base" else "base"
        meant: dict[Choice, Said] = {"left": first, "right": second, "tie": "tie", "skip": "skip"}
        label = Label(
            prompt=both.prompt,
            base=both.base,
            tuned=both.tuned,
            choice=meant[choice],
            rater=rater,
            first=first,
            when=time.time(),
            seconds=round(seconds, 1),
            tags=both.tags,
        )
        with self._lock:
            labels.append(self._path, label)
            self._seen(label)

    def _of(self, rater: str) -> dict[str, Said]:
        if not _RATER.fullmatch(rater):
            raise RequestError(
                "a name has 1 to 40 letters, digits, spaces, dots or dashes", "Choose another one.", param="rater"
            )
        return self._said.get(rater, {})

    def _seen(self, label: Label) -> None:
        said = self._said.setdefault(label.rater, {})
        said.pop(label.id, None)  # the newest is last
        said[label.id] = label.choice

    def _first(self, rater: str, pair: str) -> Side:
        return "base" if int(digest([self._seed, rater, pair]), 16) % 2 else "tuned"

    def _shown(self, rater: str, id_: str) -> Shown:
        pair, first = self._pairs[id_], self._first(rater, id_)
        left, right = (pair.base, pair.tuned) if first == "base" else (pair.tuned, pair.base)
        said = self._of(rater).get(id_)
        before: Choice | None = "tie" if said == "tie" else "skip" if said == "skip" else None
        if said in ("base", "tuned"):
            before = "left" if said == first else "right"
        return Shown(pair=id_, prompt=pair.prompt, left=left, right=right, said=before)


def _id(pair: Pair) -> str:
    """The id that a label of this pair has."""
    return digest([turns_id(pair.prompt), pair.base, pair.tuned])
