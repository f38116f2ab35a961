"""The synthesis itself, in its own process: settings in; out come marked rows, and why others did not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from honed import config
from honed.data import dropped
from honed.data.licences import carried
from honed.data.synthesize import plan, writer
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import Made, Rejected, RejectedError
from honed.data.synthesize.plan import Plan, Wave
from honed.data.synthesize.writer import Writer
from honed.errors import BudgetError, DataError, EndpointError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped, main
from honed.models.wire import Reply, Request
from honed.records import Conversation, Fault
from honed.store import artifacts, datasets

_EVERY_SECONDS = 0.25
_HOPELESS = 8
"""Requests refused one by one, and none answered: the others would fare the same."""

Outcome = Reply | EndpointError


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Synthesize as ``config.yaml`` says and return what was made, left out and paid.

    A limit in money ends it in order, with the rows so far. Raises ``DataError`` if there is none, ``EndpointError`` if
    the endpoint fails for good, ``Stopped`` when asked to stop; every reply is kept then, and a resumed job starts from
    them.
    """
    settings = config.read(SynthesizeConfig, job.path / "config.yaml")
    planned = plan.made(job.workspace, settings)
    for text in planned.notes:
        job.log.note(text)
    hand = writer.opened(job.workspace, settings, job.id, job.log.note)
    try:
        job.log.note(plan.words(plan.estimate(planned, settings, hand.estimate), settings))
        synthesis = Synthesis(job, settings, planned, hand, stopping)
        synthesis.run()
        return {**_published(job, settings, planned, synthesis), **hand.spent.model_dump(), "ended": synthesis.ended}
    finally:
        hand.close()


def _published(job: Job, settings: SynthesizeConfig, planned: Plan, done: Synthesis) -> dict[str, Any]:
    path = job.path / dropped.FILE
    with path.open("wb") as out:
        for unit, left in done.rejected:
            file, line = f"{settings.method} by {writer.name(settings)}", unit + 1
            fault = Fault(file=file, line=line, field="reply", kind=left.kind, message=left.message)
            out.write(dropped.line(fault, left.text))
    if not done.rows:
        why = ", ".join(f"{count:,} {kind}" for kind, count in done.reasons.most_common(3)) or done.ended
        raise DataError(
            f"not one row came of {done.asked:,} tries: {why}",
            f"Read what was written in {path}; another writer, or more attempts, may do better.",
        )
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}
    facts = {
        "rows": done.asked,
        "dropped": dict(done.reasons.most_common()),
        "synthetic": {"method": settings.method, "generator": writer.name(settings), "mended": dict(done.mended)},
        "licences": carried([planned.seeds]) if planned.seeds else {},
    }
    artifact = datasets.write(
        job.workspace,
        settings.name,
        ((row, "train") for row in done.rows),
        config=settings.model_dump(mode="json"),
        facts=facts,
        files=[path],
        parents={planned.seeds.ref: planned.seeds.manifest.hash} if planned.seeds else {},
    )
    return {"dataset": artifact.ref, "new": artifact.ref not in before, **artifact.manifest.facts}


