"""Answers scored by a rubric: each criterion from 1 to 5, with intervals, and paired where two models are scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from honed import config
from honed.errors import ConfigError
from honed.evaluate import families, ranks, stats
from honed.evaluate.judge import prompts
from honed.evaluate.judge.answers import Answered
from honed.evaluate.judge.asking import Question
from honed.evaluate.judge.reply import LOWEST, Said
from honed.evaluate.stats import SMALLEST, Interval
from honed.records import Message, Record, digest

SCORES = "scores.jsonl"


class RubricFile(config.Config):
    """A rubric as it is written: ``criteria: {name: what it asks}``, and perhaps a ``guide``."""

    criteria: Mapping[str, str]
    guide: str = ""


class Scored(Record):
    """One line of ``scores.jsonl``: an answer of ``side`` with its scores; none, and why, if the reply is unusable."""

    id: str
    side: str
    prompt: tuple[Message, ...]
    tags: Mapping[str, str]
    answer: str
    scores: Mapping[str, int]
    reason: str
    unusable: str = ""


class Mean(Record):
    """The mean score of a criterion with its bootstrap interval, and how many answers got 1, 2, 3, 4 and 5."""

    n: int
    mean: float
    interval: Interval
    counts: tuple[int, ...]


class Change(Record):
    """Tuned minus base on the prompts where both have scores.

    ``p_value`` is Wilcoxon's of each family's mean difference, a prompt being a family unless tags say otherwise;
    ``p_adjusted`` is that one after Holm's step over the criteria.
    """

    n: int
    difference: float
    interval: Interval
    p_value: float
    p_adjusted: float
    verdict: stats.Verdict


class SideScores(Record):
    """One model's scores: by criterion, and by tag, group and criterion; groups that are too small only have a size."""

    name: str
    n: int
    unusable: int
    means: Mapping[str, Mean]
    groups: Mapping[str, Mapping[str, Mapping[str, Mean]]]
    small: Mapping[str, Mapping[str, int]]


def read(path: Path) -> RubricFile:
    """Read a rubric from YAML. Raises ``ConfigError`` if it is none."""
    found = config.load(RubricFile, "rubric", path, (), {})
    if not found.criteria:
        raise ConfigError(f"{path}: there are no criteria", "Write criteria: and below it a name: what it asks, each.")
    return found


def questions(side: str, answers: Mapping[str, Answered], criteria: Mapping[str, str], guide: str) -> list[Question]:
    """Return a question for each answer that isn't empty."""
    return [
        Question(_key(id_, side, one), prompts.rubric(one.prompt, one.answer, criteria, guide))
        for id_, one in answers.items()
        if one.answer.strip()
    ]


def _key(id_: str, side: str, one: Answered) -> str:
    return f"{id_}/{digest([one.answer])}/{side}"  # a file may have changed since an earlier attempt of the job


def side_names(count: int) -> tuple[str, ...]:
    """Return what the answers of one model are called, or of two."""
    return ("base", "tuned") if count == 2 else ("tuned",)


def all_questions(given: Sequence[Mapping[str, Answered]], criteria: Mapping[str, str], guide: str) -> list[Question]:
    """Return the questions of one model's answers, or of two."""
    named = zip(side_names(len(given)), given, strict=True)
    return [question for name, one in named for question in questions(name, one, criteria, guide)]


def scored(
    side: str, answers: Mapping[str, Answered], criteria: Mapping[str, str], said: Mapping[str, Said]
) -> list[Scored]:
    """Return each answer with its scores; an empty one gets the lowest of all without being asked about."""
    found = []
    for id_, one in answers.items():
        reply = said.get(
            _key(id_, side, one), Said(scores=dict.fromkeys(criteria, LOWEST), reason="the answer is empty")
        )
        found.append(
            Scored(
                id=id_,
                side=side,
                prompt=one.prompt,
                tags=one.tags,
                answer=one.answer,
                scores=reply.scores,
                reason=reply.reason,
                unusable=reply.unusable,
            )
        )
    return found


def side(name: str, found: Sequence[Scored], criteria: Iterable[str], tags: Iterable[str]) -> SideScores:
    """Return one model's means over all answers, and over the groups of each tag."""
    usable = [one for one in found if one.scores]
    groups: dict[str, dict[str, dict[str, Mean]]] = {}
    small: dict[str, dict[str, int]] = {}
    for tag in tags:
        for value in sorted({one.tags[tag] for one in usable if tag in one.tags}):
            group = [one for one in usable if one.tags.get(tag) == value]
            if len(group) < SMALLEST:
                small.setdefault(tag, {})[value] = len(group)
            else:
                groups.setdefault(tag, {})[value] = _means(group, criteria)
    return SideScores(
        name=name,
        n=len(usable),
        unusable=len(found) - len(usable),
        means=_means(usable, criteria) if usable else {},
        groups=groups,
        small=small,
    )


def changes(base: Sequence[Scored], tuned: Sequence[Scored], criteria: Sequence[str]) -> dict[str, Change]:
    """Return the paired difference of each criterion, on the prompts where both answers have scores."""
    before = {one.id: one for one in base if one.scores}
    after = {one.id: one for one in tuned if one.scores}
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return {}
    names = [families.family(before[id_].tags, before[id_].prompt) for id_ in shared]
    found = {}
    for criterion in criteria:
        sums: dict[str, list[int]] = {}
        for id_, name in zip(shared, names, strict=True):
            sums.setdefault(name, []).append(after[id_].scores[criterion] - before[id_].scores[criterion])
        totals = [sum(group) for group in sums.values()]
        sizes = [float(len(group)) for group in sums.values()]
        p_value = ranks.wilcoxon([total / size for total, size in zip(totals, sizes, strict=True)])
        found[criterion] = Change(
            n=len(shared),
            difference=sum(totals) / len(shared),
            interval=stats.bootstrap(totals, sizes),
            p_value=p_value,
            p_adjusted=p_value,
            verdict="not shown",
        )
    adjusted = stats.holm([one.p_value for one in found.values()])
    return {
        name: one.model_copy(update={"p_adjusted": p_value, "verdict": stats.verdict(one.difference, p_value)})
        for (name, one), p_value in zip(found.items(), adjusted, strict=True)
    }


def _means(found: Sequence[Scored], criteria: Iterable[str]) -> dict[str, Mean]:
    means = {}
    for name in criteria:
        values = [one.scores[name] for one in found]
        means[name] = Mean(
            n=len(values),
            mean=sum(values) / len(values),
            interval=stats.bootstrap(values),
            counts=tuple(values.count(score) for score in range(1, 6)),
        )
    return means
