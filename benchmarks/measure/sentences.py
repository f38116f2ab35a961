"""Sentences of public sets where they are here, else of the embedded one: what synthetic rows are put together from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from honed.builtin.load import load
from measure.data import find

FILES = ("alpaca_random_9k.json", "dolly_3k.json")
_BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\ud7ff\uf900-\ufaff]")
"""Scripts without blanks between words: a count of words says nothing there."""
_LEAST, _MOST = 4, 40
"""Words of a sentence."""


class Sentences(NamedTuple):
    """Whole sentences as people wrote them, each once, in the order of their files."""

    asked: Sequence[str]
    """Of prompts, and of the texts that these bring."""
    said: Sequence[str]
    """Of answers."""
    unended: Sequence[str]
    """Last lines of answers without a mark at their end: names, items of lists, code."""
    words: Sequence[str]
    """Words of letters only, as often as they stand in answers."""
    source: str


def sentences() -> Sentences:
    """Return the sentences of ``FILES``, as far as they are here, or of the embedded set."""
    paths = [path for name in FILES if (path := find(name, None))]
    if paths:
        read = [row for path in paths for row in json.loads(path.read_text())]
        rows = [(f"{row['instruction']}\n{row.get('input') or ''}", row["output"]) for row in read]
        source = ", ".join(path.name for path in paths)
    else:
        source = "the embedded set"
        rows = [("\n".join(turn.content for turn in row.prompt if turn.role == "user"), row.answer)
                for row in load("train")]  # fmt: skip
    asked, said = _whole(prompt for prompt, _ in rows), _whole(answer for _, answer in rows)
    lasts = (answer.rstrip().rpartition("\n")[2].strip() for _, answer in rows if answer.strip())
    unended = dict.fromkeys(line for line in lasts if line[-1:].isalnum() and len(line.split()) <= _MOST)
    words = [word for text in said for word in text.split() if word.isalpha()]
    source = f"{len(asked):,} sentences of prompts and {len(said):,} of answers of {source}"
    return Sentences(asked, said, list(unended), words, source)


def _whole(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(one for text in texts for line in text.split("\n") for one in _of_line(line)))


def _of_line(line: str) -> Iterator[str]:
    for one in _BETWEEN.split(line.strip()):
        whole = one[:1].isalnum() and one[-1:] in (".", "!", "?") and _LEAST <= len(one.split()) <= _MOST
        if whole and not _UNSPACED.search(one):
            yield one
