"""A run whose loss climbs is said to diverge, once; one whose rows are merely of unequal difficulty isn't."""

from __future__ import annotations

import math
import random

import pytest

from honed.jobs.events import Note, Step
from honed.train.divergence import Diverged, Watch


def judged(losses: list[float]) -> Diverged | None:
    watch = Watch()
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


def test_a_resume_knows_what_the_attempt_before_it_saw() -> None:
    losses = [2.0 - step / 60 for step in range(60)] + [6.0] * 30
    watch = Watch()
    stale = [Step(stage="train", step=30 + step, total=90, values={"loss": 99.0}) for step in range(5)]
    events = [Step(stage="train", step=n, total=90, values={"loss": loss}) for n, loss in enumerate(losses, start=1)]
    watch.replay([*stale, Note(text="resumed"), *events[:-10]], 70)
    for step in range(71, 91):
        watch.seen(step, losses[step - 1])
    assert watch.found == judged(losses) and watch.found is not None
