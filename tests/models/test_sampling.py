"""Drawing tokens."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from honed.models.engine import Sampling
from honed.models.sampling import Chooser, nucleus

ODDS = torch.tensor([0.5, 0.3, 0.15, 0.05])


def test_temperature_zero_takes_the_likeliest() -> None:
    assert Chooser(Sampling(), [1]).choose(ODDS.log(), 0) == 0


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    chooser = Chooser(Sampling(temperature=1.0), [1, 2])
    drawn = Counter(chooser.choose(ODDS.log(), 0) for _ in range(4000))
    assert [drawn[token] / 4000 for token in range(4)] == pytest.approx(ODDS.tolist(), abs=0.03)


def test_a_low_temperature_sharpens() -> None:
    chooser = Chooser(Sampling(temperature=0.1), [1])
    assert Counter(chooser.choose(ODDS.log(), 0) for _ in range(500))[0] > 480


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.9, 3), (0.97, 4)])
def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p(top_p: float, kept: int) -> None:
    odds, ids = nucleus(ODDS[[3, 1, 0, 2]], top_p)
    assert ids.tolist() == [2, 1, 3, 0][:kept]
    assert len(odds) == kept


def test_a_flat_distribution_over_many_tokens_keeps_its_share() -> None:
    odds, _ = nucleus(torch.full((10_000,), 1e-4), 0.5)
    assert len(odds) == pytest.approx(5000, abs=2)


def test_the_numbers_follow_from_seed_and_prompt() -> None:
    def draws(seed: int, prompt: list[int]) -> list[int]:
        chooser = Chooser(Sampling(temperature=1.0, seed=seed), prompt)
        return [chooser.choose(ODDS.log(), 0) for _ in range(30)]

    assert draws(1, [5]) == draws(1, [5])
    assert draws(1, [5]) != draws(2, [5])
    assert draws(1, [5]) != draws(1, [6])


@pytest.mark.parametrize("sampling", [{"temperature": 1.0, "top_p": 1e-300}, {"temperature": 1e-40, "top_p": 0.5}])
def test_the_smallest_settings_still_draw_the_likeliest_token(sampling: dict[str, float]) -> None:
    assert Chooser(Sampling(**sampling), [1]).choose(ODDS.log(), 0) == 0


class _OnApple(torch.Tensor):
    """A tensor as on Apple's GPU, which has no float64."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("mps")

    def double(self) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_tokens_are_drawn_on_a_device_without_float64_as_on_any_other(top_p: float) -> None:
    here, there = (Chooser(Sampling(temperature=1.0, top_p=top_p), [1]) for _ in range(2))
    logits = ODDS.log()
    apple = logits.as_subclass(_OnApple)
    assert [here.choose(logits, 0) for _ in range(50)] == [there.choose(apple, 0) for _ in range(50)]