class Synthesis:
    """A synthesis under way: waves of units, judged in the order of their numbers, whatever order replies come in."""

    def __init__(
        self, job: Job, settings: SynthesizeConfig, planned: Plan, hand: Writer, stopping: Callable[[], bool]
    ) -> None:
        self._job, self._settings, self._plan, self._writer, self._stopping = job, settings, planned, hand, stopping
        self.rows: list[Conversation] = []
        self.rejected: list[tuple[int, Rejected]] = []
        self.reasons: Counter[str] = Counter()
        self.mended: Counter[str] = Counter()
        self.asked = 0
        self.ended = ""
        """Why it ended before all rows were there, or nothing."""
        self._ids: set[str] = set()
        self._said = time.monotonic()

    def run(self) -> None:
        """Go on until the rows are there, the attempts are used up, or the money is spent."""
        wanted, most = self._settings.rows, self._settings.rows * self._settings.attempts
        while len(self.rows) < wanted and self.asked < most and not self.ended:
            self._wave(plan.wave(self._settings, self.asked, len(self.rows)))
            left = ", ".join(f"{count:,} {kind}" for kind, count in self.reasons.most_common(5)) or "none"
            self._job.log.note(f"{len(self.rows):,} rows of {self.asked:,} tries; left out: {left}")
        if len(self.rows) < wanted and not self.ended:
            self.ended = f"{self.asked:,} tries gave no more: attempts is {self._settings.attempts}"
        if self.ended:
            self._job.log.note(f"ended with {len(self.rows):,} of {wanted:,} rows: {self.ended}")

    def _wave(self, wave: Wave) -> None:
        method = self._plan.method
        first = self._replies("write", [method.first(unit) for unit in wave.units])
        results: dict[int, Made | Rejected] = {}
        asking: dict[int, Sequence[Request]] = {}
        for unit, reply in zip(wave.units, (first.get(place) for place in range(len(wave.units))), strict=True):
            if reply is None:
                continue  # the money was spent before
            try:
                asking[unit] = method.then(unit, _reply(reply))
            except RejectedError as error:
                results[unit] = error.rejected
        places = [(unit, request) for unit, requests in asking.items() for request in requests]
        later = self._replies("answer", [request for _, request in places]) if places else {}
        told: dict[int, list[Outcome]] = {unit: [] for unit in asking}
        for place, (unit, _) in enumerate(places):
            if place in later:
                told[unit].append(later[place])
        for unit, requests in asking.items():
            if len(told[unit]) == len(requests):
                results[unit] = self._made(unit, first[unit - wave.first], told[unit])
        for unit in wave.units:
            if unit in results and len(self.rows) < self._settings.rows:
                self.asked += 1
                self._judge(unit, results[unit])

    def _made(self, unit: int, first: Outcome, later: Sequence[Outcome]) -> Made | Rejected:
        try:
            return self._plan.method.made(unit, _reply(first), [_reply(one) for one in later])
        except RejectedError as error:
            return error.rejected

    def _judge(self, unit: int, result: Made | Rejected) -> None:
        """Keep a row that is new; count what is left out."""
        if isinstance(result, Made):
            beside = self._plan.novelty.beside(result.novel) if result.novel else None
            if beside is None and result.row.id not in self._ids:
                if result.novel:
                    self._plan.novelty.add(f"the new row {result.row.id}", result.novel)
                self._ids.add(result.row.id)
                self.rows.append(result.row)
                self.mended.update(result.mended)
                return
            name, alike = beside or ("a new row", 1.0)
            result = Rejected("near duplicate", f"{alike:.2f} of its runs of words are those of {name}", result.novel)
        self.reasons[result.kind] += 1
        self.rejected.append((unit, result))

    def _replies(self, stage: str, requests: Sequence[Request]) -> Mapping[int, Outcome]:
        """Return replies by the place of their request; those that the money was not enough for are missing."""
        found: dict[int, Outcome] = {}
        answered = 0
        try:
            for place, outcome in self._writer.each(requests, self._stopping):
                found[place] = outcome
                answered += isinstance(outcome, Reply)
                if isinstance(outcome, EndpointError) and not answered and len(found) >= min(_HOPELESS, len(requests)):
                    raise outcome
                self._tick(stage, len(found), len(requests))
        except BudgetError as error:
            self.ended = error.message
        if self._stopping():
            raise Stopped
        return found

    def _tick(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS or done == total:
            self._said = now
            self._job.log.write(Step(stage=stage, step=done, total=total, values={"cost": self._writer.spent.cost}))


def _reply(outcome: Outcome) -> Reply:
    if isinstance(outcome, EndpointError):
        raise RejectedError("refused by the endpoint", outcome.message, outcome.hint)
    return outcome


if __name__ == "__main__":
    main(work)
