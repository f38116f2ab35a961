"""A planted power law is found, and what the points can't tell isn't told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.rounds.curve import law
from honed.rounds.curve.law import Floats

ROWS = np.array([16.0, 64.0, 256.0, 1024.0, 4096.0])


def held_out(losses: Floats, rows: int = 300, noise: float = 0.0, seed: int = 0) -> tuple[Floats, Floats]:
    """Nats and tokens of held-out rows whose losses a token are around ``losses``."""
    random = np.random.default_rng(seed)
    tokens = random.integers(5, 40, rows).astype(np.float64)
    own = random.normal(0, 0.3, (rows, 1)) + random.normal(0, noise, (rows, len(losses)))
    return tokens[:, None] * (losses + own - np.average(own, axis=0, weights=tokens)), tokens


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 3.0), st.floats(0.5, 5.0), st.floats(0.2, 1.2))
def test_a_planted_law_is_found(a: float, b: float, c: float) -> None:
    losses = a + b * ROWS**-c
    found = law.fit(ROWS, losses[None])
    assert np.allclose(found.at(16)[0], losses[0], atol=0.02 * losses.max())
    assert found.at(8192)[0] == pytest.approx(a + b * 8192**-c, abs=0.03 * b)


def test_the_forecast_covers_the_truth_and_is_said_to_be_sure() -> None:
    truth = 1 + 3 * ROWS**-0.4
    found = law.law(ROWS, *held_out(truth, noise=0.05))
    assert found and found.identified and found.why == ""
    assert found.c == pytest.approx(0.4, abs=0.1) and found.c_interval.low < 0.4 < found.c_interval.high
    low, high = found.forecast.interval
    assert found.forecast.rows == 8192 and low < 1 + 3 * 8192**-0.4 < high
    assert 0 < found.forecast.gain_interval.low < found.forecast.gain < found.forecast.gain_interval.high


def test_intervals_cover_the_truth_where_few_sizes_say_little_of_what_another_training_would_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(law, "RESAMPLES", 300)
    random, covered = np.random.default_rng(0), {"loss": 0, "gain": 0}
    for at in range(80):
        truth = 1 + 3 * ROWS[:4] ** -0.4
        found = law.law(ROWS[:4], *held_out(truth + random.normal(0, 0.02, 4), noise=0.05, seed=at))
        assert found
        ahead = 1 + 3 * 2048**-0.4
        covered["loss"] += found.forecast.interval.low <= ahead <= found.forecast.interval.high
        covered["gain"] += found.forecast.gain_interval.low <= truth[-1] - ahead <= found.forecast.gain_interval.high
    assert min(covered.values()) >= 74, covered


def test_three_sizes_are_no_law() -> None:
    assert law.law(ROWS[:3], *held_out(1 + 3 * ROWS[:3] ** -0.4)) is None


def test_points_that_no_curve_explains_give_no_forecast() -> None:
    found = law.law(ROWS[:4], *held_out(np.array([1.2, 1.6, 1.1, 1.5])))
    assert found and not found.identified
    assert "exponent may be" in found.why and found.residual > 0.1


def test_a_and_b_are_never_negative() -> None:
    rising = law.fit(ROWS, np.array([[1.0, 1.1, 1.2, 1.3, 1.4]]))
    assert rising.b[0] == 0 and rising.a[0] == pytest.approx(1.2)
    steep = law.fit(ROWS, np.array([np.maximum(3 - 0.35 * np.log(ROWS), 0.01)]))
    assert steep.a[0] >= 0


def test_the_same_seed_gives_the_same_intervals() -> None:
    nats, tokens = held_out(1 + 3 * ROWS**-0.4, noise=0.1)
    assert law.law(ROWS, nats, tokens) == law.law(ROWS, nats, tokens)
