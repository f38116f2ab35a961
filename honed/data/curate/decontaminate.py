"""Training rows that hold parts of an evaluation set: a model that learned them by heart would seem good.

Every run of ``report_at`` words (8, as in Chowdhery et al., "PaLM", 2022) of the evaluation sets is looked up; a hit is
compared word by word and grown to its full length, and the row is dropped from ``drop_at`` words on (13, as in Brown et
al., "Language Models are Few-Shot Learners", 2020, appendix C). So is a row whose prompt, or a turn of whose user, is
the prompt of an evaluation row, from three words on. Case and typography make no difference, signs of arithmetic do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from honed.config import Config
from honed.data.curate.evaluation import DATASETS, EVALUATIONS, SUITES, Asked, evaluation_rows, measured
from honed.data.curate.pieces import of_rows
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.data.curate.words import Hashes, batched, letters, runs
from honed.store.workspace import Workspace

_BATCH_WORDS = 500_000
_PROMPT_WORDS = 3
"""Words of a prompt, at least, for the same prompt to tell something: "Hello" is everybody's."""
_NUMBER = re.compile("[0-9]")
_UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_DASHES = re.compile("[-\u2010-\u2015\u2212]+")
_SIGN = re.compile(r"(?<=[\w)])( ?)([-+*/^=<>\u00d7\u00f7]{1,2})\1(?=[\w(])")
"""A sign between two terms, with a blank on both sides or on neither: emphasis has one on one side."""


