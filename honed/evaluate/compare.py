"""Two evaluations of the same rows become one paired comparison: overall, per task, per audience, per benefit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

from honed import segments as rules_
from honed.errors import DataError, JobError
from honed.evaluate import benefits, families, graded, heldout, outcome, power, ranks, reliable, stats
from honed.evaluate.benefits import Benefits
from honed.evaluate.graded import GradedChange, Values
from honed.evaluate.outcome import SEGMENTS, Answer, Floors, Outcome, RowLoss
from honed.evaluate.power import Power
from honed.evaluate.rates import Worst, worst
from honed.evaluate.segment import Judged, Segment, adjusted, segment
from honed.evaluate.stats import SMALLEST, Interval
from honed.jobs.job import Job
from honed.records import Message, Record, Split
from honed.segments import Rule


class Said(Record):
    """One model's answer to a row, and its verdict."""

    answer: str
    tokens: int
    cut: bool
    passed: bool | None
    why: str
    vacuous: str
    value: float | None = None


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
        return fate(self.base.passed, self.tuned.passed)


def fate(before: bool | None, after: bool | None) -> str:
    """Return how a row's two verdicts fall: ``won``, ``lost``, ``both``, ``neither``, or ``unverified``."""
    if before is None or after is None:
        return "unverified"
    if before == after:
        return "both" if before else "neither"
    return "won" if after else "lost"


class LossChange(Record):
    """Held-out loss in nats per supervised token, on the rows that both models could read.

    ``p_value`` is Wilcoxon's, of each family's own difference per token: it asks of families of rows, the interval,
    for which whole families are drawn again, of tokens.
    """

    rows: int
    base: float
    tuned: float
    difference: float
    interval: Interval
    p_value: float

    @property
    def base_perplexity(self) -> float:
        """e to the base's loss."""
        return exp(self.base)

    @property
    def tuned_perplexity(self) -> float:
        """e to the tuned model's loss."""
        return exp(self.tuned)


class Detail(Record):
    """What else changed for a group of rows; each is None where there are too few, or nothing of it was measured.

    ``together`` counts families of rows that are passed whole. P-values are adjusted by Holm's step over the groups of
    the same tag.
    """

    loss: LossChange | None = None
    graded: GradedChange | None = None
    together: Segment | None = None


class Comparison(Record):
    """What two evaluations say together. ``overall`` and ``power`` are None when no row has a verifier.

    ``small`` are the groups of too few rows to say anything, by tag and name, with their number of rows; ``worst`` is
    each tag's group that the tuned model passes least often. ``graded`` is the change of graded answers' mean value,
    ``benefits`` the table of benefits where the rows are of suites that name them; ``together`` is of families that are
    passed whole, ``details`` what else changed by tag and group.
    """

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
    small: Mapping[str, Mapping[str, int]]
    worst: Mapping[str, Worst]
    power: Power | None
    floors: Floors | None
    loss: LossChange | None
    notes: tuple[str, ...]
    graded: GradedChange | None = None
    benefits: Benefits | None = None
    together: Segment | None = None
    details: Mapping[str, Mapping[str, Detail]] = {}

    @property
    def least_gain(self) -> Segment | None:
        """The audience that gained least, or None if the rows name no audience."""
        return min(self.segments.get("audience", ()), key=lambda segment: segment.difference, default=None)


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


def segmented(one: Evaluation, rules: Sequence[Rule]) -> Evaluation:
    """Return an evaluation whose rows have their segment by ``rules`` among their tags, in place of an earlier one."""
    answers = {}
    for row, answer in one.answers.items():
        answers[row] = answer.model_copy(update={"tags": _ruled(answer.tags, rules)})
    losses = {row: line.model_copy(update={"tags": _ruled(line.tags, rules)}) for row, line in one.losses.items()}
    outcome_ = one.outcome.model_copy(update={"rules": rules_.version(rules)})
    return replace(one, answers=answers, losses=losses, outcome=outcome_)


def _ruled(tags: Mapping[str, str], rules: Sequence[Rule]) -> Mapping[str, str]:
    return rules_.shown(rules, {tag: value for tag, value in tags.items() if tag != rules_.TAG})


