"""The words say what the numbers show: more helps, flat since, worse, or not shown; and never more than that."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from honed.evaluate import stats
from honed.evaluate.compare import Evaluation
from honed.evaluate.outcome import Answer, RowLoss
from honed.rounds.curve import verdict
from honed.rounds.curve.outcome import Measured, Trained
from tests.evaluate.planted import evaluation, repeated
from tests.rounds.curve.desk import question

SIZES = (16, 64, 256, 1024)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the draws: how exact intervals are is seen elsewhere, and what is said here hangs by none of them."""
    for drawing in (stats.bootstrap, stats.randomisation):
        monkeypatch.setitem(drawing.__kwdefaults__, "resamples", 1000)


def trained(sizes: Sequence[int] = SIZES) -> list[Trained]:
    return [
        Trained(size=size, rows=size, left_out=0, model=f"m-{size}@v1", steps=24, epochs=3, batch_tokens=1024,
                learning_rate=1e-4, seconds=6.0, job=f"train-{size}")
        for size in sizes
    ]  # fmt: skip


def measured(losses: Sequence[float], rows: int = 200, noise: float = 0.1, rates: Sequence[float] = ()) -> Measured:
    """Evaluations of the base and of each size, with these losses a token and, if given, pass rates."""
    questions = [question(at, "billing") for at in range(rows)]
    hard = {row.id: random.Random(row.id).random() for row in questions}
    found: list[Evaluation] = []
    for at, loss in enumerate(losses):
        rng = random.Random(at)
        model = evaluation(questions, rates[at] if rates else 0.5, name=f"m{at}")
        answers: dict[str, Answer] = {}
        if rates:
            for row, answer in model.answers.items():
                answers[row] = answer.model_copy(update={"passed": hard[row] < rates[at]})
        lines = {
            row.id: RowLoss(row=row.id, nats=10 * (loss + hard[row.id] + rng.gauss(0, noise)), tokens=10)
            for row in questions
        }
        found.append(Evaluation(f"job-{at}", model.outcome, answers, lines))
    return Measured(found)


def judge(found: Measured, sizes: Sequence[int] = SIZES, objective: str = "sft") -> tuple[str, list[str]]:
    runs = trained(sizes)
    said, sentences = verdict.judge(found, found.points(runs), found.law(runs), "rows", objective)
    return said, [sentence.replace("\u00a0", " ") for sentence in sentences]


def test_a_loss_that_still_falls_says_that_more_would_help_and_what_twice_as_many_give() -> None:
    said, sentences = judge(measured([3.0, *(1 + 3 * size**-0.4 for size in SIZES)], noise=0.05))
    assert said == "more helps"
    assert sentences[0].startswith("From 256 to 1,024 rows the held-out loss still fell by 0.1")
    assert sentences[0].endswith("more rows would help.")
    assert sentences[1].startswith("Twice as many, 2,048 rows, are expected to give 1.")
    assert sentences[2].startswith("Of the largest gain over the base, 16 rows give ")
    assert " and 256 rows give 9" in sentences[2]


def test_a_loss_that_stopped_falling_is_flat_since_the_first_size_that_reached_it() -> None:
    said, sentences = judge(measured([3.0, 1.5, 1.0, 1.0, 1.0], noise=0.05))
    assert said == "flat"
    assert sentences[0].startswith("The held-out loss is flat since 64 rows: from there to 1,024")
    assert not any("Twice" in sentence for sentence in sentences)
    assert "64 rows give 100 %" in sentences[1] or "64 rows give 99" in sentences[1]


@pytest.mark.parametrize("change", [-0.02, 0.02])
def test_a_change_that_is_shown_and_little_is_called_so(change: float) -> None:
    said, sentences = judge(measured([3.0, 1.5, 1.0, 1.0, 1.0 + change], noise=0.02))
    assert said == ("flat" if change > 0 else "more helps")
    assert ("is flat since 64 rows" if change > 0 else "more rows would help, but little: that is 1 %") in sentences[0]


def test_too_few_held_out_rows_show_nothing_and_nothing_is_called_flat() -> None:
    said, sentences = judge(measured([1.3, 1.2, 1.15, 1.1, 1.1], rows=8, noise=0.5))
    assert said == "not shown"
    assert "no change of the held-out loss is shown" in sentences[0]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_held_out_rows_show_nothing_however_alike_they_are(rows: int) -> None:
    found = measured([3.0, 1.5, 1.0, 1.0, 1.0], rows=rows, noise=0.01)
    said, sentences = judge(found)
    fitted = found.law(trained())
    assert said == "not shown" and sentences[0].startswith(f"Nothing can be shown by {rows} held-out rows")
    assert fitted and not fitted.identified and f"{rows} families of held-out rows" in fitted.why


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_rows_of_one_family_are_one_piece_of_evidence(noise: float) -> None:
    losses = [3.0, *(1 + 3 * size**-0.4 for size in SIZES)]
    once = measured(losses, rows=60, noise=noise, rates=[0.1, 0.2, 0.4, 0.5, 0.6])
    more = Measured([repeated(one, 5) for one in once.evaluations])
    assert (len(more.loss_rows), len(more.judged)) == (300, 300)
    for one, other in zip(once.points(trained())[1:], more.points(trained())[1:], strict=True):
        assert one.interval and one.gain and one.pass_gain and other.gain and other.pass_gain
        assert other.interval == pytest.approx(one.interval)
        assert other.gain.interval == pytest.approx(one.gain.interval)
        assert other.gain.p_value == one.gain.p_value
        assert other.pass_gain.p_value == pytest.approx(one.pass_gain.p_value)
        assert other.pass_gain.interval == pytest.approx(one.pass_gain.interval, abs=0.01)
    law, again = once.law(trained()), more.law(trained())
    assert law and again and (again.identified, again.why) == (law.identified, law.why)
    assert again.forecast.interval == pytest.approx(law.forecast.interval)
    assert judge(more)[0] == judge(once)[0]