class Decontaminate(Config):
    """Settings of the step ``decontaminate``."""

    against: tuple[str, ...] = Field(
        default=(DATASETS, SUITES, EVALUATIONS),
        description="what is looked for: datasets (held-out rows of all in the workspace), suites (the embedded ones), "
        "evaluations (suites that the workspace measured with), refs of datasets, folders of suites, files of rows",
    )
    report_at: int = Field(default=8, ge=3, description="least words in a row that are reported")
    drop_at: int = Field(default=13, ge=3, description="least words in a row that get a training row dropped")
    common: int = Field(
        default=10, ge=1, description="a run that more evaluation rows than this share is a template, and tells nothing"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.drop_at < self.report_at:
            raise ValueError("drop_at can't be under report_at: what drops a row is reported too")
        return self


class _Hit(NamedTuple):
    """``length`` words of an evaluation row stand in a row; 0: it has the row's prompt, and ``text`` says how."""

    length: int
    asked: Asked
    text: str


class Evaluated:
    """The evaluation sets as an index of their runs of words. Memory: their texts, and some 30 bytes a word."""

    def __init__(self, rows: Iterator[Asked], length: int, common: int) -> None:
        self.rows: list[Asked] = []
        self._length = length
        self._texts: list[list[str]] = []
        self._owner: list[int] = []
        self._prompts: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
        seen: set[tuple[tuple[str, ...], str]] = set()
        for row in rows:
            if (row.prompts, row.answer) not in seen:  # versions of a dataset share their held-out rows
                seen.add((row.prompts, row.answer))
                self._add(row)
        hashed = runs(self._texts, length, short=False)
        counts = np.diff(hashed.ends)
        texts = np.repeat(np.arange(len(self._texts)), counts)
        starts = np.arange(len(hashed.flat)) - np.repeat(hashed.ends[:-1], counts)
        order = np.argsort(hashed.flat, kind="stable")
        self._hashes, self._place = hashed.flat[order], np.stack([texts, starts], axis=1)[order]
        self.templates = self._drop_common(common)

    def _add(self, row: Asked) -> None:
        said = [letters(text) for text in row.prompts]
        prompt = tuple(chain.from_iterable(said))
        if len(prompt) >= _PROMPT_WORDS:
            self._prompts.setdefault(prompt, {}).setdefault(_signs(row.prompts), len(self.rows))
        for one in filter(None, [*said, letters(row.answer)]):
            self._texts.append(one)
            self._owner.append(len(self.rows))
        self.rows.append(row)

    def _drop_common(self, common: int) -> int:
        """Take out the runs that too many rows have, and return how many different ones these were."""
        if not len(self._hashes):
            return 0
        owners = np.array(self._owner, np.int64)[self._place[:, 0]]
        pairs = np.unique(np.stack([np.unique(self._hashes, return_inverse=True)[1], owners], axis=1), axis=0)
        many = np.bincount(pairs[:, 0]) > common
        distinct = np.unique(self._hashes)
        kept = ~np.isin(self._hashes, distinct[many])
        self._hashes, self._place = self._hashes[kept], self._place[kept]
        return int(many.sum())

    def same_prompt(self, texts: Sequence[str], said: Sequence[list[str]]) -> Asked | None:
        """Return the evaluation row whose prompt these texts, of these words, are."""
        alike = self._prompts.get(tuple(chain.from_iterable(said)))
        place = alike.get(_signs(texts)) if alike else None
        return None if place is None else self.rows[place]

    def known(self, flat: Hashes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the places in ``flat`` whose hash an evaluation row has."""
        if not len(self._hashes):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self._hashes, flat), len(self._hashes) - 1)
        return np.flatnonzero(self._hashes[at] == flat)

    def hit(self, said: list[str], start: int, value: np.uint64) -> _Hit | None:
        """Return the longest run around ``said[start]`` that an evaluation row has, compared word by word."""
        best: _Hit | None = None
        for at in range(int(np.searchsorted(self._hashes, value)), len(self._hashes)):
            if self._hashes[at] != value:
                break
            text, other = (int(one) for one in self._place[at])
            theirs = self._texts[text]
            if theirs[other : other + self._length] != said[start : start + self._length]:
                continue  # two runs with one hash
            begin, end = 0, self._length
            while start + begin > 0 and other + begin > 0 and said[start + begin - 1] == theirs[other + begin - 1]:
                begin -= 1
            while start + end < len(said) and other + end < len(theirs) and said[start + end] == theirs[other + end]:
                end += 1
            if best is None or end - begin > best.length:
                best = _Hit(end - begin, self.rows[self._owner[text]], " ".join(said[start + begin : start + end]))
        return best


def decontaminate(view: View, settings: Decontaminate, say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop rows that share ``drop_at`` words in a row, or the prompt, with an evaluation row; report shorter runs."""
    evaluated = Evaluated(evaluation_rows(view, settings.against), settings.report_at, settings.common)
    sources = dict.fromkeys(row.source for row in evaluated.rows)
    say(f"{len(evaluated.rows):,} evaluation rows of {', '.join(sources) or 'nothing'}")
    if EVALUATIONS in settings.against and (unread := measured(Workspace(view.dataset.path.parents[2])).unread):
        say(f"measured with, and not looked for: {', '.join(unread)}")
    if evaluated.templates:
        say(f"{evaluated.templates:,} runs of words that over {settings.common} of them share left aside")
    yield from chain.from_iterable(view.mapped(of_rows(partial(found, evaluated, settings)), "all"))


def found(evaluated: Evaluated, settings: Decontaminate, rows: Iterator[Row]) -> list[Finding]:
    """Return what the evaluation sets have of each of ``rows`` (numbered differently), the longest run of a row."""
    hits: dict[int, _Hit] = {}
    ids: dict[int, str] = {}
    for numbers, texts in batched(_turns(rows, evaluated, hits, ids), _BATCH_WORDS):
        hashed = runs(texts, settings.report_at, short=False)
        for place in evaluated.known(hashed.flat).tolist():
            text = int(np.searchsorted(hashed.ends, place, side="right")) - 1
            number, start = numbers[text], place - int(hashed.ends[text])
            one = evaluated.hit(texts[text], start, hashed.flat[place])
            if one and (number not in hits or one.length > hits[number].length > 0):
                hits[number] = one
    return [_finding(number, ids[number], hits[number], settings) for number in sorted(hits)]


def _turns(
    rows: Iterator[Row], evaluated: Evaluated, hits: dict[int, _Hit], ids: dict[int, str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each turn with the row's number; a row with an evaluation row's prompt is a hit at once."""
    for row in rows:
        ids[row.number] = row.id
        texts = row.prompts()
        said = [letters(text) for text in texts]
        if hit := _same_prompt(row, texts, said, evaluated):
            hits[row.number] = hit
            continue
        yield from ((row.number, one) for one in [*said, *map(letters, row.answers())] if one)


def _same_prompt(row: Row, texts: list[str], said: list[list[str]], evaluated: Evaluated) -> _Hit | None:
    """Return the hit of a row whose prompt, or a turn of whose user, is an evaluation row's: nothing tells more."""
    if same := evaluated.same_prompt(texts, said):
        return _Hit(0, same, "its prompt is that")
    if len(texts) > 1:
        roles = [turn.role for turn in row.before if turn.role != "system"]
        for role, text, one in zip(roles, texts, said, strict=True):
            if role == "user" and (same := evaluated.same_prompt([text], [one])):
                return _Hit(0, same, "a turn of its user is the prompt")
    return None


def _signs(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the signs between the terms of a prompt with numbers: 3 + 4 and 3 - 4 have the same words."""
    if not any(map(_NUMBER.search, texts)):
        return ()
    plain = [_DASHES.sub("-", _UNSEEN.sub("", unicodedata.normalize("NFKC", text))) for text in texts]
    return tuple(found[2] for text in plain for found in _SIGN.finditer(text))


def _finding(number: int, id_: str, hit: _Hit, settings: Decontaminate) -> Finding:
    other = f"{hit.asked.source}:{hit.asked.id}"
    if not hit.length:
        return Finding(number, id_, "evaluation prompt", "drop", f"{hit.text} of {other}", other)
    text = hit.text if len(hit.text) <= 160 else f"{hit.text[:160]}..."
    what = f"{hit.length} words in a row are those of {other}: {text!r}"
    if hit.length >= settings.drop_at:
        return Finding(number, id_, f"{settings.drop_at}-gram of an evaluation", "drop", what, other)
    return Finding(number, id_, f"{settings.report_at}-gram of an evaluation", "report", what, other)
