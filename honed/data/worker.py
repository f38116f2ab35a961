"""The import itself, in its own process: files in, one dataset out, or a list of every fault and nothing written."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from honed import config
from honed.data import dropped, licences
from honed.data.config import BUILTIN, HELDOUT, DataConfig
from honed.data.intake import Refused
from honed.data.mapping import ColumnMap
from honed.data.placing import Placing
from honed.data.sources import hub
from honed.data.sources.container import Told
from honed.data.sources.find import shown
from honed.data.sources.row import Meter
from honed.data.survey import Survey, Wanted, surveying
from honed.data.tagged import SOURCE, sources, tagged
from honed.errors import DataError
from honed.jobs import memory
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, cpu_seconds, main
from honed.records import ATTRIBUTES, Fault, Split
from honed.store import artifacts, columns, datasets
from honed.store.datasets import Draft

_EVERY_SECONDS = 0.25


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Import as ``config.yaml`` says and return what was counted.

    Raises ``DataError`` if a row has a fault (all of them are in ``dropped.jsonl``) or none is left, ``Stopped`` when
    asked to stop; nothing is written then.
    """
    settings, start = config.read(DataConfig, job.path / "config.yaml"), cpu_seconds()
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}
    path = job.path / dropped.FILE
    with datasets.drafting(job.workspace, settings.name) as draft:
        with path.open("wb") as out:
            facts = Importing(job, settings, draft, out).run(stopping)
        artifact = draft.publish(config=settings.model_dump(mode="json"), facts=facts, files=[path])
    ran = {"cpu_seconds": round(cpu_seconds() - start, 2), "largest_child_bytes": memory.peak_of_children()}
    return {"dataset": artifact.ref, "new": artifact.ref not in before, **artifact.manifest.facts, **ran}


class Importing:
    """One import under way: blocks of rows go through it into the draft, and it counts them."""

    def __init__(self, job: Job, settings: DataConfig, draft: Draft, out: BinaryIO) -> None:
        self._job, self._settings, self._draft, self._out = job, settings, draft, out
        self._reasons: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()
        self._placing = Placing(HELDOUT if settings.heldout is None else settings.heldout, out, self._reasons)
        self._read = self._faulty = 0
        self._first: Fault | None = None
        self._sources: list[dict[str, Any]] = []
        files = [*settings.files, *([settings.heldout_file] if settings.heldout_file else ())]
        self._named = sources(files) if len(settings.files) > 1 else {}
        self._said = time.monotonic()

    def run(self, stopping: Callable[[], bool]) -> dict[str, Any]:
        """Read every source into the draft and return what was counted; what is left out goes to ``dropped.jsonl``."""
        settings = self._settings
        if settings.heldout_file:
            self._source(settings.heldout_file, "heldout", stopping)
        for name in settings.files:
            if name == BUILTIN:
                self._builtin()
            else:
                self._source(name, "train" if settings.heldout_file else None, stopping)
        self._judge()
        self._draft.weigh(self._placing.weights.raised)
        return {
            "rows": self._read,
            "duplicates": self._placing.sorter.counts["duplicate"],
            "same_prompt": self._placing.sorter.same_prompt,
            "dropped": dict(self._reasons.most_common()),
            "warnings": dict(self._warnings.most_common()),
            "sources": self._sources,
            "licences": _licences(settings, self._sources),
        }

    def _source(self, name: str, given: Split | None, stopping: Callable[[], bool]) -> None:
        settings, meter = self._settings, Meter()
        told = Told(settings.container, settings.delimiter)
        wanted = Wanted(settings.shape, ColumnMap(settings.columns), settings.paths, settings.attributes, told)
        file = shown(name)
        self._placing.begin(file)
        with surveying(name, wanted, meter) as survey:
            survey.notes()
            for read in survey.reads(keep=True):
                self._tick(file, meter, stopping)
                for refused in read.refused:
                    self._refuse(refused)
                if self._faulty == 0 or settings.allow_faults:
                    for part, table in self._placing.placed(read, given):
                        self._draft.add(part, tagged(table, SOURCE, self._named[name]) if self._named else table)
        self._end(survey, name, given)

    def _end(self, survey: Survey, name: str, given: Split | None) -> None:
        self._read += survey.counts.rows
        self._warnings.update(survey.counts.warnings)
        licence = survey.container.licence
        said = f"{survey.manner.file}: its licence is {licence}, says the hub" if licence else ""
        for text in filter(None, (survey.detected(), survey.unread(), said)):
            self._job.log.note(text)
        self._sources.append({**survey.facts(), "split": given or "by content", **_fingerprint(name)})

    def _builtin(self) -> None:
        from honed.builtin.load import load

        self._placing.begin(BUILTIN)
        splits: tuple[Split, ...] = ("heldout", "train")
        for split in splits:
            rows = load(split)
            kept = []
            for number, row in enumerate(rows, self._read + 1):
                if self._placing.sorter.place(int(row.id, 16), int(row.prompt_id, 16), number, split) == split:
                    said = {name: f"column tags.{name}" for name in ATTRIBUTES if name in row.tags}
                    kept.append(row.model_copy(update={"declared": said}))
            self._draft.add("rows", columns.table("rows", kept, [split] * len(kept)))
            self._read += len(rows)
        self._job.log.note("builtin: the embedded instruction set, with its own split")
        self._sources.append({"file": BUILTIN, "rows": self._read, "split": "its own"})

    def _refuse(self, found: Refused) -> None:
        self._faulty += len(found.faults)
        self._first = self._first or found.faults[0]
        self._reasons[found.faults[0].kind] += 1
        self._out.write(dropped.line(found.faults[0], found.text, found.faults[1:]))

    def _judge(self) -> None:
        """Raise if a fault stops the import, or no row is left."""
        if self._first and not self._settings.allow_faults:
            many = f"{self._faulty:,} faults in {self._read:,} rows; the first: " if self._faulty > 1 else ""
            hint = f"{self._first.hint} Nothing was imported; --allow-faults imports the rows that can be used."
            raise DataError(f"{many}{self._first}", hint)
        if not self._draft.counts.total():
            names = ", ".join(map(shown, self._settings.files))
            raise DataError(f"{names}: no usable row", f"See what is wrong: honed data check {names}")

    def _tick(self, file: str, meter: Meter, stopping: Callable[[], bool]) -> None:
        if stopping():
            raise Stopped
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            self._job.log.write(Step(stage=f"read {file}", step=meter.done, total=meter.total))


def _licences(settings: DataConfig, sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the licence that was declared; else those that sources declare, and by their name what the rest has."""
    if settings.licence or BUILTIN in settings.files:
        return {settings.name: settings.licence or "apache-2.0"}
    said = {one["file"]: one.get("licence", licences.UNKNOWN) for one in sources}
    if len(set(said.values())) == 1:
        return {settings.name: next(iter(said.values()))}
    declared = {file: licence for file, licence in said.items() if licence != licences.UNKNOWN}
    return declared if len(declared) == len(said) else {**declared, settings.name: licences.UNKNOWN}


def _fingerprint(name: str) -> dict[str, Any]:
    if hub.is_ref(name):
        return {}
    path = Path(name)
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


if __name__ == "__main__":
    main(work)
