"""The rows that synthesis starts from, and the mark that what comes of them bears for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.novel import Novelty
from honed.errors import DataError
from honed.records import Conversation
from honed.store import datasets
from honed.store.artifacts import Artifact

MARK = "synthetic"
"""The tag that says how a row was made; ``generator`` names the model that wrote it."""
_HELD = 10_000
_COMPARED = 200_000


class Seeds(NamedTuple):
    """Rows to start from, in a fixed order, and how many of the dataset can't be started from."""

    rows: list[Conversation]
    unfit: int


def drawn(dataset: Artifact, config: SynthesizeConfig) -> Seeds:
    """Return up to 10,000 training rows, drawn evenly. Raises ``DataError`` if none can be started from.

    Rows with tools are none of them; all methods but ``continue`` start from rows with one turn of the user.
    """
    found = of_kind(dataset, config, lambda _row: True)
    if not found.rows:
        many = f"{found.unfit:,} training rows" if found.unfit else "no training rows"
        raise DataError(f"{dataset.ref}: {many}, and none that {config.method} can start from", _needs(config))
    return found


def of_kind(dataset: Artifact, config: SynthesizeConfig, wanted: Callable[[Conversation], bool]) -> Seeds:
    """Return the seeds, as ``drawn`` does, among the rows that are ``wanted``; perhaps none."""
    rng = Random(config.seed)
    kept: list[Conversation] = []
    fit = unfit = 0
    for row in datasets.rows(dataset, "train"):
        if not wanted(row):
            continue
        if not _fits(row, config):
            unfit += 1
            continue
        fit += 1
        if len(kept) < _HELD:
            kept.append(row)
        elif (place := rng.randrange(fit)) < _HELD:
            kept[place] = row
    rng.shuffle(kept)
    return Seeds(kept, unfit)


def _fits(row: Conversation, config: SynthesizeConfig) -> bool:
    if any(turn.tools or turn.tool_calls or turn.role == "tool" for turn in row.messages) or not row.answer.strip():
        return False
    return config.method == "continue" or sum(turn.role == "user" for turn in row.messages) == 1


def _needs(config: SynthesizeConfig) -> str:
    return "Rows without tools are needed." if config.method == "continue" else "Rows of one question are needed."


def known(dataset: Artifact, config: SynthesizeConfig) -> Novelty:
    """Return the instructions of the dataset, held-out ones first: what is written must not repeat them."""
    found = Novelty(config.near)
    for count, (name, row) in enumerate(_named(dataset)):
        if count == _COMPARED:
            break
        found.add(name, request(row))
    return found


def held_out(dataset: Artifact, config: SynthesizeConfig) -> Novelty:
    """Return the instructions of the held-out rows alone."""
    found = Novelty(config.near)
    for row in datasets.rows(dataset, "heldout"):
        found.add(f"the held-out row {row.id}", request(row))
    return found


def _named(dataset: Artifact) -> Iterator[tuple[str, Conversation]]:
    yield from ((f"the held-out row {row.id}", row) for row in datasets.rows(dataset, "heldout"))
    yield from ((f"the seed {row.id}", row) for row in datasets.rows(dataset, "train"))


def request(row: Conversation) -> str:
    """Return what the last user turn asks."""
    return next((turn.content for turn in reversed(row.messages) if turn.role == "user"), "")


def tags(config: SynthesizeConfig, generator: str, seed: Conversation | None, *, keep: bool = False) -> dict[str, str]:
    """Return the tags of a new row: its mark, who wrote it, and from which seed; the seed's own if they still hold."""
    own = dict(seed.tags) if seed else {}
    before = own.get(MARK)
    found = own if keep else {}
    found |= {MARK: f"{before}, {config.method}" if before else config.method}
    writers = [own.get("generator", ""), generator]
    found["generator"] = ", ".join(dict.fromkeys(name for name in writers if name))
    return found | ({"seed": seed.id} if seed else {})
