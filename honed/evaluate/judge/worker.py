"""The process that judges: ``python -m honed.evaluate.judge.worker <job folder>``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from honed import config as settings_file
from honed.evaluate.judge import (
    agreement,
    answers,
    labels,
    page,
    pairwise,
    people,
    rubric,
    score_agreement,
    trusted,
    words,
)
from honed.evaluate.judge import reply as replies
from honed.evaluate.judge.answers import Answers, Pair
from honed.evaluate.judge.asking import Asking, Question, schema
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.judges import EndpointJudge, LocalJudge, opened
from honed.evaluate.judge.outcome import AnyResult, Measured, Pairwise, Rubric, Usage
from honed.evaluate.judge.reply import Said
from honed.evaluate.judge.summary import tally
from honed.jobs import worker
from honed.jobs.events import ArtifactMade
from honed.jobs.job import Job
from honed.models.remote import Estimate
from honed.records import Record
from honed.store.workspace import write_whole, writing

AnyJudge = EndpointJudge | LocalJudge


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Judge as ``config.yaml`` says, going on from what an earlier attempt got; return one of the outcomes."""
    settings = settings_file.read(JudgeConfig, job.path / "config.yaml")
    found = people.summary(job, settings) if settings.people else _judged(job, settings, stopping)
    page.write(job, found)
    return found.model_dump(mode="json", exclude={"peak_rss_bytes", "seconds"})  # these are the edge's to tell


def _judged(job: Job, settings: JudgeConfig, stopping: Callable[[], bool]) -> AnyResult:
    ask = _Judging(job, settings, stopping)
    with opened(job, settings, stopping) as judge:
        if settings.labels is not None:
            return ask.scores_measured(judge) if settings.criteria else ask.choices_measured(judge)
        return ask.scored(judge) if settings.criteria else ask.compared(judge)


