"""The base model's log-likelihoods of every pair, computed once before the first step and kept in the job's folder.

No second model is held in memory. Each pair is computed in the very pass in which the run first meets it, so that at
the first step the model's own numbers are the same to the last bit and every margin is exactly 0.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.store.workspace import write_whole, writing
from honed.train import pairs as pairing
from honed.train.batches import StepRows
from honed.train.deal import in_rounds
from honed.train.pairs import Pair
from honed.train.placement import Placement

_TENSOR = "log_likelihoods"


@dataclass(frozen=True)
class Reference:
    """What the numbers depend on besides the pairs: the base model's content hash, and the way they are computed."""

    base: str
    precision: str
    device: str
    packed: bool
    shared: bool
    fused: bool

    def key(self, pairs: Sequence[Pair], passes: Sequence[Sequence[int]]) -> str:
        """Return 16 hex digits over everything that decides the numbers, down to the token ids of every pass."""
        total = hashlib.sha256(orjson.dumps([asdict(self), len(pairs)]))
        for indices in passes:
            total.update(np.array([len(indices), *indices], np.int64).tobytes())
            for row in (row for index in indices for row in pairs[index].rows):
                total.update(np.array([len(row.ids), *row.ids], np.int64).tobytes())
                total.update(np.array(row.weights, np.float64).tobytes())
        return total.hexdigest()[:16]

    def attach(
        self,
        placed: Placement,
        pairs: Sequence[Pair],
        steps: Sequence[StepRows],
        job: Job,
        stopping: Callable[[], bool],
    ) -> tuple[Pair, ...]:
        """Return the pairs with their references; those that no step meets keep none. The model computes as the base.

        Numbers that an earlier attempt left in the job's folder under the same key are read back. Raises ``Stopped``
        when asked to stop; the next attempt starts them anew. Several ranks share the passes out among them.
        """
        passes = [indices for step in steps if step.epoch == 0 for indices in step.packs]
        path = job.path / f"reference-{self.key(pairs, passes)}.safetensors"
        if not placed.ranks.agreed(path.exists()):
            table = self._computed(placed, pairs, passes, job, stopping)
            placed.ranks.together(lambda: _write(path, table) if placed.ranks.first else None)
        table = load_file(path)[_TENSOR]
        return tuple(
            replace(pair, reference=(chosen, rejected))
            for pair, (chosen, rejected) in zip(pairs, table.tolist(), strict=True)
        )

    @torch.no_grad()
    def _computed(
        self,
        placed: Placement,
        pairs: Sequence[Pair],
        passes: Sequence[Sequence[int]],
        job: Job,
        stopping: Callable[[], bool],
    ) -> Tensor:
        """N x 2 in fp32: chosen, rejected; nan where no pass meets the pair."""
        placed.model.eval()
        table = torch.full((len(pairs), 2), torch.nan)
        said = 0.0
        rounds = in_rounds([len(indices) for indices in passes], placed.ranks.size)[placed.ranks.number]
        compute = partial(pairing.log_likelihoods, fused=self.fused)
        for number, turn in enumerate(rounds, start=1):  # as many on every rank, so that all hear of a stop at once
            indices = passes[turn.index]
            some = [pairs[index] for index in indices]
            batch = pairing.collate(some, packed=self.packed, share=self.shared).to(self.device)
            table[list(indices)] = placed.run(compute, batch).cpu()
            if number == len(rounds) or time.monotonic() - said > 1:
                job.log.write(Step(stage="reference", step=number, total=len(rounds)))
                said = time.monotonic()
            if stopping():
                raise Stopped
        return _merged(placed.ranks.exchange(table.tolist()))


def _merged(tables: Sequence[Sequence[Sequence[float]]]) -> Tensor:
    """One table of all ranks': each number from whoever computed it."""
    whole = torch.tensor(tables[0])
    for table in map(torch.tensor, tables[1:]):
        whole = torch.where(whole.isnan(), table, whole)
    return whole


def _write(path: Path, table: Tensor) -> None:
    with writing(path):
        write_whole(path, save({_TENSOR: table}))
