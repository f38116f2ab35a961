"""How far a judge's rubric scores agree with people's, criterion by criterion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import cast

from pydantic import Field, field_validator

from honed.errors import DataError
from honed.evaluate import lines, stats
from honed.evaluate.judge import answers, kappa
from honed.evaluate.judge.agreement import CriterionAgreement, ScoreAgreement, Trust
from honed.evaluate.judge.answers import Answered
from honed.evaluate.judge.reply import HIGHEST, LOWEST
from honed.evaluate.judge.rubric import Scored
from honed.evaluate.rates import rate
from honed.evaluate.suites.suite import summary
from honed.records import Fault, Message, Record, digest, turns_id

UNUSABLE = 0.05
"""The largest share of unusable replies with which a judge of scores may still be trusted."""

HINT = f'Each line is {{"prompt": ..., "response": ..., "scores": {{criterion: {LOWEST} to {HIGHEST}}}}}.'


class ScoreLabel(Record):
    """One line: a person's scores of an answer, one for each criterion."""

    prompt: tuple[Message, ...] = Field(min_length=1)
    response: str
    scores: Mapping[str, int]
    rater: str = ""

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_messages(cls, value: object) -> object:
        return ({"role": "user", "content": value},) if isinstance(value, str) else value

    @field_validator("scores")
    @classmethod
    def _in_range(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if outside := [name for name, score in value.items() if score not in range(LOWEST, HIGHEST + 1)]:
            raise ValueError(f"{outside[0]} is no whole number from {LOWEST} to {HIGHEST}")
        return value


def read(path: Path, criteria: Sequence[str]) -> dict[str, tuple[Answered, dict[str, int]]]:
    """Return labelled answers with what people said on average, rounded, by id.

    Raises ``DataError`` that names every line which is no label, or lacks a criterion.
    """
    groups: dict[str, list[ScoreLabel]] = {}
    faults: list[Fault] = []
    for number, label in lines.read(path, ScoreLabel, "label", HINT):
        if lacking := [name for name in criteria if name not in label.scores]:
            what = f"there is none for {', '.join(lacking)}"
            faults.append(Fault(file=str(path), line=number, field="scores", kind="label", message=what))
        groups.setdefault(digest([turns_id(label.prompt), label.response]), []).append(label)
    if faults:
        raise DataError(summary(faults), HINT)
    return {
        id_: (
            Answered(prompt=group[0].prompt, answer=group[0].response),
            {name: round(fmean(one.scores[name] for one in group)) for name in criteria},
        )
        for id_, group in sorted(groups.items())
    }


def chosen(
    path: Path, criteria: Sequence[str], rows: int | None, seed: int
) -> dict[str, tuple[Answered, dict[str, int]]]:
    """Return what ``read`` does, or ``rows`` of it."""
    labelled = read(path, criteria)
    return {id_: labelled[id_] for id_ in answers.chosen(list(labelled), rows, seed)}


def agreement(people: Mapping[str, Mapping[str, int]], found: Iterable[Scored]) -> ScoreAgreement:
    """Return how the judge's scores agree with those of people, which are given by id."""
    every = list(found)
    usable = [one for one in every if one.scores]
    names = list(usable[0].scores) if usable else []
    return ScoreAgreement(
        n=len(every),
        unusable=len(every) - len(usable),
        criteria={
            name: _criterion([people[one.id][name] for one in usable], [one.scores[name] for one in usable])
            for name in names
        },
    )


def _criterion(people: Sequence[int], judge: Sequence[int]) -> CriterionAgreement:
    gaps = [mine - theirs for theirs, mine in zip(people, judge, strict=True)]
    return CriterionAgreement(
        n=len(gaps),
        exact=rate(gap == 0 for gap in gaps),
        near=rate(abs(gap) <= 1 for gap in gaps),
        kappa=kappa.cohen(people, judge, squared=True),
        kappa_interval=kappa.cohen_interval(people, judge, squared=True),
        bias=fmean(gaps),
        bias_interval=stats.bootstrap(cast(Sequence[float], gaps)),
    )


def trust(found: ScoreAgreement, least_kappa: float, least_labels: int, job: str = "") -> Trust:
    """Return whether such an agreement earns trust: every criterion must, as for choices (``agreement.trust``)."""
    if found.n < least_labels:
        why = f"{found.n} labelled answers, and {least_labels} are asked for"
        return Trust(state="no", why=why, job=job, scores=found)
    low = [name for name, one in found.criteria.items() if one.kappa is None or one.kappa_interval.low < least_kappa]
    mute = found.unusable > UNUSABLE * found.n
    if low or mute or not found.criteria:
        what = f"{found.unusable} replies of {found.n} are unusable" if mute else f"of {', '.join(low)} it isn't"
        why = f"kappa with people is to be shown to be {least_kappa:g} or more for every criterion; {what}"
        return Trust(state="no", why=why, job=job, scores=found)
    kappas = ", ".join(f"{name} {one.kappa:.2f}" for name, one in found.criteria.items())
    return Trust(state="yes", why=f"kappa with people: {kappas}, on {found.n} answers", job=job, scores=found)
