"""Which rows this process answers, of the several that torchrun starts, and how their lines come together in the end.

Each rank writes lines of its own, beside those of rank 0, who waits for the others and adds theirs to its own. What
they need to know of one another stands in those files; so a rank that was killed has lost nothing that it wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from honed.evaluate import outcome
from honed.evaluate.outcome import Line
from honed.jobs.job import Job

_POLL_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """This process's part of a job's rows: every ``size``-th, from the one whose number is the job's rank on."""

    job: Job
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that brings all together and writes the result."""
        return self.job.rank == 0

    def own(self, rows: Sequence[T]) -> list[T]:
        """Return this rank's rows."""
        return list(rows[self.job.rank :: self.size])

    def path(self, name: str) -> Path:
        """Return the file of this rank's lines of ``name``."""
        return self._path(name, self.job.rank)

    def read(self, kind: type[Line], name: str) -> dict[str, Line]:
        """Return the lines of all ranks, of earlier attempts as well."""
        found: dict[str, Line] = {}
        for rank in range(self.size):
            found |= outcome.read(kind, self._path(name, rank))
        return found

    def gather(
        self, kind: type[Line], name: str, wanted: Collection[str], check: Callable[[], None]
    ) -> dict[str, Line]:
        """Wait until every wanted row has its line; add those of the others to this rank's file, and return all.

        Raises the fault that another rank left.
        """
        while not (found := self.read(kind, name)).keys() >= set(wanted):
            assert self.size > 1, "one rank makes all lines itself"
            time.sleep(_POLL_SECONDS)
            check()
        here = outcome.read(kind, self.path(name))
        outcome.append(self.path(name), [line for row, line in found.items() if row not in here])
        return found

    def _path(self, name: str, rank: int) -> Path:
        return self.job.path / (name if rank == 0 else f"rank{rank}-{name}")


def shard(job: Job) -> Shard:
    """Return this process's part, as torchrun's environment tells."""
    return Shard(job, int(os.environ.get("WORLD_SIZE", "1")))
