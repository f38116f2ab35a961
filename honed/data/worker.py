"""The import itself, in its own process: files in, one dataset out, or a list of every fault and nothing written."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from honed import config
from honed.data import dropped
from honed.data.config import BUILTIN, HELDOUT, DataConfig
from honed.data.intake import Refused, taking
from honed.data.sources.row import Meter
from honed.data.split import Sorter
from honed.errors import DataError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.records import Conversation, Fault, Split
from honed.store import artifacts, datasets

_EVERY_ROWS = 256
_EVERY_SECONDS = 0.25

Placed = Iterator[tuple[Conversation, Split]]


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Import as ``config.yaml`` says and return what was counted.

    Raises ``DataError`` if a row has a fault (all of them are in ``dropped.jsonl``) or none is left, ``Stopped`` when
    asked to stop; nothing is written then.
    """
    settings = config.read(DataConfig, job.path / "config.yaml")
    importing = Importing(job, settings, stopping)
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}
    artifact = datasets.write(
        job.workspace,
        settings.name,
        importing.rows(),
        config=settings.model_dump(mode="json"),
        facts=importing.facts,
        files=[job.path / dropped.FILE],
    )
    return {"dataset": artifact.ref, "new": artifact.ref not in before, **artifact.manifest.facts}


class Importing:
    """One import under way: the rows stream through it into the dataset, and it counts them."""

    def __init__(self, job: Job, settings: DataConfig, stopping: Callable[[], bool]) -> None:
        self.facts: dict[str, Any] = {}
        """What was counted; filled once the rows are exhausted."""
        self._job, self._settings, self._stopping = job, settings, stopping
        self._sorter = Sorter(HELDOUT if settings.heldout is None else settings.heldout)
        self._reasons: Counter[str] = Counter()
        self._read = self._faulty = 0
        self._first: Fault | None = None
        self._sources: list[dict[str, Any]] = []
        self._said = time.monotonic()

    def rows(self) -> Placed:
        """Yield the rows to keep, each with its split; those left out go to ``dropped.jsonl``."""
        with (self._job.path / dropped.FILE).open("wb") as out:
            if self._settings.heldout_file:
                yield from self._file(self._settings.heldout_file, "heldout", out)
            for name in self._settings.files:
                if name == BUILTIN:
                    yield from self._builtin()
                else:
                    yield from self._file(name, "train" if self._settings.heldout_file else None, out)
        self._judge()
        counts = self._sorter.counts
        self.facts.update(
            rows=self._read,
            duplicates=counts["duplicate"],
            same_prompt=self._sorter.same_prompt,
            dropped=dict(self._reasons.most_common()),
            sources=self._sources,
        )

    def _file(self, name: str, given: Split | None, out: BinaryIO) -> Placed:
        path, meter = Path(name), Meter()
        file = _shown(path)
        with taking(path, file, self._settings.shape, meter) as (intake, rows):
            for found in rows:
                if intake.rows % _EVERY_ROWS == 0:
                    self._tick(file, meter)
                if isinstance(found, Refused):
                    self._refuse(found, out)
                elif (verdict := self._sorter.place(found.row, given)) == "leak":
                    self._reasons["leak"] += 1
                    out.write(dropped.line(_leak(file, found.line), found.text))
                elif verdict != "duplicate" and (self._faulty == 0 or self._settings.allow_faults):
                    yield found.row, verdict
        self._read += intake.rows
        for text in filter(None, (intake.detected(), intake.unread())):
            self._job.log.note(text)
        self._sources.append({**intake.facts(), "split": given or "by content", **_fingerprint(path)})

    def _builtin(self) -> Placed:
        from honed.builtin.load import load

        splits: tuple[Split, ...] = ("heldout", "train")
        for split in splits:
            for row in load(split):
                self._read += 1
                if self._sorter.place(row, split) == split:
                    yield row, split
        self._job.log.note("builtin: the embedded instruction set, with its own split")
        self._sources.append({"file": BUILTIN, "rows": self._read, "split": "its own"})

    def _refuse(self, found: Refused, out: BinaryIO) -> None:
        self._faulty += len(found.faults)
        self._first = self._first or found.faults[0]
        self._reasons[found.faults[0].kind] += 1
        for fault in found.faults:
            out.write(dropped.line(fault, found.text))

    def _judge(self) -> None:
        """Raise if a fault stops the import, or no row is left."""
        counts = self._sorter.counts
        if self._first and not self._settings.allow_faults:
            many = f"{self._faulty:,} faults in {self._read:,} rows; the first: " if self._faulty > 1 else ""
            hint = f"{self._first.hint} Nothing was imported; --allow-faults imports the rows that can be used."
            raise DataError(f"{many}{self._first}", hint)
        if not counts["train"] + counts["heldout"]:
            names = ", ".join(_shown(Path(name)) for name in self._settings.files)
            raise DataError(f"{names}: no usable row", f"See what is wrong: honed data check {names}")

    def _tick(self, file: str, meter: Meter) -> None:
        if self._stopping():
            raise Stopped
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            self._job.log.write(Step(stage=f"read {file}", step=meter.done, total=meter.total))


def _leak(file: str, line: int) -> Fault:
    message = "the held-out file has this prompt: to train on it would be a leak"
    return Fault(file=file, line=line, field="row", kind="leak", message=message, hint="Nothing to mend.")


def _shown(path: Path) -> str:
    """A file as the user sees it: relative to the current folder where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


if __name__ == "__main__":
    main(work)