def compare(base: Evaluation, tuned: Evaluation, tags: Sequence[str] = (), smallest: int = SMALLEST) -> Comparison:
    """Pair two evaluations row by row. Raises ``DataError`` that names how their rows or limits differ.

    ``tags`` are those by which all is also given, by default the evaluations' own; a group of fewer rows than
    ``smallest`` is named with its size only.
    """
    _same_rows(base, tuned)
    rows = [pair for pair in pairs(base, tuned) if pair.fate != "unverified"]
    whole = segment("all", [_judged(row, base.answers) for row in rows]) if rows else None
    tags = tags or list(dict.fromkeys([*base.outcome.segments, *tuned.outcome.segments])) or SEGMENTS
    groups = {tag: _groups(tag, rows) for tag in tags}
    segments = {tag: _segments(cells, base.answers, smallest) for tag, cells in groups.items()}
    gaps = {tag: _worst(segments[tag], cells) for tag, cells in groups.items()}
    return Comparison(
        base_job=base.job,
        tuned_job=tuned.job,
        base=base.outcome,
        tuned=tuned.outcome,
        rows=base.outcome.rows,
        data=base.outcome.data,
        data_hash=base.outcome.data_hash,
        split=base.outcome.split,
        overall=whole,
        segments=segments,
        small={tag: _small(cells, smallest) for tag, cells in groups.items()},
        worst={tag: gap for tag, gap in gaps.items() if gap},
        power=power.of(whole.pairs, whole.design_effect) if whole else None,
        floors=base.outcome.floors,
        loss=_loss(base, tuned),
        notes=(*_notes(base, tuned), *_unmatched(groups, rows)),
        graded=graded.change(list(_values(rows))),
        benefits=benefits.benefits([_benefit(row, base.answers) for row in rows], smallest),
        together=_together("all", [one for group in reliable.together(rows).values() for one in group], base, smallest),
        details={tag: found for tag in tags if (found := _details(tag, base, tuned, rows, smallest))},
    )


def read_all(found: Sequence[Job], tags: Sequence[str]) -> tuple[list[Evaluation], tuple[str, ...]]:
    """Return the evaluations and the tags to give all by; a file of segments among these becomes a tag of the rows.

    Raises as ``read`` and ``segments.named`` do.
    """
    evaluations = [read(job) for job in found]
    named, rules = rules_.named(tags)
    return [segmented(one, rules) for one in evaluations] if rules else evaluations, named


def compare_jobs(
    base: Job, tuned: Job, tags: Sequence[str] = (), smallest: int = SMALLEST, rules: Sequence[Rule] = ()
) -> Comparison:
    """Pair two finished evaluation jobs, by the segments of ``rules`` too. Raises as ``read`` and ``compare`` do."""
    one, other = read(base), read(tuned)
    if rules:
        one, other = segmented(one, rules), segmented(other, rules)
    return compare(one, other, tags, smallest)


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
        vacuous=answer.vacuous,
        value=answer.value,
    )