class _Judging:
    """One job's work, whatever it asks."""

    def __init__(self, job: Job, settings: JudgeConfig, stopping: Callable[[], bool]) -> None:
        self._job, self._settings, self._stopping = job, settings, stopping

    def compared(self, judge: AnyJudge) -> Pairwise:
        """Compare two models' answers."""
        settings = self._settings
        asked = answers.compared(self._job.workspace, settings)
        found, usage = self._verdicts(judge, asked.pairs)
        self._write(pairwise.VERDICTS, found)
        shown = tally(found, settings.segments)
        return Pairwise(
            judge=judge.facts,
            trust=trusted.of(self._job.workspace, judge.facts.identity, settings),
            sides=asked.sides,
            asked=sum(bool(one.said) for one in found),
            unasked=sum(not one.said for one in found),
            unusable=sum(one.choice is None for one in found),
            overall=shown.overall,
            length_controlled=shown.length_controlled,
            groups=shown.groups,
            order=pairwise.order(found),
            usage=usage,
            notes=tuple(_notes(judge, *asked.given)),
        )

    def scored(self, judge: AnyJudge) -> Rubric:
        """Score the answers of one model, or of two."""
        settings = self._settings
        asked = answers.picked(self._job.workspace, settings)
        names = rubric.side_names(len(asked))
        questions = rubric.all_questions([chosen for _, chosen in asked], settings.criteria, settings.guide)
        said, usage = self._said(judge, questions)
        found = {
            name: rubric.scored(name, chosen, settings.criteria, said)
            for name, (_, chosen) in zip(names, asked, strict=True)
        }
        self._write(rubric.SCORES, [one for group in found.values() for one in group])
        both = "base" in found
        return Rubric(
            judge=judge.facts,
            trust=trusted.of(self._job.workspace, judge.facts.identity, settings),
            criteria=settings.criteria,
            sides=tuple(
                rubric.side(one.name, found[name], settings.criteria, settings.segments)
                for name, (one, _) in zip(names, asked, strict=True)
            ),
            changes=rubric.changes(found["base"], found["tuned"], list(settings.criteria)) if both else {},
            usage=usage,
            notes=tuple(_notes(judge, *(one for one, _ in asked))),
        )

    def choices_measured(self, judge: AnyJudge) -> Measured:
        """Measure the judge's agreement with people's choices."""
        settings = self._settings
        labelled, raters = labels.chosen(Path(str(settings.labels)), settings.rows, settings.seed)
        found, usage = self._verdicts(judge, [one.pair for one in labelled])
        self._write(pairwise.VERDICTS, found)
        measured = agreement.agreement(labelled, found, raters)
        return Measured(
            judge=judge.facts,
            trust=agreement.trust(measured, settings.least_kappa, settings.least_labels, self._job.id),
            labels=str(settings.labels),
            choices=measured,
            usage=usage,
        )

    def scores_measured(self, judge: AnyJudge) -> Measured:
        """Measure the judge's agreement with people's scores."""
        settings = self._settings
        labelled = score_agreement.chosen(
            Path(str(settings.labels)), list(settings.criteria), settings.rows, settings.seed
        )
        asked = {id_: answered for id_, (answered, _) in labelled.items()}
        said, usage = self._said(judge, rubric.all_questions([asked], settings.criteria, settings.guide))
        found = rubric.scored("tuned", asked, settings.criteria, said)
        self._write(rubric.SCORES, found)
        measured = score_agreement.agreement({id_: scores for id_, (_, scores) in labelled.items()}, found)
        return Measured(
            judge=judge.facts,
            trust=score_agreement.trust(measured, settings.least_kappa, settings.least_labels, self._job.id),
            labels=str(settings.labels),
            scores=measured,
            usage=usage,
        )

    def _verdicts(self, judge: AnyJudge, pairs: Sequence[Pair]) -> tuple[list[pairwise.Verdict], Usage]:
        said, usage = self._said(judge, pairwise.questions(pairs, self._settings.guide))
        return pairwise.verdicts(pairs, said), usage

    def _said(self, judge: AnyJudge, questions: Sequence[Question]) -> tuple[dict[str, Said], Usage]:
        criteria = self._settings.criteria
        asking = Asking(
            self._job,
            lambda text: replies.scores(text, list(criteria)) if criteria else replies.verdict(text),
            criteria,
        )
        if self._job.status().attempt <= 1:
            self._job.log.note(words.ahead(len(questions), self._estimate(judge, questions)))
        said = asking.run(judge, questions, self._check)
        cost = None
        if isinstance(judge, EndpointJudge):
            cost = judge.engine.spent.cost if judge.engine.config.prompt_price is not None else None
        got = asking.replies.values()
        usage = Usage(
            replies=len(got),
            again=sum(one.attempt == 2 for one in got),
            unusable=sum(bool(one.unusable) for one in said.values()),
            resumed=asking.resumed,
            cached=judge.cached,
            prompt_tokens=sum(one.prompt_tokens for one in got),
            tokens=sum(one.tokens for one in got),
            cost=cost,
        )
        return said, usage

    def _estimate(self, judge: AnyJudge, questions: Sequence[Question]) -> Estimate | None:
        if not isinstance(judge, EndpointJudge):
            return None
        form = schema(self._settings.criteria)
        return judge.engine.estimate(judge.requests([one.messages for one in questions], form))

    def _check(self) -> None:
        if self._stopping():
            raise worker.Stopped

    def _write(self, name: str, lines: Sequence[Record]) -> None:
        path = self._job.path / name
        with writing(path):
            write_whole(path, "".join(line.model_dump_json() + "\n" for line in lines))
        self._job.log.write(ArtifactMade(name=name, path=name))


def _notes(judge: AnyJudge, *given: Answers) -> list[str]:
    """Say what a reader must know beside the numbers."""
    notes = []
    if any(one.name == judge.facts.name for one in given):
        notes.append("The judge is one of the models that it judges: models are known to favour their own answers.")
    notes += [
        f"{one.job or one.name}: {one.repeated} answers are to prompts that were answered before, and don't count"
        for one in given
        if one.repeated
    ]
    return notes


if __name__ == "__main__":
    worker.main(work)
