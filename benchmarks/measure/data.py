"""The rows that are measured on: public files where they are here, else synthetic rows as long as theirs."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from honed.builtin.load import load
from honed.records import Conversation, Message, Preference

ROOT = Path(__file__).parents[2]
SFT_FILE, DPO_FILE, DOLLY_FILE = "alpaca_en_demo.json", "dpo_en_demo.json", "dolly_3k.json"
_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}

_SFT_WORDS = (
    (5, 2), (9, 7), (14, 7), (12, 12), (26, 1), (11, 19), (16, 17), (10, 29), (6, 39), (15, 39), (12, 54), (6, 69),
    (18, 71), (8, 94), (76, 41), (8, 123), (6, 140), (11, 157), (12, 183), (18, 199), (10, 224), (13, 241), (12, 268),
    (12, 289), (16, 325), (15, 429),
)  # fmt: skip
"""Words of prompt and answer at 26 even quantiles of the length of ``alpaca_en_demo.json``'s rows."""

_DPO_WORDS = (
    (15, 1, 1), (17, 49, 10), (38, 51, 75), (11, 179, 26), (12, 208, 30), (107, 82, 126), (111, 97, 152),
    (68, 187, 155), (84, 169, 187), (52, 112, 297), (13, 20, 465), (44, 278, 213), (51, 309, 228), (52, 346, 251),
    (7, 382, 355), (51, 319, 437), (595, 117, 188), (417, 138, 434), (474, 254, 333), (492, 209, 423), (540, 405, 284),
    (593, 397, 309), (779, 371, 258), (852, 318, 369), (1011, 390, 343), (1953, 313, 196),
)  # fmt: skip
"""Words of prompt, chosen and rejected answer of ``dpo_en_demo.json``'s rows, likewise."""


def find(name: str, given: Path | None) -> Path | None:
    """Return ``given``, or the file ``name`` in $HONED_DATA or in ``shared/data`` beside the clone; None: not here."""
    if given is not None:
        return given
    folders = [Path(os.environ["HONED_DATA"])] if os.environ.get("HONED_DATA") else []
    return next((path / name for path in (*folders, ROOT.parent / "shared" / "data") if (path / name).is_file()), None)


def conversations(count: int, given: Path | None, name: str = SFT_FILE) -> tuple[list[Conversation], str]:
    """Return the first ``count`` rows and where they come from."""
    path = find(name, given)
    if path is None:
        return list(synthetic(count)), "synthetic, as long as alpaca_en_demo's, of the embedded set's words"
    return [_alpaca(row) for row in json.loads(path.read_text())[:count]], path.name


def preferences(count: int, given: Path | None) -> tuple[list[Preference], str]:
    """Return the first ``count`` preferences and where they come from."""
    path = find(DPO_FILE, given)
    if path is not None:
        return [_sharegpt(row) for row in json.loads(path.read_text())[:count]], path.name
    text = _words()
    found = []
    for prompt, chosen, rejected in _spread(_DPO_WORDS, count):
        turns = (Message(role="user", content=text(prompt)),)
        found.append(Preference(prompt=turns, chosen=text(chosen), rejected=text(rejected)))
    return found, "synthetic, as long as dpo_en_demo's, of the embedded set's words"


def synthetic(count: int, words: tuple[int, int] | None = None) -> Iterator[Conversation]:
    """Yield rows of ``words`` (prompt, answer), or spread as ``_SFT_WORDS``, whose beginnings differ."""
    text = _words()
    for prompt, answer in _spread(_SFT_WORDS, count) if words is None else (words for _ in range(count)):
        yield _row(text(prompt), text(answer))


def sized(count: int, tokens: int, length: Callable[[Conversation], int]) -> list[Conversation]:
    """Return rows of at most ``tokens`` tokens as ``length`` counts them, as near to it as whole words allow.

    The prompt has up to half of them.
    """
    text = _words()
    return [_sized(text(tokens).split(), text(tokens).split(), tokens, length) for _ in range(count)]


def _sized(
    prompt: Sequence[str], answer: Sequence[str], tokens: int, length: Callable[[Conversation], int]
) -> Conversation:
    asked = " ".join(prompt[: _most(len(prompt), lambda n: length(_row(" ".join(prompt[:n]), "a")) <= tokens // 2)])
    said = _most(len(answer), lambda n: length(_row(asked, " ".join(answer[:n]))) <= tokens)
    row = _row(asked, " ".join(answer[:said]))
    assert length(row) <= tokens, f"no row has only {tokens} tokens"
    return row


def under_system(rows: Sequence[Conversation], tokens: int, length: Callable[[str], int]) -> list[Conversation]:
    """Return the rows under one system prompt of at most ``tokens`` tokens, as ``length`` counts a text's."""
    words = _words()(tokens).split()
    count = _most(tokens, lambda n: length(" ".join(words[:n])) <= tokens)
    system = Message(role="system", content=" ".join(words[:count]))
    return [row.model_copy(update={"messages": (system, *row.messages)}) for row in rows]


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number of words from 1 to ``limit`` that fits, or 1."""
    return max(1, bisect_left(range(1, limit + 1), True, key=lambda n: not fits(n)))


def _alpaca(row: Mapping[str, Any]) -> Conversation:
    return _row(row["instruction"] + ("\n" + row["input"] if row.get("input") else ""), row["output"])


def _sharegpt(row: Mapping[str, Any]) -> Preference:
    turns = tuple(Message(role=_ROLES[turn["from"]], content=turn["value"]) for turn in row["conversations"])  # type: ignore[arg-type]
    return Preference(prompt=turns, chosen=row["chosen"]["value"], rejected=row["rejected"]["value"])


def _row(prompt: str, answer: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


def _spread(quantiles: Sequence[Any], count: int) -> Iterator[Any]:
    """Yield ``count`` of the quantiles, in an order that takes any few of them from all lengths."""
    order: list[int] = []
    generator = np.random.default_rng(0)
    for _ in range(count):
        order = order or generator.permutation(len(quantiles)).tolist()
        yield quantiles[order.pop()]


def _words() -> Callable[[int], str]:
    """Return a function that gives N words from somewhere in the embedded set's text: no two texts begin alike."""
    stock = " ".join(message.content for row in load("train") for message in row.messages).split()
    generator = np.random.default_rng(0)

    def take(count: int) -> str:
        start = int(generator.integers(len(stock)))
        numbers = [str(generator.integers(10**6))]  # makes rows differ even where they start at the same word
        return " ".join([*numbers, *(stock[(start + n) % len(stock)] for n in range(max(0, count - 1)))])

    return take
