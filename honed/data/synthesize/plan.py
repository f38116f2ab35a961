"""From settings to all that synthesis starts from: the method with its rows or passages, and what is known already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from honed.data.synthesize import passages, seeds, writer
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import Method
from honed.data.synthesize.methods.table import METHODS
from honed.data.synthesize.novel import Novelty
from honed.errors import DataError
from honed.models.remote import Estimate
from honed.models.wire import Request
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


class Plan(NamedTuple):
    """A method at the ready; ``seeds`` is the dataset it starts from, ``notes`` what there is to say of it."""

    method: Method
    novelty: Novelty
    seeds: Artifact | None
    notes: tuple[str, ...]


def made(workspace: Workspace, config: SynthesizeConfig) -> Plan:
    """Read seeds or documents. Raises ``DataError`` if nothing can be started from, ``StoreError`` for no dataset."""
    make, name = METHODS[config.method], writer.name(config)
    if config.seeds is None:
        files = passages.files(config.documents)
        cut = [one for path in files for one in passages.passages(path, config.passage_words)]
        if not cut:
            raise DataError(f"{len(files)} documents, and no passage of 20 words in them", "Name longer documents.")
        note = f"{len(cut):,} passages of about {config.passage_words} words from {len(files):,} documents"
        return Plan(make(config, cut, name), Novelty(config.near), None, (note,))
    dataset = artifacts.resolve(workspace, "datasets", config.seeds)
    found = seeds.drawn(dataset, config)
    unfit = f"; {found.unfit:,} others have tools or several turns" if found.unfit else ""
    note = f"{len(found.rows):,} seeds from the training rows of {dataset.ref}{unfit}"
    compared = config.method in ("self-instruct", "evolve", "paraphrase")
    novelty = seeds.known(dataset, config) if compared else Novelty(config.near)
    return Plan(make(config, found.rows, name), novelty, dataset, (note,))


def estimate(plan: Plan, config: SynthesizeConfig, asked: Callable[[Iterator[Request]], Estimate]) -> Estimate:
    """Return what ``config.rows`` rows would take at most if each came of its first try."""

    def requests() -> Iterator[Request]:
        for unit in range(config.rows):
            yield plan.method.first(unit)
            yield from plan.method.guess(unit)

    return asked(requests())


def words(found: Estimate, config: SynthesizeConfig) -> str:
    """Return an estimate as a sentence."""
    there = f" ({found.cached:,} more are paid for already)" if found.cached else ""
    cost = f", at most {found.cost:.4f} in money" if found.cost is not None else ""
    minutes = f", {found.minutes:.0f} minutes at the least by the rate limits" if found.minutes >= 1 else ""
    tokens = f"{found.prompt_tokens:,} tokens of prompts and at most {found.completion_tokens:,} of answers"
    again = f"; what is left out is tried again, up to {config.attempts} times as much in all"
    return f"for {config.rows:,} rows about {found.requests:,} requests{there}, {tokens}{cost}{minutes}{again}"


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


_HASTE = 1.5
_MOST = 2000
