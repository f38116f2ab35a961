"""What a learning curve leaves: a point for each size, the law through them, a verdict in words. All torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from honed.evaluate import families, heldout, outcome, stats
from honed.evaluate.compare import Evaluation
from honed.evaluate.outcome import Rate
from honed.evaluate.stats import Interval
from honed.records import Record
from honed.rounds.curve import law, needed
from honed.rounds.curve.law import Law
from honed.rounds.curve.needed import Curve, RowsFor


class Trained(Record):
    """One size as it was trained. ``size`` was asked for, which is what the curve is drawn over.

    ``rows`` are the examples that were trained on: without those left out, and two for each preference under KTO.
    """

    size: int
    rows: int
    left_out: int
    model: str
    steps: int
    epochs: float
    batch_tokens: int
    learning_rate: float
    seconds: float
    job: str


class Change(Record):
    """How much better a model is than another on the same held-out rows; above 0 is better.

    Nats per supervised token of loss, or a fraction of rows passed; ``interval`` is the paired bootstrap's or
    Newcombe's, ``p_value`` that of random signs, two-sided, both by family of rows; ``p_adjusted`` is that one after
    Holm's step over the sizes.
    """

    better: float
    interval: Interval
    p_value: float
    p_adjusted: float


class Point(Record):
    """One model on the held-out rows. The first is the base: its ``size`` is 0 and it has no ``trained``.

    ``loss`` is in nats per supervised token. ``gain`` and ``pass_gain`` are over the point before, the others over the
    base; None where nothing was measured, or nothing comes before.
    """

    size: int
    trained: Trained | None
    job: str
    loss: float | None
    interval: Interval | None
    passed: Rate | None
    gain: Change | None
    pass_gain: Change | None
    over_base: Change | None
    pass_over_base: Change | None


class CurveOutcome(Record):
    """``result.json`` of a learning curve. ``recipe`` is what all sizes share; ``words`` say what is shown.

    ``objective`` is what every size learned. ``verdict`` is about the last two sizes: ``more helps``, ``flat``,
    ``worse`` or ``not shown``. ``rows_for`` says how many rows reach a loss: those that were asked for, and parts of
    the gain over the base.
    """

    data: str
    source: str
    unit: str
    base: str
    heldout: int
    loss_rows: int
    judged: int
    points: tuple[Point, ...]
    law: Law | None
    recipe: Mapping[str, Any]
    objective: str = "sft"
    verdict: str
    words: tuple[str, ...]
    page: str
    rows_for: tuple[RowsFor, ...] = ()
    seconds: float = 0.0
    peak_rss_bytes: int = 0


class Measured:
    """Evaluations of several models on the same rows, paired: the base first, then each size."""

    def __init__(self, evaluations: Sequence[Evaluation]) -> None:
        self.evaluations = evaluations
        losses = [evaluation.losses for evaluation in evaluations]
        self.loss_rows = sorted(set.intersection(*(set(lines) for lines in losses)))
        """Ids of the rows that every model has a loss for."""
        self.nats, self.tokens = heldout.summed(losses, evaluations[0].answers, self.loss_rows)
        """Of each family of these rows: nats, a column for each model, and supervised tokens."""
        answers = [evaluation.answers for evaluation in evaluations]
        shared = set.intersection(*(set(lines) for lines in answers))
        self.judged = sorted(row for row in shared if answers[0][row].passed is not None)
        """Ids of the rows whose answers a verifier judged."""
        self.families = [families.family(answers[0][row].tags, answers[0][row].prompt) for row in self.judged]
        """Which family each of these is of."""
        self._passed = [[bool(lines[row].passed) for row in self.judged] for lines in answers]

    def points(self, trained: Sequence[Trained]) -> tuple[Point, ...]:
        """Return the base's point and one for each size."""
        sizes: list[Trained | None] = [None, *trained]
        steps = [self.loss_change(at - 1, at) for at in range(1, len(sizes))]
        gains = self._holm(steps)
        rates = self._holm([self.pass_change(at - 1, at) for at in range(1, len(sizes))])
        over_base = [None, *steps[:1], *(self.loss_change(0, at) for at in range(2, len(sizes)))]
        return tuple(
            Point(
                size=one.size if one else 0,
                trained=one,
                job=self.evaluations[at].job,
                loss=float(self.nats[:, at].sum() / self.tokens.sum()) if self.loss_rows else None,
                interval=stats.bootstrap(list(self.nats[:, at]), list(self.tokens)) if self.loss_rows else None,
                passed=outcome.rate(self._passed[at]) if self.judged else None,
                gain=gains[at - 1] if at else None,
                pass_gain=rates[at - 1] if at else None,
                over_base=over_base[at],
                pass_over_base=self.pass_change(0, at) if at else None,
            )
            for at, one in enumerate(sizes)
        )

    def loss_change(self, first: int, second: int) -> Change | None:
        """Return by how much the second model's loss is lower, None without losses."""
        if not self.loss_rows:
            return None
        lower = list(self.nats[:, first] - self.nats[:, second])
        p_value = stats.randomisation(lower)
        return Change(
            better=float(sum(lower) / self.tokens.sum()),
            interval=stats.bootstrap(lower, list(self.tokens)),
            p_value=p_value,
            p_adjusted=p_value,
        )

    def pass_change(self, first: int, second: int) -> Change | None:
        """Return by how much the second model's pass rate is higher, None without verifiers."""
        if not self.judged:
            return None
        before, after = self._passed[first], self._passed[second]
        counts, by = stats.count(before, after), families.sums(before, after, self.families)
        p_value = families.test(counts, by)
        interval = stats.newcombe(counts, effect=families.design_effect(counts, by))
        return Change(better=counts.difference, interval=interval, p_value=p_value, p_adjusted=p_value)

    def law(self, trained: Sequence[Trained]) -> Law | None:
        """Return the power law through the sizes, the base left out: it has seen no row."""
        if not self.loss_rows:
            return None
        return law.law(np.array([one.size for one in trained], dtype=np.float64), self.nats[:, 1:], self.tokens)

    def rows_for(
        self, trained: Sequence[Trained], fitted: Law | None, asked: Sequence[float] = ()
    ) -> tuple[RowsFor, ...]:
        """Return how many rows reach the losses ``asked`` for, and parts of the gain; none without losses."""
        if not self.loss_rows:
            return ()
        rows = np.array([one.size for one in trained], dtype=np.float64)
        base = float(self.nats[:, 0].sum() / self.tokens.sum())
        return needed.rows_for(Curve(rows, self.nats[:, 1:], self.tokens, base), fitted, asked)

    @staticmethod
    def _holm(changes: Sequence[Change | None]) -> list[Change | None]:
        known = [change for change in changes if change]
        if len(known) < len(changes):
            return list(changes)
        adjusted = stats.holm([change.p_value for change in known])
        pairs = zip(known, adjusted, strict=True)
        return [change.model_copy(update={"p_adjusted": p_value}) for change, p_value in pairs]