def test_few_families_show_nothing_however_many_rows_they_have() -> None:
    found = Measured([repeated(one, 40) for one in measured([3.0, 1.5, 1.0, 1.0, 1.0], rows=3, noise=0.01).evaluations])
    said, sentences = judge(found)
    assert said == "not shown"
    assert sentences[0].startswith("Nothing can be shown by 120 held-out rows of 3 families: it takes 6 families")


@pytest.mark.parametrize("objective", ["dpo", "kto", "simpo"])
def test_an_objective_that_does_not_lower_the_loss_is_judged_by_the_pass_rate(objective: str) -> None:
    found = measured([1.0, 1.1, 1.2, 1.3, 1.5], rates=[0.1, 0.2, 0.4, 0.5, 0.8])
    said, sentences = judge(found, objective=objective)
    assert said == "more helps" and sentences[0].startswith("From 256 to 1,024 rows the pass rate still rose by ")
    assert sentences[-1] == f"The pass rate decides: the held-out loss isn't what {objective} lowers."
    assert judge(found, objective="orpo")[0] == "worse"  # the chosen answer's likelihood is part of its loss


def test_such_an_objective_without_verifiers_is_not_judged_at_all() -> None:
    said, sentences = judge(measured([1.0, 1.1, 1.2, 1.3, 1.5]), objective="dpo")
    assert (said, len(sentences)) == ("not shown", 1)
    assert "have no verifier, and their loss isn't what dpo lowers" in sentences[0]


def test_a_curve_is_drawn_over_what_a_user_brings_and_not_over_what_was_left_of_it() -> None:
    found = measured([3.0, *(1 + 3 * size**-0.4 for size in SIZES)], noise=0.05)
    runs = [one.model_copy(update={"rows": 2 * one.size}) for one in trained()]  # as under KTO
    fitted, plain = found.law(runs), found.law(trained())
    assert fitted == plain and fitted.forecast.rows == 2048
    assert found.rows_for(runs, fitted) == found.rows_for(trained(), plain)


def test_a_loss_that_rose_is_called_so() -> None:
    said, sentences = judge(measured([3.0, 1.5, 1.0, 0.9, 1.2], noise=0.05))
    assert said == "worse"
    assert sentences[0].startswith("From 256 to 1,024 rows the held-out loss rose by 0.")
    assert "look at the rows that came last" in sentences[0]


def test_a_loss_that_rose_a_little_is_not_said_to_have_fallen() -> None:
    said, sentences = judge(measured([3.0, 1.5, 1.0, 1.0, 1.02], noise=0.02))
    assert said == "flat"
    assert "from there to 1,024 it rose by only 0.02" in sentences[0]


def test_three_sizes_have_a_verdict_and_no_forecast() -> None:
    said, sentences = judge(measured([3.0, 2.0, 1.5, 1.2]), SIZES[:3])
    assert said == "more helps"
    assert sentences[1] == "No forecast: a power law takes 4 sizes, and there are 3."


def test_points_that_no_curve_explains_have_no_forecast() -> None:
    _, sentences = judge(measured([3.0, 1.2, 1.6, 1.5, 1.1]))
    assert sentences[1].startswith("No forecast: the sizes don't pin the curve down (its exponent may be ")


def test_a_base_that_no_size_beats_is_said() -> None:
    _, sentences = judge(measured([1.0, 1.5, 1.4, 1.3, 1.2]))
    assert "No size is shown to be better than the base model." in sentences


def test_pass_rates_are_told_beside_the_loss_with_their_own_interval() -> None:
    found = measured([3.0, 2.0, 1.5, 1.2, 1.0], rates=[0.1, 0.2, 0.4, 0.5, 0.8])
    points = found.points(trained())
    rates = [point.passed.rate for point in points if point.passed]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.8], abs=0.1)
    last = points[-1].pass_gain
    assert last and last.better == pytest.approx(0.3, abs=0.1) and last.interval.low < last.better < last.interval.high
    _, sentences = judge(found)
    assert sentences[-1].startswith("From 256 to 1,024 rows the pass rate still rose by ")


def test_gains_are_over_the_point_before_on_the_same_rows_and_adjusted_for_being_several() -> None:
    found = measured([3.0, 2.0, 1.5, 1.499, 1.498])
    points = found.points(trained())
    assert points[0].gain is None and points[0].over_base is None
    for before, point in pairwise(points):
        assert point.gain and before.loss is not None and point.loss is not None
        assert point.gain.better == pytest.approx(before.loss - point.loss)
        assert point.gain.p_adjusted >= point.gain.p_value
    assert points[4].over_base and points[4].over_base.better == pytest.approx(1.5, abs=0.05)


def test_rows_that_one_model_could_not_read_are_left_out_of_all() -> None:
    found = measured([2.0, 1.5, 1.0])
    gone = next(iter(found.evaluations[1].losses))
    lines = {row: line for row, line in found.evaluations[1].losses.items() if row != gone}
    one = found.evaluations[1]
    again = Measured([found.evaluations[0], Evaluation(one.job, one.outcome, one.answers, lines), found.evaluations[2]])
    assert len(again.loss_rows) == 199 and gone not in again.loss_rows


def test_without_losses_or_verifiers_nothing_is_claimed() -> None:
    found = Measured([Evaluation(one.job, one.outcome, {}, {}) for one in measured([2.0, 1.5, 1.0]).evaluations])
    said, sentences = judge(found, SIZES[:2])
    assert said == "not shown" and sentences[0].startswith("Nothing could be measured")
