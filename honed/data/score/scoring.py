"""The scores of a dataset's training rows, each measured when it is asked for: what the worker and selection share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from honed.data.curate.row import Row
from honed.data.curate.view import View
from honed.data.score import ifd, judge, quality, vectors
from honed.data.score.config import Measuring
from honed.data.score.kept import Numbers
from honed.data.score.reader import Reader, targeted
from honed.data.score.vectors import Vectors
from honed.data.score.watch import Watch
from honed.errors import DataError
from honed.models.chat import Unusable
from honed.records import Conversation
from honed.store import datasets

Floats = NDArray[np.float64]

_BLOCK = 1024
_WHOLE = "prompt and answer"


@dataclass
class Scored:
    """A score of every row, NaN where there is none; ``missing`` says of those by place: a short kind, and why."""

    values: Floats
    missing: dict[int, tuple[str, str]] = field(default_factory=dict)


class Scoring:
    """The training rows of a dataset and their scores. Memory: the rows' texts, and the vectors that were asked for."""

    def __init__(self, view: View, measure: Measuring, watch: Watch) -> None:
        self.rows: list[Row] = list(view.rows())
        self._view, self._measure, self._watch = view, measure, watch
        self._reader = Reader(measure, watch)
        self._vectors: dict[bool, Vectors] = {}
        if not self.rows:
            raise DataError(f"{view.dataset.ref} has no training rows", "Scores are of training rows: import some.")

    def score(self, name: str) -> Scored:
        """Return a score of all rows; the rows with the highest come first."""
        return _SCORES[name](self)

    def vectors(self, *, late: bool = False) -> Vectors:
        """Return the pooled states of all rows, shape (rows, hidden size); ``late`` as in ``models.pooled``."""
        if late not in self._vectors:
            self._vectors[late] = self._reader.states({row.id: _text(row) for row in self.rows}, _WHOLE, late=late)
        return self._vectors[late]

    def target(self) -> Vectors:
        """Return the pooled states of the target's rows, the later tokens weighing more."""
        chosen = targeted(self._measure, self._watch)
        return self._reader.states({row.id: _said(row) for row in chosen}, _WHOLE, late=True)

    def likeness(self) -> tuple[Vectors, Vectors]:
        """Return target and rows as unit vectors, both less the mean of the rows: their products are cosines."""
        rows = self.vectors(late=True)
        return vectors.centred(self.target(), rows.mean(axis=0)), vectors.centred(rows)

    def length(self) -> Scored:
        """The words of the answer: the baseline that selectors have to be told from."""
        return Scored(quality.lengths(self.rows))

    def quality(self) -> Scored:
        """The signs of ``quality``, less what the answer's length explains."""
        return Scored(quality.quality(self.rows))

    def ifd(self) -> Scored:
        """The ratio of the answer's loss given its prompt to that of it alone."""
        reader = self._reader
        kept = reader.kept("ifd", chat=reader.chat.hash)
        known = kept.read()
        places = {row.id: place for place, row in enumerate(self.rows)}
        missing: dict[int, tuple[str, str]] = {}
        todo: list[tuple[str, ifd.Passes]] = []
        for record in datasets.rows(self._view.dataset, "train"):
            if record.id in known:
                continue
            try:
                todo.append((record.id, ifd.passes(record, reader.chat, reader.model.context)))
            except Unusable as error:
                missing[places[record.id]] = (error.kind, error.message)
        if todo:
            ifd.measure(todo, reader.model, kept, self._measure.batch_size, self._watch)
            known = kept.read()
        return Scored(_ratios([known.get(row.id) for row in self.rows]), missing)

    def diversity(self) -> Scored:
        """How far the nearest other row is: 1 less the cosine of their centred states."""
        unit = vectors.centred(self.vectors())
        found = np.zeros(len(unit))
        for start in range(0, len(unit), _BLOCK):
            cosines = unit[start : start + _BLOCK] @ unit.T
            cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -1.0
            found[start : start + _BLOCK] = 1.0 - cosines.max(axis=1)
        return Scored(found)

    def similarity(self) -> Scored:
        """The cosine to the row of the target that is nearest."""
        target, rows = self.likeness()
        best = [(rows[start : start + _BLOCK] @ target.T).max(axis=1) for start in range(0, len(rows), _BLOCK)]
        return Scored(np.concatenate(best).astype(np.float64))

    def judge(self) -> Scored:
        """What the judge gave, 1 to 5."""
        assert self._measure.judge is not None, "checked before the job was made"
        found = Scored(np.full(len(self.rows), np.nan))
        for place, given in judge.judged(self.rows, self._measure.judge, self._watch):
            if isinstance(given, str):
                found.missing[place] = ("no verdict", given)
            else:
                found.values[place] = given
        return found


_SCORES: Mapping[str, Callable[[Scoring], Scored]] = {
    "length": Scoring.length,
    "quality": Scoring.quality,
    "ifd": Scoring.ifd,
    "diversity": Scoring.diversity,
    "similarity": Scoring.similarity,
    "judge": Scoring.judge,
}


def _ratios(kept: Sequence[Numbers | None]) -> Floats:
    """The losses' ratio; both are sums over the same tokens, whose number plays no part."""
    found = np.full(len(kept), np.nan)
    for place, values in enumerate(kept):
        if values is not None:
            found[place] = values[ifd.WITH] / max(float(values[ifd.ALONE]), 1e-9)
    return found


def _text(row: Row) -> str:
    return "\n".join([*row.prompts(), row.answer])


def _said(row: Conversation) -> str:
    return "\n".join(turn.content for turn in row.messages if turn.role != "system")
