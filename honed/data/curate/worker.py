"""The curation itself, in its own process: a dataset and a recipe in; out comes another, with a report of each step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import orjson

from honed import config
from honed.data import dropped, segmented
from honed.data.curate import report
from honed.data.curate.pieces import Spread, here
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.report import Report
from honed.data.curate.row import Finding, Turn
from honed.data.curate.table import JUDGED, STEPS
from honed.data.curate.view import PARTS, View, rewritten
from honed.data.licences import carried
from honed.errors import DataError
from honed.jobs import memory
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, cpu_seconds, main
from honed.records import Fault
from honed.store import artifacts, datasets
from honed.store.columns import Part, Record
from honed.store.datasets import Draft

FINDINGS = "findings.jsonl"
"""Everything found that left its row in: what was changed, and what was only reported."""
REPORT = "curation.json"
_EVERY_SECONDS = 0.25


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Curate as ``config.yaml`` says and return the reports.

    Raises ``DataError`` if no training row is left, ``Stopped`` when asked to stop; nothing is written then.
    """
    settings, start = config.read(CurateConfig, job.path / "config.yaml"), cpu_seconds()
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}
    rules = segmented.rules(job.workspace, artifacts.resolve(job.workspace, "datasets", settings.dataset))
    with _spread(settings) as spread, datasets.drafting(job.workspace, settings.name, rules) as draft:
        curation = Curation(job, settings, stopping, spread)
        facts = curation.run(draft)
        artifact = draft.publish(
            config=settings.model_dump(mode="json", exclude={"on"}),  # it changes nothing in the rows
            facts=facts,
            files=[job.path / name for name in (dropped.FILE, FINDINGS, REPORT)],
            parents={curation.dataset.ref: curation.dataset.manifest.hash},
        )
    seconds = {one.step: round(one.seconds, 3) for one in curation.reports}
    cpu = {one.step: round(one.cpu_seconds, 3) for one in curation.reports}
    facts = {**artifact.manifest.facts, "step_seconds": seconds, "step_cpu_seconds": cpu}
    facts |= {"cpu_seconds": round(cpu_seconds() - start, 2), "largest_child_bytes": memory.peak_of_children()}
    return {"dataset": artifact.ref, "new": artifact.ref not in before, "from": curation.dataset.ref, **facts}


@contextmanager
def _spread(settings: CurateConfig) -> Iterator[Spread]:
    if settings.on is None:
        yield here
        return
    from honed.data.curate.on_ray import spreading

    with spreading(settings.on) as spread:
        yield spread


class Curation:
    """A recipe under way on one dataset."""

    def __init__(self, job: Job, settings: CurateConfig, stopping: Callable[[], bool], spread: Spread = here) -> None:
        self._job, self._settings, self._stopping = job, settings, stopping
        self.dataset = artifacts.resolve(job.workspace, "datasets", settings.dataset)
        self.reports: list[Report] = []
        self._view = View(self.dataset, self._tick, spread)
        self._doing, self._done, self._said = "", 0, time.monotonic()

    def run(self, draft: Draft) -> dict[str, Any]:
        """Do every step, write what is left into ``draft``, and return what was counted."""
        before = Counter(self._view.sizes())
        self._tell(before)
        with (self._job.path / FINDINGS).open("wb") as out:
            for name in self._settings.steps:
                self.reports.append(self._step(name, out))
        if before.total() and not any(self._view.sizes().values()):
            raise DataError(
                f"{self.dataset.ref}: no training row is left after {', '.join(self._settings.steps)}",
                "See what each step dropped in the job's notes, and set it more mildly.",
            )
        reasons = self._write(draft)
        steps = [one.facts() for one in self.reports]
        (self._job.path / REPORT).write_bytes(orjson.dumps(steps, option=orjson.OPT_INDENT_2))
        shown = [{key: value for key, value in one.items() if key != "examples"} for one in steps]
        licences = carried([self.dataset])
        return {"rows": before.total(), "dropped": reasons, "curation": shown, "licences": licences}

    def _tell(self, sizes: Mapping[Part, int]) -> None:
        """Say which steps don't read the preferences and ratings that there are."""
        others = [f"{count:,} {part}" for part, count in sizes.items() if count and part != "rows"]
        steps = [name for name in self._settings.steps if name not in JUDGED]
        if others and steps:
            self._job.log.note(f"{', '.join(steps)} read rows only: {' and '.join(others)} pass them as they are")

    def _step(self, name: str, out: BinaryIO) -> Report:
        settings = getattr(self._settings, name)
        done = Report(name, settings.model_dump(mode="json"), self._view.sizes())
        self._doing, self._done, start, cpu = name, 0, time.monotonic(), cpu_seconds()
        gone: list[Finding] = []
        changed: dict[int, tuple[Turn, ...]] = {}

        def say(text: str) -> None:
            done.notes.append(text)
            self._job.log.note(f"{name}: {text}")

        for found in STEPS[name](self._view, settings, say):
            done.add(found)
            if found.action == "drop":
                gone.append(found)
                continue
            out.write(orjson.dumps({"step": name, **report.plain(found)}, option=orjson.OPT_APPEND_NEWLINE))
            if found.action == "change":
                changed[found.number] = found.turns
        self._view.changed.update(changed)
        for found in gone:
            self._view.drop(found.number, found.kind, found.what, found.turns)
        done.left, done.seconds, done.cpu_seconds = self._view.sizes(), time.monotonic() - start, cpu_seconds() - cpu
        return done

    def _write(self, draft: Draft) -> dict[str, int]:
        """Write the dataset; return how many rows were left out for which reason."""
        self._doing = "write"
        reasons: Counter[str] = Counter()
        with ExitStack() as stack:
            out = stack.enter_context((self._job.path / dropped.FILE).open("wb"))

            def leave(number: int, row: Record) -> None:
                kind, what, turns = self._view.dropped[number]
                reasons[kind] += 1
                turns = turns or self._view.changed.get(number, ())
                part, place = self._view.place(number)
                field = part.removesuffix("s")
                fault = Fault(file=self.dataset.ref, line=place + 1, field=field, kind=kind, message=what)
                out.write(dropped.line(fault, (rewritten(row, turns) if turns else row).model_dump_json()))

            self._view.write(draft, leave)
        return dict(reasons.most_common())

    def _tick(self, rows: int) -> None:
        if self._stopping():
            raise Stopped
        self._done += rows
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            total = sum(self.dataset.manifest.facts.get(one, 0) for one in ("train", "heldout", *PARTS))
            self._job.log.write(Step(stage=self._doing, step=min(self._done % (total + 1), total), total=total))


if __name__ == "__main__":
    main(work)
