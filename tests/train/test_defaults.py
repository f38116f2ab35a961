"""What is left open is chosen from model, data and machine, and the reason is said; what is set stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from honed.config import build
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve

FACTS = Facts(
    parameters=135_000_000,
    rows=500,
    tokens=50_000,
    memory=16_000_000_000,
    device="cpu",
    precision="fp32",
    precision_reason="measured",
)


def config(**values: object) -> TrainConfig:
    return build(TrainConfig, {"base": "b", "data": "d", **values}, "test")


def test_a_small_model_is_trained_in_full_and_the_arithmetic_is_said() -> None:
    made = resolve(config(), FACTS)
    assert made.weights == "full" and made.learning_rate == 1e-4
    assert any("135M weights need 2.2 GB" in reason for reason in made.reasons)


def test_a_model_that_does_not_fit_gets_adapters_and_their_ten_times_larger_rate() -> None:
    made = resolve(config(), replace(FACTS, memory=3_000_000_000))
    assert made.weights == "lora" and made.learning_rate == pytest.approx(1e-3)


@pytest.mark.parametrize(("size", "rate"), [(135e6, 1e-4), (1.7e9, 2e-5), (8e9, 1e-5)])
def test_larger_models_get_smaller_rates(size: float, rate: float) -> None:
    assert resolve(config(weights="full"), replace(FACTS, parameters=int(size))).learning_rate == rate


@pytest.mark.parametrize(("rows", "epochs"), [(200, 3.0), (5_000, 2.0), (50_000, 1.0)])
def test_few_rows_are_seen_more_often(rows: int, epochs: float) -> None:
    assert resolve(config(), replace(FACTS, rows=rows, tokens=50 * rows)).epochs == epochs


def test_preferences_are_learned_once_at_a_tenth_of_the_rate() -> None:
    for weights, rate in (("full", 1e-5), ("lora", 1e-4)):
        made = resolve(config(objective="dpo", weights=weights), FACTS)
        assert made.learning_rate == pytest.approx(rate) and made.epochs == 1.0
        assert any(f"usual for {weights} training by dpo" in reason for reason in made.reasons)


def test_what_is_set_stands_and_needs_no_reason() -> None:
    values = {"weights": "lora", "learning_rate": 3e-4, "epochs": 1.5, "batch_tokens": 512, "pack_tokens": 256}
    made = resolve(config(**values), FACTS)
    assert {key: getattr(made, key) for key in values} == values
    assert [reason.partition(":")[0] for reason in made.reasons] == ["average", "precision fp32"]
    assert resolve(config(**values, average=True), FACTS).reasons == ("precision fp32: measured",)


def test_the_batch_grows_with_the_data_and_a_pack_never_exceeds_it() -> None:
    small, large = (resolve(config(), replace(FACTS, rows=rows, tokens=200 * rows)) for rows in (50, 50_000))
    assert small.batch_tokens == 1024 and large.batch_tokens == 32_768
    assert small.pack_tokens <= small.batch_tokens


def test_what_is_shared_by_ranks_needs_less_memory_on_each() -> None:
    whole = Facts(10**9, 10, 1000, 9 * 10**9, "cpu", "fp32", "")
    config = TrainConfig(base="b", data="d")
    assert resolve(config, whole).weights == "lora"
    shared = resolve(config, replace(whole, shares=4))
    assert shared.weights == "full"
    assert "4.0 GB on each of 4 ranks" in " ".join(shared.reasons)


@pytest.mark.parametrize(
    ("values", "schedule", "average"),
    [
        ({"weights": "lora"}, "constant", True),
        ({"weights": "lora", "schedule": "cosine"}, "cosine", False),
        ({"weights": "lora", "average": False}, "cosine", False),
        ({"weights": "lora", "schedule": "linear", "average": True}, "linear", True),
        ({"weights": "lora", "objective": "dpo"}, "cosine", False),
        ({"weights": "full"}, "cosine", False),
        ({"weights": "full", "average": True}, "constant", True),
    ],
)
def test_adapters_that_learn_rows_are_averaged_at_a_constant_rate_unless_a_schedule_is_set(
    values: dict[str, object], schedule: str, average: bool
) -> None:
    made = resolve(config(**values), FACTS)
    assert (made.schedule, made.average) == (schedule, average)
    said = any(reason.startswith("average:") for reason in made.reasons)
    assert said is (average and "average" not in values)


def test_a_short_run_leaves_its_last_weights_unless_the_mean_is_asked_for() -> None:
    short = replace(FACTS, tokens=19_400)  # of 1,024 in a step, three times: 57 steps
    assert not resolve(config(weights="lora"), short).average
    assert resolve(config(weights="lora", average=True), short).average
    assert resolve(config(weights="lora", epochs=3.5), short).average


def test_the_mean_of_all_weights_counts_when_it_is_asked_whether_they_fit() -> None:
    just = replace(FACTS, memory=2 * 17 * FACTS.parameters)
    assert resolve(config(), just).weights == "full"
    assert resolve(config(average=True), just).weights == "lora"
