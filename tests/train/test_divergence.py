"""A run whose loss climbs is said to diverge, once; one whose rows are merely of unequal difficulty isn't."""

from __future__ import annotations

import math
import random

import pytest

from honed.jobs.events import Metric, Note, Step
from honed.train.divergence import Diverged, Watch


def judged(losses: list[float], heldout_loss: float | None = None, *, likelihood: bool = True) -> Diverged | None:
    watch = Watch(likelihood=likelihood)
    watch.begins(heldout_loss)
    said = [found for step, loss in enumerate(losses, start=1) if (found := watch.seen(step, loss))]
    assert said == ([watch.found] if watch.found else [])  # once, at the step where it is found
    return watch.found


def noisy(level: float, rng: random.Random) -> float:
    return level * rng.lognormvariate(0, 0.3)


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_falls_noisily_does_not_diverge(seed: int) -> None:
    rng = random.Random(seed)
    assert judged([noisy(1 + math.exp(-step / 50), rng) for step in range(400)]) is None
    assert judged([noisy(0.7 * math.exp(-step / 100), rng) for step in range(1000)]) is None  # preferences, learned
    assert judged([noisy(2.0, rng) for _ in range(400)]) is None  # nothing is learned at all


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_climbs_after_its_fall_is_found_within_some_steps(seed: int) -> None:
    rng = random.Random(seed)
    falling = [noisy(2 - step / 100, rng) for step in range(80)]
    found = judged(falling + [noisy(4.0, rng) for _ in range(100)])
    assert found is not None and 80 < found.step <= 110
    assert "times its lowest" in found.why


def mixed(rows: int, rng: random.Random) -> float:
    """The loss of a step of a few rows, three in ten of them easy, as code beside chat."""
    return sum((0.4 if rng.random() < 0.3 else 1.8) * rng.lognormvariate(0, 0.25) for _ in range(rows)) / rows


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_rows_of_two_kinds_of_which_the_first_are_easy_do_not_diverge_where_the_held_out_loss_is_known(
    rows: int,
) -> None:
    runs = [[mixed(rows, rng) for _ in range(60)] for rng in map(random.Random, range(200))]
    assert not any(judged(losses, 1.42) for losses in runs)  # 0.3 * 0.4 + 0.7 * 1.8, and what noise adds


@pytest.mark.parametrize("heldout_loss", [None, 0.9, 2.5])
def test_a_run_that_diverges_is_found_whatever_the_held_out_loss_was(heldout_loss: float | None) -> None:
    found = judged([0.5, 5.0, 9.0, 14.0, 12.0, 13.0], heldout_loss)
    assert found is not None and found.step <= 6
    whose = "the held-out loss before it" if heldout_loss else "that of step 1"
    assert found.why.endswith(f"times {whose}")
    slow = judged([0.5, 2.4, 4.0, 6.5, *[9.0] * 40], heldout_loss)
    assert slow is not None and slow.step <= 25


def test_a_held_out_loss_of_another_kind_than_the_steps_is_not_compared_to() -> None:
    climbs = [0.69, *[3.5] * 10]  # of dpo, beside nats a token
    assert judged(climbs, 5.0, likelihood=False) and not judged(climbs, 5.0)


def test_a_loss_that_climbs_at_once_is_found_even_in_a_short_run() -> None:
    found = judged([2.0, 5.0, 9.0, 14.0, 12.0, 13.0])
    assert found == Diverged(5, "the loss rose to 8.4 (mean of 5 steps), 4.2 times that of step 1")


def test_a_run_that_climbed_before_its_first_window_was_full_is_found_by_its_first_loss() -> None:
    found = judged([2.2, 2.4, 4.0, 6.5, 7.5, *[7.6] * 40])
    assert found is not None and found.step <= 25
    assert "times that of step 1" in found.why


def test_a_loss_with_a_bound_that_ends_where_it_began_is_said_to_have_taught_nothing() -> None:
    flat, falling, climbing = Watch(), Watch(), Watch()
    for step in range(1, 61):
        flat.seen(step, 0.5 if step == 1 else 0.3 + 0.5 * (step % 2))
        falling.seen(step, 0.5 - step / 1000)
        climbing.seen(step, float(step))
    words = "the loss of the last 20 steps, 0.55 on average, is no lower than that of step 1, 0.5"
    assert flat.found is None and flat.no_lower() == words
    assert not falling.no_lower() and climbing.found and not climbing.no_lower()  # which was said already


def test_one_bad_batch_is_no_divergence() -> None:
    assert judged([1.0] * 30 + [9.0] + [1.0] * 60) is None


def test_a_resume_knows_the_held_out_loss_before_the_first_step() -> None:
    watch = Watch(likelihood=True)
    watch.replay([Metric(name="heldout_loss", value=2.0, step=0), Metric(name="heldout_loss", value=9.0, step=3)], 0)
    assert [watch.seen(step, loss) for step, loss in enumerate([0.4, *[2.0] * 30], start=1)] == [None] * 31


def test_a_resume_knows_what_the_attempt_before_it_saw() -> None:
    losses = [2.0 - step / 60 for step in range(60)] + [6.0] * 30
    watch = Watch()
    stale = [Step(stage="train", step=30 + step, total=90, values={"loss": 99.0}) for step in range(5)]
    events = [Step(stage="train", step=n, total=90, values={"loss": loss}) for n, loss in enumerate(losses, start=1)]
    watch.replay([*stale, Note(text="resumed"), *events[:-10]], 70)
    for step in range(71, 91):
        watch.seen(step, losses[step - 1])
    assert watch.found == judged(losses) and watch.found is not None
