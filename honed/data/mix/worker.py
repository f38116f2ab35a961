"""The mix itself, in its own process: the plan is made again, as it was shown, and its rows are written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from honed import config
from honed.data import dropped
from honed.data.mix import lots, summary
from honed.data.mix import plan as plans
from honed.data.mix.lots import Lot, Numbers
from honed.data.mix.plan import Plan
from honed.data.mix.recipe import DATASET, MixConfig
from honed.data.tagged import tagged
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.records import Fault, Preference, Rating
from honed.store import artifacts, columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.datasets import Draft

_EVERY_SECONDS = 0.25


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Mix as ``config.yaml`` says and return what was counted.

    Raises as ``plan.plan`` does, ``Stopped`` when asked to stop; nothing is written then.
    """
    settings = config.read(MixConfig, job.path / "config.yaml")
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}

    def tick(_label: str) -> None:
        if stopping():
            raise Stopped

    plan = plans.plan(job.workspace, settings, tick)
    with datasets.drafting(job.workspace, settings.name, settings.rules) as draft:
        with (job.path / dropped.FILE).open("wb") as out:
            writing = _Writing(job, plan, draft, out, tick)
            writing.run()
        artifact = draft.publish(
            config=settings.model_dump(mode="json"),
            facts={"dropped": dict(writing.reasons.most_common()), **summary.facts(plan)},
            files=[job.path / dropped.FILE],
            parents={lot.dataset.ref: lot.dataset.manifest.hash for lot in plan.every},
        )
    return {"dataset": artifact.ref, "new": artifact.ref not in before, **artifact.manifest.facts}


@dataclass
class _Writing:
    """A plan that is being carried out."""

    job: Job
    plan: Plan
    draft: Draft
    out: BinaryIO
    tick: Callable[[str], None]
    reasons: Counter[str] = field(default_factory=Counter)
    _held: set[str] = field(default_factory=set)
    _done: int = 0
    _said: float = 0.0

    def run(self) -> None:
        """Write the rows of every dataset, then its preferences and ratings."""
        for at, lot in enumerate(self.plan.every):
            self._rows(lot, self.plan.chosen[at], self.plan.reasons[at])
        parts: tuple[Part, ...] = ("preferences", "ratings")
        others = [(lot, part) for lot in self.plan.lots for part in parts if lot.dataset.manifest.facts.get(part)]
        held = lots.heldout({lot.label: lot.dataset for lot in self.plan.every}) if others else {}
        seen: set[str] = set()
        for lot, part in others:
            self._others(lot, part, held, seen)

    def _rows(self, lot: Lot, chosen: Numbers, reasons: Mapping[int, tuple[str, str]]) -> None:
        number = held = 0
        total = sum(int(one.dataset.manifest.facts[split]) for one in self.plan.every for split in ("train", "heldout"))
        for table in lots.tables(lot.dataset):
            train = np.asarray(pc.equal(table["split"], "train"))
            numbers = number + np.cumsum(train) - 1
            number += int(train.sum())
            kept = np.zeros(len(table), bool)
            kept[train] = chosen[numbers[train]]
            for place in np.flatnonzero(~train).tolist():
                held += 1
                kept[place] = self._hold(lot, table, place, held)
            self._leave(lot, table, numbers, train & ~kept, reasons)
            self.draft.add("rows", tagged(table.filter(pa.array(kept)), DATASET, lot.label))
            self._step(lot, len(table), total)

    def _hold(self, lot: Lot, table: pa.Table, place: int, number: int) -> bool:
        """Tell whether a held-out row, the dataset's ``number``-th, is the first with its text."""
        id_ = table["id"][place].as_py()
        if id_ in self._held:
            self.reasons["held out twice"] += 1
            what = "the same held-out row stands in an earlier dataset"
            fault = self._fault(lot, number, "held out twice", what, "held-out row")
            self.out.write(dropped.line(fault, columns.at("rows", table, place).model_dump_json()))
            return False
        self._held.add(id_)
        return True

    def _leave(
        self, lot: Lot, table: pa.Table, numbers: Numbers, gone: Numbers, reasons: Mapping[int, tuple[str, str]]
    ) -> None:
        left = table.filter(pa.array(gone)).to_pylist()
        for number, plain in zip(numbers[gone].tolist(), left, strict=True):
            kind, what = reasons[number]
            self.reasons[kind] += 1
            fault = self._fault(lot, number + 1, kind, what)
            self.out.write(dropped.line(fault, columns.record("rows", plain).model_dump_json()))

    def _others(self, lot: Lot, part: Part, held: Mapping[int, str], seen: set[str]) -> None:
        """Take preferences or ratings over, but for those whose prompt is held out, and for repeated ones."""
        kept = []
        for number, record in enumerate(_records(lot.dataset, part), 1):
            leak = next((held[prompt] for prompt in lots.prompts_of(record) if prompt in held), None)
            if leak or record.id in seen:
                kind = "leak" if leak else "duplicate"
                what = f"{leak} holds this prompt out" if leak else "the same stands in an earlier dataset"
                self.reasons[kind] += 1
                self.out.write(dropped.line(self._fault(lot, number, kind, what, part), record.model_dump_json()))
                continue
            seen.add(record.id)
            kept.append(record.model_copy(update={"tags": {DATASET: lot.label, **record.tags}}))
        if kept:
            self.draft.add(part, columns.table(part, kept))
            self.job.log.note(f"{lot.dataset.ref}: all its {len(kept):,} {part} are taken over: shares are about rows")

    def _fault(self, lot: Lot, line: int, kind: str, what: str, part: str = "row") -> Fault:
        return Fault(file=lot.dataset.ref, line=line, field=part, kind=kind, message=what)

    def _step(self, lot: Lot, rows: int, total: int) -> None:
        self.tick(lot.label)
        self._done += rows
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            self.job.log.write(Step(stage="write", step=min(self._done, total), total=total))


def _records(dataset: Artifact, part: Part) -> Iterator[Preference | Rating]:
    if part == "preferences":
        yield from datasets.preferences(dataset)
    else:
        yield from datasets.ratings(dataset)


if __name__ == "__main__":
    main(work)
