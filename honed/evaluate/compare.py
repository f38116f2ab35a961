"""Two evaluations of the same rows become one paired comparison: overall, per task, per audience, per benefit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from honed.errors import DataError, JobError
from honed.evaluate import outcome, stats
from honed.evaluate.outcome import SEGMENTS, Answer, Floors, Outcome, Rate, RowLoss
from honed.evaluate.stats import Interval, Verdict
from honed.jobs.job import Job
from honed.records import Message, Record, Split


class Said(Record):
    """One model's answer to a row, and its verdict."""

    answer: str
    tokens: int
    cut: bool
    passed: bool | None
    why: str


class Pair(Record):
    """Both answers to one row."""

    row: str
    prompt: tuple[Message, ...]
    ideal: str
    tags: Mapping[str, str]
    base: Said
    tuned: Said

    @property
    def fate(self) -> str:
        """``won``, ``lost``, ``both``, ``neither``, or ``unverified``."""
        if self.base.passed is None or self.tuned.passed is None:
            return "unverified"
        if self.base.passed == self.tuned.passed:
            return "both" if self.base.passed else "neither"
        return "won" if self.tuned.passed else "lost"


class Segment(Record):
    """A group of rows under both models. Rates, differences and intervals are fractions, not percentages.

    ``interval`` is Newcombe's, ``bootstrap`` the resampled one; ``p_value`` is the exact two-sided one of these rows
    alone, ``p_adjusted`` that one after Holm's step over the groups of the same tag, on which ``verdict`` rests.
    """

    name: str
    n: int
    base: Rate
    tuned: Rate
    floors: Mapping[str, Rate]
    both: int
    won: int
    lost: int
    neither: int
    difference: float
    interval: Interval
    bootstrap: Interval
    p_value: float
    p_adjusted: float
    verdict: Verdict


class LossChange(Record):
    """Held-out loss in nats per supervised token, on the rows that both models could read."""

    rows: int
    base: float
    tuned: float
    difference: float
    interval: Interval

    @property
    def base_perplexity(self) -> float:
        """e to the base's loss."""
        return exp(self.base)

    @property
    def tuned_perplexity(self) -> float:
        """e to the tuned model's loss."""
        return exp(self.tuned)


