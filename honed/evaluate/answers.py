"""Answering: each row's prompt to the engine, each answer judged and kept on the disk as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from honed.evaluate import outcome, scoring
from honed.evaluate.answerer import Answerer
from honed.evaluate.outcome import Answer
from honed.evaluate.shard import Shard
from honed.evaluate.vacuous import vacuous
from honed.jobs.events import SampleMade, Step
from honed.models.chat import Unusable
from honed.models.engine import Completion, Sampling
from honed.models.load import Prepared
from honed.records import Conversation
from honed.registry import Verifier


class Answering:
    """The answers of one job, made by one rank or several.

    ``known`` are the rows' verifiers, ``floors`` each row's verdicts on the floors.

    Verified rows are all answered, of the others the first ``others``: these are ``wanted``. What an earlier attempt
    made is kept.
    """

    def __init__(
        self,
        shard: Shard,
        rows: Sequence[Conversation],
        known: Mapping[str, Verifier],
        floors: Mapping[str, Mapping[str, bool]],
        others: int,
    ) -> None:
        self._shard, self._job, self._known, self._floors = shard, shard.job, known, floors
        unverified = {row.id for row in [row for row in rows if row.check is None][:others]}
        self.wanted = [row for row in rows if row.check or row.id in unverified]
        self._path = shard.path(outcome.SAMPLES)
        outcome.mend(self._path)
        self.answers = shard.read(Answer, outcome.SAMPLES)
        self.resumed = len(self.answers)
        self._todo: list[Conversation] = []
        self.made_tokens = 0
        self.seconds = 0.0

    def prepare(self, answerer: Answerer, max_tokens: int) -> None:
        """Find the rows that have no answer yet, and have the model loaded if it is needed for one of them."""
        if self.resumed:
            self._job.log.note(f"{self.resumed} of {len(self.wanted)} answers were there already")
        for row in self._shard.own(self.wanted):
            if row.id in self.answers:
                continue
            if why := _no_room(answerer.prepared, row):
                self._keep(row, Completion(text="", tokens=0, finish="length"), why)
            else:
                self._todo.append(row)
        answerer.make_ready([row.prompt for row in self._todo], Sampling(max_tokens=max_tokens))

    def run(self, answerer: Answerer, max_tokens: int, check: Callable[[], None]) -> None:
        """Make the answers that ``prepare`` found missing, greedily.

        ``check`` is called after each and may raise to stop. Rank 0 then waits for those of the others.
        """
        todo = self._todo
        start = time.perf_counter()

        def done(place: int, completion: Completion) -> None:
            self.made_tokens += completion.tokens
            self.seconds = time.perf_counter() - start
            self._keep(todo[place], completion)
            check()

        check()
        if todo:
            answerer.engine.generate([row.prompt for row in todo], Sampling(max_tokens=max_tokens), done)
        if self._shard.first:
            self.answers = self._shard.gather(Answer, outcome.SAMPLES, [row.id for row in self.wanted], check)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens made by this attempt for each second of it; None if it made none."""
        return self.made_tokens / self.seconds if self.made_tokens else None

    def _keep(self, row: Conversation, completion: Completion, why: str = "") -> None:
        assert completion.finish != "cancelled", "nobody cancels an evaluation's answers"
        score = scoring.judge(row, completion.text, self._known)
        answer = Answer(
            row=row.id,
            prompt=row.prompt,
            ideal=row.answer,
            tags=row.tags,
            answer=completion.text,
            tokens=completion.tokens,
            finish=completion.finish,
            passed=score.passed if score else None,
            why=why or (score.why if score else ""),
            floors=self._floors.get(row.id, {}),
            vacuous=vacuous(row.prompt, completion.text, row.answer, scoring.CONSTANTS),
            value=score.value if score else None,
            check=row.check,
            reasoning=completion.reasoning,
        )
        outcome.append(self._path, [answer])
        self.answers[row.id] = answer
        speed = self.tokens_per_second
        values = {"tokens_per_second": speed} if speed else {}
        self._job.log.write(SampleMade(row=row.id, answer=completion.text, passed=answer.passed))
        self._job.log.write(Step(stage="answers", step=len(self.answers), total=len(self.wanted), values=values))


def _no_room(model: Prepared | None, row: Conversation) -> str:
    """Return why a row can't be answered, or nothing. It then counts as failed: leaving it out would flatter.

    What a served model has room for, its server knows.
    """
    if model is None:
        return ""
    try:
        length = len(model.chat.prompt_ids(row.prompt))
    except Unusable as error:
        return error.message
    if length >= model.context:
        return f"The prompt has {length} tokens, and the model's context is {model.context}."
    return ""
