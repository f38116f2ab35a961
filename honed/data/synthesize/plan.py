"""From settings to all that synthesis starts from: the method with its rows or passages, and what is known already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple

from honed.data.synthesize import asks, passages, screen, seeds, writer
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.asked import Asked
from honed.data.synthesize.methods.method import Method
from honed.data.synthesize.methods.table import METHODS
from honed.data.synthesize.novel import Novelty
from honed.data.synthesize.screen import Screen
from honed.errors import DataError
from honed.models.remote import Estimate
from honed.models.wire import Request
from honed.records import Conversation
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


class Part(NamedTuple):
    """A method at the ready, with the settings that it alone is made of; ``kind`` names it if it is one of several."""

    method: Method
    settings: SynthesizeConfig
    kind: str = ""
    suggested: int = 0
    """How many rows the error analysis suggests."""


class Plan(NamedTuple):
    """What is made, one part after the other; all of it is compared with what ``novelty`` knows.

    New turns of a conversation (``Made.turns``) are compared with ``held``. ``seeds`` is the dataset it starts from,
    ``notes`` what there is to say of it; ``unasked`` are the kinds of which no rows can be asked for, with their
    suggested numbers and the reasons.
    """

    parts: tuple[Part, ...]
    novelty: Novelty
    seeds: Artifact | None
    notes: tuple[str, ...]
    unasked: tuple[tuple[str, int, str], ...] = ()
    held: Novelty | None = None


def made(workspace: Workspace, config: SynthesizeConfig) -> Plan:
    """Read seeds or documents. Raises ``DataError`` if nothing can be started from, ``StoreError`` for no dataset."""
    if config.wanted is not None:
        return _asked(workspace, config, config.wanted)
    make, name = METHODS[config.method], writer.name(config)
    if config.seeds is None:
        files = passages.files(config.documents)
        cut = [one for path in files for one in passages.passages(path, config.passage_words)]
        if not cut:
            raise DataError(f"{len(files)} documents, and no passage of 20 words in them", "Name longer documents.")
        note = f"{len(cut):,} passages of about {config.passage_words} words from {len(files):,} documents"
        return Plan((Part(make(config, cut, name), config),), Novelty(config.near), None, (note,))
    dataset = artifacts.resolve(workspace, "datasets", config.seeds)
    found = seeds.drawn(dataset, config)
    unfit = f"; {found.unfit:,} others have tools or several turns" if found.unfit else ""
    note = f"{len(found.rows):,} seeds from the training rows of {dataset.ref}{unfit}"
    compared = config.method in ("self-instruct", "evolve", "paraphrase")
    novelty = seeds.known(dataset, config) if compared else Novelty(config.near)
    held = seeds.held_out(dataset, config) if config.method == "continue" else None
    return Plan((Part(make(config, found.rows, name), config),), novelty, dataset, (note,), held=held)


def _asked(workspace: Workspace, config: SynthesizeConfig, path: str) -> Plan:
    """Plan a part for each kind that an error analysis asks for. Raises ``DataError`` if there is none."""
    document = asks.read(Path(path))
    assert config.seeds is not None  # the settings name them
    dataset = artifacts.resolve(workspace, "datasets", config.seeds)
    held = Screen(dataset, screen.against(workspace, document, config.against))
    parts: list[Part] = []
    unasked: list[tuple[str, int, str]] = []
    left = 0
    for ask in asks.asks(document, config):
        rows: Sequence[Conversation] = []
        if not ask.why_not:
            rows, out = _kept_apart(seeds.of_kind(dataset, ask.settings, ask.fits).rows, held)
            left += out
        if rows:
            inner = METHODS[ask.settings.method](ask.settings, rows, writer.name(config))
            made = Asked(ask, inner, held, document.evaluation)
            parts.append(Part(made, ask.settings, ask.kind, ask.wanted.count))
        else:
            none = f"no training row of {dataset.ref} is of this kind: {ask.settings.method} starts from such rows"
            unasked.append((ask.kind, ask.wanted.count, ask.why_not or none))
    if not parts:
        first, _, why = unasked[0]
        raise DataError(f"{path}: none of its {len(unasked)} kinds can be asked for; {first}: {why}", _ROWS_OF_KIND)
    notes = [f"kinds of rows that {document.evaluation} of {document.model} asks for: {len(document.wanted)}"]
    notes += [f"not asked for: {kind}: {why}" for kind, _, why in unasked]
    notes.append(f"evaluation rows kept out: {held.rows:,}; seeds that hold a part of one and are left aside: {left:,}")
    return Plan(tuple(parts), seeds.known(dataset, config), dataset, tuple(notes), tuple(unasked))


def _kept_apart(rows: Sequence[Conversation], held: Screen) -> tuple[list[Conversation], int]:
    """Return the seeds that hold nothing of an evaluation, and how many do: those would be shown to the writer."""
    found = held.held(rows)
    return [row for place, row in enumerate(rows) if place not in found], len(found)


def estimate(plan: Plan, asked: Callable[[Iterator[Request]], Estimate]) -> Estimate:
    """Return what the wanted rows would take at most if each came of its first try."""

    def requests() -> Iterator[Request]:
        for part in plan.parts:
            for unit in range(part.settings.rows):
                yield part.method.first(unit)
                yield from part.method.guess(unit)

    return asked(requests())


def words(found: Estimate, plan: Plan, attempts: int) -> str:
    """Return an estimate as a sentence."""
    there = f" ({found.cached:,} more are paid for already)" if found.cached else ""
    cost = f", at most {found.cost:.4f} in money" if found.cost is not None else ""
    minutes = f", {found.minutes:.0f} minutes at the least by the rate limits" if found.minutes >= 1 else ""
    tokens = f"{found.prompt_tokens:,} tokens of prompts and at most {found.completion_tokens:,} of answers"
    again = f"; what is left out is tried again, up to {attempts} times as much in all"
    rows = sum(part.settings.rows for part in plan.parts)
    return f"for {rows:,} rows about {found.requests:,} requests{there}, {tokens}{cost}{minutes}{again}"


@dataclass(frozen=True)
class Wave:
    """Units that are asked for together."""

    first: int
    end: int

    @property
    def units(self) -> range:
        """Their numbers."""
        return range(self.first, self.end)


def wave(config: SynthesizeConfig, asked: int, kept: int) -> Wave:
    """Return the next units: as many as are likely to give the missing rows, by how many were good so far.

    At most half as many more than are missing: more waves take longer, but rows that nobody needs cost money.
    """
    haste = min(asked / max(kept, 1), _HASTE) if asked else 1.0
    size = min(_MOST, ceil((config.rows - kept) * haste), config.rows * config.attempts - asked)
    return Wave(asked, asked + size)


_ROWS_OF_KIND = "Import rows of that kind into the dataset of the seeds: a few are enough to start from."
_HASTE = 1.5
_MOST = 2000