def _same_rows(base: Evaluation, tuned: Evaluation) -> None:
    one, other = base.outcome, tuned.outcome
    facts = (
        ("dataset", f"{one.data} ({one.data_hash[:12]})", f"{other.data} ({other.data_hash[:12]})"),
        ("split", one.split, other.split),
        ("rows", str(one.rows), str(other.rows)),
        ("max_tokens", str(one.max_tokens), str(other.max_tokens)),
        ("scorer", one.scorer or "none", other.scorer or "none"),
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


def _groups(tag: str, rows: Sequence[Pair]) -> dict[str, list[Pair]]:
    names = sorted({row.tags[tag] for row in rows if tag in row.tags})
    return {name: [row for row in rows if row.tags.get(tag) == name] for name in names}


def _unmatched(groups: Mapping[str, Mapping[str, Sequence[Pair]]], rows: Sequence[Pair]) -> list[str]:
    """Say which tags no row has. The usual ones are always tried, and not missed."""
    wanted = [tag for tag in groups if tag not in SEGMENTS] if rows else []
    said = rules_.unmatched(wanted, (), [row.tags for row in rows])
    return [f"Of those that have a verifier, {what}: nothing is given by it." for what in said]


def _worst(segments: Sequence[Segment], cells: Mapping[str, Sequence[Pair]]) -> Worst | None:
    """The group that the tuned model passes least often, by families of rows."""
    effects = {}
    for one in segments:
        rows = [(bool(row.tuned.passed), families.family(row.tags, row.prompt)) for row in cells[one.name]]
        effects[one.name] = families.rate_effect(*zip(*rows, strict=True))
    return worst({one.name: one.tuned for one in segments}, effects)


def _small(groups: Mapping[str, Sequence[Pair]], smallest: int) -> dict[str, int]:
    return {name: len(group) for name, group in groups.items() if len(group) < smallest}


def _segments(
    groups: Mapping[str, Sequence[Pair]], answers: Mapping[str, Answer], smallest: int
) -> tuple[Segment, ...]:
    large = {name: group for name, group in groups.items() if len(group) >= smallest}
    return adjusted([segment(name, [_judged(row, answers) for row in group]) for name, group in large.items()])


def _judged(row: Pair, answers: Mapping[str, Answer]) -> Judged:
    before, after = bool(row.base.passed), bool(row.tuned.passed)
    return Judged(
        before=before,
        after=after,
        before_guarded=before and not row.base.vacuous,
        after_guarded=after and not row.tuned.vacuous,
        floors=answers[row.row].floors,
        family=families.family(row.tags, row.prompt),
    )


def _values(rows: Sequence[Pair]) -> Iterator[Values]:
    for row in rows:
        if row.base.value is not None and row.tuned.value is not None:
            yield Values(row.base.value, row.tuned.value, families.family(row.tags, row.prompt))


def _details(tag: str, base: Evaluation, tuned: Evaluation, rows: Sequence[Pair], smallest: int) -> dict[str, Detail]:
    lost: dict[str, set[str]] = {}
    for row, line in base.losses.items():
        known = line.tags or (base.answers[row].tags if row in base.answers else {})
        if tag in known:
            lost.setdefault(known[tag], set()).add(row)
    losses = {name: _loss(base, tuned, group) for name, group in lost.items()}
    values = {name: graded.change(list(_values(group))) for name, group in _groups(tag, rows).items()}
    whole = {name: _together(name, group, base, smallest) for name, group in reliable.whole_in(tag, rows).items()}
    parts: dict[str, dict[str, Record]] = {
        "loss": _holm({name: one for name, one in losses.items() if one and one.rows >= smallest}),
        "graded": _holm({name: one for name, one in values.items() if one and one.n >= smallest}),
        "together": {one.name: one for one in adjusted([one for one in whole.values() if one])},
    }
    names = sorted({name for part in parts.values() for name in part})
    return {name: Detail.model_validate({kind: part.get(name) for kind, part in parts.items()}) for name in names}


def _holm(changes: Mapping[str, LossChange] | Mapping[str, GradedChange]) -> dict[str, Record]:
    p_values = dict(zip(changes, stats.holm([one.p_value for one in changes.values()]), strict=True))
    return {name: one.model_copy(update={"p_value": p_values[name]}) for name, one in changes.items()}


def _together(name: str, families_: Sequence[Sequence[Pair]], base: Evaluation, smallest: int) -> Segment | None:
    rows = [benefits.joined([_judged(row, base.answers) for row in family]) for family in families_]
    return segment(name, rows) if len(rows) >= smallest else None


def _benefit(row: Pair, answers: Mapping[str, Answer]) -> benefits.Row:
    values, said = (row.base.value, row.tuned.value), (row.base.answer, row.tuned.answer)
    return benefits.Row(row.row, row.tags, _judged(row, answers), values, said)


def _notes(base: Evaluation, tuned: Evaluation) -> tuple[str, ...]:
    """Say what else differs between the two than the model."""
    one, other = base.outcome, tuned.outcome
    notes = []
    if one.template_hash != other.template_hash:
        notes.append("The two models use other tokens or chat templates: their losses can't be compared.")
        if one.bits_per_byte and other.bits_per_byte:
            both = f"{one.bits_per_byte:.3f} and {other.bits_per_byte:.3f}"
            notes.append(f"Bits per byte of the held-out answers, which share no tokens but the text: {both}.")
    if (one.device, one.precision) != (other.device, other.precision):
        ran = f"{one.precision} on {one.device} and {other.precision} on {other.device}"
        notes.append(f"The two ran in {ran}: rounding alone may change some answers.")
    if one.rules != other.rules:
        notes.append("The two were given other segments: those of the base model's evaluation are shown.")
    return tuple(notes)


def _loss(base: Evaluation, tuned: Evaluation, wanted: Collection[str] | None = None) -> LossChange | None:
    both = base.losses.keys() & tuned.losses.keys()
    shared = sorted(both if wanted is None else both & set(wanted))
    if not shared or base.outcome.template_hash != tuned.outcome.template_hash:
        return None
    nats, tokens = heldout.summed([base.losses, tuned.losses], base.answers, shared)
    before, after = nats.T.tolist()
    sizes: list[float] = tokens.tolist()
    differences, total = [two - one for one, two in zip(before, after, strict=True)], sum(sizes)
    return LossChange(
        rows=len(shared),
        base=sum(before) / total,
        tuned=sum(after) / total,
        difference=sum(differences) / total,
        interval=stats.bootstrap(differences, sizes),
        p_value=ranks.wilcoxon([change / count for change, count in zip(differences, sizes, strict=True)]),
    )
