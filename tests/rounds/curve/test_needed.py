"""How many rows a loss takes, and how many times those of another curve: planted laws are found, chance isn't."""

from __future__ import annotations

import numpy as np
import pytest

from honed.errors import DataError, JobError
from honed.evaluate.compare import Evaluation
from honed.jobs import job as jobs
from honed.rounds.curve import efficiency, law, needed
from honed.rounds.curve.config import CurveConfig
from honed.rounds.curve.efficiency import Efficiency
from honed.rounds.curve.law import Floats
from honed.rounds.curve.needed import Curve
from honed.rounds.curve.outcome import CurveOutcome, Measured
from honed.store.workspace import Workspace
from tests.rounds.curve.test_law import ROWS, held_out
from tests.rounds.curve.test_verdict import measured, trained

SIZES = (16, 64, 256, 1024)


def curve(truth: Floats, base: float = 3.0, noise: float = 0.05) -> tuple[Curve, law.Law | None]:
    nats, tokens = held_out(truth, noise=noise)
    rows = ROWS[: len(truth)]
    return Curve(rows, nats, tokens, base), law.law(rows, nats, tokens)


def test_the_rows_for_a_loss_are_those_of_the_planted_law() -> None:
    made, fitted = curve(1 + 3 * ROWS**-0.4)
    for rows in (100, 1000, 10_000):
        found = made.rows_for(1 + 3 * rows**-0.4, fitted)
        assert found.by == "law" and found.rows and found.low
        assert found.low < rows < (found.high or 10 * ROWS[-1])
        assert found.rows == pytest.approx(rows, rel=0.5)


def test_a_loss_below_the_floor_or_far_beyond_the_sizes_is_not_reached() -> None:
    made, fitted = curve(1 + 3 * ROWS**-0.4)
    for loss in (0.5, 0.8):
        found = made.rows_for(loss, fitted)
        assert (found.rows, found.high) == (None, None)
        assert "isn't reached within 10 times 4,096 rows" in needed.sentence(found, "rows", 4096)


def test_parts_of_the_gain_are_given_and_what_was_asked_for_comes_first() -> None:
    made, fitted = curve(1 + 3 * ROWS**-0.4)
    found = needed.rows_for(made, fitted, (1.5,))
    assert [one.share for one in found] == [None, 0.5, 0.8, 0.9, 0.95]
    assert found[0].loss == 1.5
    rows = [one.rows for one in found[1:] if one.rows]
    assert rows == sorted(rows) and len(rows) == 4
    said = needed.sentence(found[3], "rows", 4096)
    assert "90\u00a0% of the largest gain, takes" in said and " to " in said
    assert needed.rows_for(Curve(made.rows, *held_out(1 + 3 * ROWS**-0.4), base=0.5), fitted) == ()  # nothing gained


def test_without_a_law_the_sizes_themselves_are_named() -> None:
    made, fitted = curve(np.array([2.0, 1.5, 1.2]), noise=0.0)
    assert fitted is None
    found = made.rows_for(1.6, fitted)
    assert (found.by, found.low, found.rows, found.high) == ("sizes", 16, 64, 64)
    assert "is reached between 16 and 64 rows" in needed.sentence(found, "rows", 256)
    never = made.rows_for(1.0, fitted)
    assert never.rows is None and "isn't reached by any size" in needed.sentence(never, "rows", 256)


def outcomes(evaluations: list[list[Evaluation]]) -> list[CurveOutcome]:
    made = []
    for at, found in enumerate(evaluations):
        both, runs = Measured(found), trained(SIZES)
        made.append(
            CurveOutcome(
                data="d-curve@v1", source="d@v1", unit="rows", base=f"base-{at}", heldout=200, loss_rows=200, judged=0,
                points=both.points(runs), law=both.law(runs), recipe={}, verdict="more helps", words=("",), page="",
            )
        )  # fmt: skip
    return made


def compared(*times: float) -> Efficiency:
    """Curves that need ``times`` as many rows as 1 + 3 n^-0.4."""
    found = [
        measured([3.5, *(1 + 3 * (size / many) ** -0.4 for size in SIZES)], noise=0.02 + 0.001 * at).evaluations
        for at, many in enumerate(times)
    ]
    return efficiency.compared(["curve-a", "curve-b"], outcomes([list(one) for one in found]), found, (1.3,))


def test_a_base_that_needs_four_times_the_rows_is_found_to() -> None:
    found = compared(4.0, 1.0)
    assert found.targets[0].loss == 1.3 and len(found.targets) == 4
    for one in found.targets[1:]:
        assert one.ratio == pytest.approx(4, rel=0.3)
        assert one.low is not None and one.high is not None and 1 < one.low < one.ratio < one.high
        assert one.shown
    assert "base-0 needs 4" in found.words[2] or "base-0 needs 3." in found.words[2]


def test_two_equal_curves_are_not_said_to_differ() -> None:
    found = compared(1.0, 1.0)
    assert [one.shown for one in found.targets] == [False] * 4
    assert "a difference isn't shown" in found.words[1]


def test_curves_that_do_not_overlap_say_so() -> None:
    low = measured([3.5, *(1 + 0.1 * size**-0.4 for size in SIZES)], noise=0.02)
    high = measured([3.5, *(2 + 3 * size**-0.4 for size in SIZES)], noise=0.02)
    found = [list(high.evaluations), list(low.evaluations)]
    made = efficiency.compared(["a", "b"], outcomes(found), found)
    assert made.targets == () and "The curves don't overlap: base-1 is below" in made.words[0]


def test_other_held_out_rows_or_tokens_are_refused() -> None:
    one, other = (list(measured([3.5, 2.0, 1.9, 1.8, 1.7], rows=rows).evaluations) for rows in (50, 40))
    with pytest.raises(DataError, match="10 held-out rows are in one of the two only"):
        efficiency.compared(["a", "b"], outcomes([one, one]), [one, other])
    strange = [
        Evaluation(each.job, each.outcome.model_copy(update={"template_hash": "x"}), each.answers, each.losses)
        for each in one
    ]
    with pytest.raises(DataError, match="other tokens or chat templates"):
        efficiency.compared(["a", "b"], outcomes([one, one]), [one, strange])


def test_a_job_that_is_no_curve_is_named(workspace: Workspace) -> None:
    config = CurveConfig(data="d@v1", base="b", name="n", sizes=(1, 2))
    job = jobs.create(workspace, "round", config)
    with pytest.raises(JobError, match="is no learning curve but round"):
        efficiency.of_jobs(job, job)


def test_curves_of_what_does_not_lower_the_loss_are_not_compared_by_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create(workspace, "curve", CurveConfig(data="d", base="b", name="c", sizes=(1, 2)))
    found = {"objective": "dpo"}
    monkeypatch.setattr(efficiency, "_outcome", lambda _job: CurveOutcome.model_construct(**found))
    with pytest.raises(DataError, match="a curve of dpo can't be compared by its held-out loss"):
        efficiency.of_jobs(job, job)
