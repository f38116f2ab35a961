"""Rows as a writer makes them: asked for in waves, judged in order, each kept or left out with its reason."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from honed.data.synthesize import plan
from honed.data.synthesize.methods.method import Made, Rejected, RejectedError
from honed.data.synthesize.novel import Novelty
from honed.data.synthesize.plan import Part, Wave
from honed.data.synthesize.writer import Writer
from honed.errors import BudgetError, EndpointError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.wire import Reply, Request
from honed.records import Conversation

_EVERY_SECONDS = 0.25
_HOPELESS = 8
"""Requests refused one by one, and none answered: the others would fare the same."""

Outcome = Reply | EndpointError


@dataclass
class Known:
    """What new rows are compared with, those of all parts: instructions, held-out ones alone, the new rows' ids."""

    novelty: Novelty
    held: Novelty | None
    ids: set[str] = field(default_factory=set)


class Synthesis:
    """A part under way: waves of units, judged in the order of their numbers, whatever order replies come in."""

    def __init__(self, job: Job, part: Part, hand: Writer, stopping: Callable[[], bool], known: Known) -> None:
        self.part, self._job, self._settings, self._writer, self._stopping = part, job, part.settings, hand, stopping
        self._known, self._said = known, time.monotonic()
        self.rows: list[Conversation] = []
        self.rejected: list[tuple[int, Rejected]] = []
        self.reasons: Counter[str] = Counter()
        self.mended: Counter[str] = Counter()
        self.asked = 0
        self.ended = ""
        """Why it ended before all rows were there, or nothing."""
        self.broke = False
        """Whether the money ended it."""

    def run(self) -> None:
        """Go on until the rows are there, the attempts are used up, or the money is spent."""
        wanted, most = self._settings.rows, self._settings.rows * self._settings.attempts
        while len(self.rows) < wanted and self.asked < most and not self.ended:
            self._wave(plan.wave(self._settings, self.asked, len(self.rows)))
            left = ", ".join(f"{count:,} {kind}" for kind, count in self.reasons.most_common(5)) or "none"
            self._note(f"{len(self.rows):,} rows of {self.asked:,} tries; left out: {left}")
        if len(self.rows) < wanted and not self.ended:
            self.ended = f"{self.asked:,} tries gave no more: attempts is {self._settings.attempts}"
        if self.ended:
            self._note(f"ended with {len(self.rows):,} of {wanted:,} rows: {self.ended}")

    def _note(self, text: str) -> None:
        self._job.log.note(f"{self.part.kind}: {text}" if self.part.kind else text)

    def _wave(self, wave: Wave) -> None:
        method = self.part.method
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
            return self.part.method.made(unit, _reply(first), [_reply(one) for one in later])
        except RejectedError as error:
            return error.rejected

    def _judge(self, unit: int, result: Made | Rejected) -> None:
        """Keep a row that is new; count what is left out."""
        if isinstance(result, Made):
            beside = (self._known.novelty.beside(result.novel) if result.novel else None) or self._beside_held(
                result.turns
            )
            if beside is None and result.row.id not in self._known.ids:
                if result.novel:
                    self._known.novelty.add(f"the new row {result.row.id}", result.novel)
                self._known.ids.add(result.row.id)
                self.rows.append(result.row)
                self.mended.update(result.mended)
                return
            name, alike = beside or ("a new row", 1.0)
            result = Rejected("near duplicate", f"{alike:.2f} of its runs of words are those of {name}", result.novel)
        self.reasons[result.kind] += 1
        self.rejected.append((unit, result))

    def _beside_held(self, turns: Sequence[str]) -> tuple[str, float] | None:
        held = self._known.held
        return next((found for turn in turns if held and (found := held.beside(turn))), None)

    def _replies(self, stage: str, requests: Sequence[Request]) -> Mapping[int, Outcome]:
        """Return replies by the place of their request; those that the money was not enough for are missing."""
        found: dict[int, Outcome] = {}
        try:
            for place, outcome in self._writer.each(requests, self._stopping):
                found[place] = outcome
                if (
                    isinstance(outcome, EndpointError)
                    and not self._answered
                    and len(found) >= min(_HOPELESS, len(requests))
                ):
                    raise outcome
                self._tick(stage, len(found), len(requests))
        except BudgetError as error:
            self.ended, self.broke = error.message, True
        if self._stopping():
            raise Stopped
        return found

    @property
    def _answered(self) -> bool:
        """Whether the writer has answered anything of this job, now or before."""
        return bool(self._writer.spent.requests or self._writer.spent.cached)

    def _tick(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS or done == total:
            self._said = now
            self._job.log.write(Step(stage=stage, step=done, total=total, values={"cost": self._writer.spent.cost}))


def _reply(outcome: Outcome) -> Reply:
    if isinstance(outcome, EndpointError):
        raise RejectedError("refused by the endpoint", outcome.message, outcome.hint)
    return outcome