class Comparison(Record):
    """What two evaluations say together. ``overall`` is None when no row has a verifier."""

    base_job: str
    tuned_job: str
    base: Outcome
    tuned: Outcome
    rows: int
    data: str
    data_hash: str
    split: Split
    overall: Segment | None
    segments: Mapping[str, tuple[Segment, ...]]
    floors: Floors | None
    loss: LossChange | None
    notes: tuple[str, ...]

    @property
    def least_gain(self) -> Segment | None:
        """The audience that gained least, or None if the rows name no audience."""
        return min(self.segments["audience"], key=lambda segment: segment.difference, default=None)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation job, read back."""

    job: str
    outcome: Outcome
    answers: Mapping[str, Answer]
    losses: Mapping[str, RowLoss]


def read(job: Job) -> Evaluation:
    """Read a finished evaluation. Raises ``JobError`` if the job is another stage's or isn't done."""
    stage = job.status().stage
    if stage != "evaluate":
        raise JobError(f"job {job.id} is no evaluation but {stage}", "Give two jobs that honed evaluate made.")
    return Evaluation(
        job.id,
        outcome.result(job.result()),
        outcome.read(Answer, job.path / outcome.SAMPLES),
        outcome.read(RowLoss, job.path / outcome.LOSSES),
    )


def compare(base: Evaluation, tuned: Evaluation) -> Comparison:
    """Pair two evaluations row by row. Raises ``DataError`` that names how their rows or limits differ."""
    _same_rows(base, tuned)
    rows = [pair for pair in pairs(base, tuned) if pair.fate != "unverified"]
    loss = _loss(base, tuned)
    return Comparison(
        base_job=base.job,
        tuned_job=tuned.job,
        base=base.outcome,
        tuned=tuned.outcome,
        rows=base.outcome.rows,
        data=base.outcome.data,
        data_hash=base.outcome.data_hash,
        split=base.outcome.split,
        overall=_adjusted([_segment("all", rows, base.answers)])[0] if rows else None,
        segments={tag: _segments(tag, rows, base.answers) for tag in SEGMENTS},
        floors=base.outcome.floors,
        loss=loss,
        notes=_notes(base, tuned),
    )


def compare_jobs(base: Job, tuned: Job) -> Comparison:
    """Pair two finished evaluation jobs. Raises as ``read`` and ``compare`` do."""
    return compare(read(base), read(tuned))


def pairs(base: Evaluation, tuned: Evaluation) -> list[Pair]:
    """Return both models' answers to every row that both answered, in the order of the base's rows."""
    return [
        Pair(
            row=row,
            prompt=answer.prompt,
            ideal=answer.ideal,
            tags=answer.tags,
            base=_said(answer),
            tuned=_said(tuned.answers[row]),
        )
        for row, answer in sorted(base.answers.items())
        if row in tuned.answers
    ]


def _said(answer: Answer) -> Said:
    return Said(
        answer=answer.answer,
        tokens=answer.tokens,
        cut=answer.finish == "length",
        passed=answer.passed,
        why=answer.why,
    )


def _same_rows(base: Evaluation, tuned: Evaluation) -> None:
    one, other = base.outcome, tuned.outcome
    facts = (
        ("dataset", f"{one.data} ({one.data_hash[:12]})", f"{other.data} ({other.data_hash[:12]})"),
        ("split", one.split, other.split),
        ("rows", str(one.rows), str(other.rows)),
        ("max_tokens", str(one.max_tokens), str(other.max_tokens)),
    )
    differ = [f"{name} {before} and {after}" for name, before, after in facts if before != after]
    if one.data_hash == other.data_hash:
        differ = [text for text in differ if not text.startswith("dataset ")]  # one content under two names
    if not differ and base.answers.keys() != tuned.answers.keys():
        differ = [f"{len(base.answers.keys() ^ tuned.answers.keys())} answered rows are in one of the two only"]
    if differ:
        raise DataError(
            f"{base.job} and {tuned.job} can't be paired: {'; '.join(differ)}",
            "Evaluate both models on the same --data, --split and --rows, with the same seed and max_tokens.",
        )


def _segments(tag: str, rows: Sequence[Pair], answers: Mapping[str, Answer]) -> tuple[Segment, ...]:
    names = sorted({row.tags[tag] for row in rows if tag in row.tags})
    groups = [[row for row in rows if row.tags.get(tag) == name] for name in names]
    return tuple(_adjusted([_segment(name, group, answers) for name, group in zip(names, groups, strict=True)]))


def _segment(name: str, rows: Sequence[Pair], answers: Mapping[str, Answer]) -> Segment:
    before = [bool(row.base.passed) for row in rows]
    after = [bool(row.tuned.passed) for row in rows]
    counts = stats.count(before, after)
    floors = [answers[row.row].floors for row in rows]
    return Segment(
        name=name,
        n=counts.n,
        base=outcome.rate(before),
        tuned=outcome.rate(after),
        floors={floor: outcome.rate(verdicts[floor] for verdicts in floors) for floor in ("constant", "echo")},
        both=counts.both,
        won=counts.won,
        lost=counts.lost,
        neither=counts.neither,
        difference=counts.difference,
        interval=stats.newcombe(counts),
        bootstrap=stats.bootstrap([two - one for one, two in zip(before, after, strict=True)]),
        p_value=stats.mcnemar(counts.won, counts.lost),
        p_adjusted=1.0,
        verdict="not shown",
    )


def _adjusted(segments: Sequence[Segment]) -> list[Segment]:
    """Give each group its verdict, in the knowledge that there are several."""
    found = []
    for segment, p_value in zip(segments, stats.holm([segment.p_value for segment in segments]), strict=True):
        verdict = stats.verdict(segment.difference, p_value)
        found.append(segment.model_copy(update={"p_adjusted": p_value, "verdict": verdict}))
    return found


def _notes(base: Evaluation, tuned: Evaluation) -> tuple[str, ...]:
    """Say what else differs between the two than the model."""
    one, other = base.outcome, tuned.outcome
    notes = []
    if one.template_hash != other.template_hash:
        notes.append("The two models use other tokens or chat templates: their losses can't be compared.")
    if (one.device, one.precision) != (other.device, other.precision):
        ran = f"{one.precision} on {one.device} and {other.precision} on {other.device}"
        notes.append(f"The two ran in {ran}: rounding alone may change some answers.")
    return tuple(notes)


def _loss(base: Evaluation, tuned: Evaluation) -> LossChange | None:
    shared = sorted(base.losses.keys() & tuned.losses.keys())
    if not shared or base.outcome.template_hash != tuned.outcome.template_hash:
        return None
    before = [base.losses[row] for row in shared]
    after = [tuned.losses[row] for row in shared]
    tokens = [line.tokens for line in before]
    differences = [two.nats - one.nats for one, two in zip(before, after, strict=True)]
    total = sum(tokens)
    return LossChange(
        rows=len(shared),
        base=sum(line.nats for line in before) / total,
        tuned=sum(line.nats for line in after) / total,
        difference=sum(differences) / total,
        interval=stats.bootstrap(differences, tokens),
    )
