"""What is left open is chosen from model, data and machine, and the reason is said; what is set stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from honed import config as settings_file
from honed.config import build
from honed.errors import ConfigError
from honed.store import artifacts
from honed.train import run
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


@pytest.mark.parametrize(
    ("values", "facts", "weights"),
    [
        ({}, {}, "lora"),
        ({}, {"tokens": 4_880_000}, "lora"),
        ({}, {"tokens": 4_890_000}, "full"),
        ({}, {"parameters": 40_000_000}, "full"),
        ({}, {"adapters": 0}, "full"),
        ({"weights": "full"}, {}, "full"),
        ({"objective": "dpo"}, {}, "full"),
        ({"learning_rate": 3e-4}, {}, "full"),
        ({"learning_rate": 3.2e-4}, {}, "lora"),
        ({"shard": "fsdp"}, {}, "full"),
        ({"template": "chatml"}, {}, "full"),
        ({"epochs": 2}, {}, "full"),
        ({"epochs": 2.1}, {}, "lora"),
    ],
    ids=str,
)
def test_rows_that_fit_into_adapters_small_beside_the_model_are_learned_by_adapters(
    values: dict[str, object], facts: dict[str, int], weights: str
) -> None:
    made = resolve(config(**values), replace(FACTS, **{"adapters": 4_884_480, **facts}))
    assert made.weights == weights


@pytest.mark.parametrize(
    ("values", "facts", "cause"),
    [
        ({}, {"tokens": 4_890_000}, "4890000 tokens are more than the 4884480 weights of adapters of rank 16"),
        ({}, {"parameters": 40_000_000}, "adapters of rank 16 would be more than a tenth of the model"),
        ({}, {"adapters": 0}, "adapters would reach too little of this model"),
        ({"learning_rate": 1e-4}, {}, "learning_rate 0.0001 is one for all weights"),
        ({"shard": "fsdp"}, {}, "shard fsdp is there for all weights"),
        ({"template": "chatml"}, {}, "template chatml may use tokens that adapters can't learn"),
        ({"epochs": 2}, {}, "98 steps are few for adapters"),
    ],
    ids=str,
)
def test_why_all_weights_and_not_adapters_is_said(values: dict[str, object], facts: dict[str, int], cause: str) -> None:
    made = resolve(config(**values), replace(FACTS, **{"adapters": 4_884_480, **facts}))
    assert made.reasons[0].startswith("weights full: ") and made.reasons[0].endswith(f"are free; {cause}")


def test_why_adapters_is_said() -> None:
    made = resolve(config(), replace(FACTS, adapters=4_884_480))
    assert made.reasons[0] == "weights lora: 50000 tokens fit into the 4884480 weights of adapters of rank 16"


def test_adapters_that_learn_rows_take_smaller_steps() -> None:
    steps = {
        (objective, weights): resolve(config(objective=objective, weights=weights), replace(FACTS, tokens=420_000))
        for objective in ("sft", "dpo")
        for weights in ("full", "lora")
    }
    assert {key: made.batch_tokens for key, made in steps.items()} == {
        ("sft", "full"): 6144,
        ("sft", "lora"): 2048,
        ("dpo", "full"): 6144,
        ("dpo", "lora"): 6144,
    }
    of_adapters = [
        resolve(config(weights="lora"), replace(FACTS, tokens=tokens, device=device)).batch_tokens
        for tokens, device in ((60_000, "cpu"), (10_000_000, "cpu"), (420_000, "cuda"))
    ]
    assert of_adapters == [1024, 32_768, 6144]


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


def test_a_setting_of_lora_changed_in_a_jobs_own_file_asks_for_adapters_and_those_left_as_they_are_do_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.yaml"
    settings_file.save(config(), path)
    assert resolve(settings_file.read(TrainConfig, path), FACTS).weights == "full"
    path.write_text(path.read_text().replace("rank: 16", "rank: 8"))
    assert resolve(settings_file.read(TrainConfig, path), FACTS).weights == "lora"
    path.write_text(path.read_text().replace("weights: auto", "weights: full"))
    with pytest.raises(ConfigError, match="lora"):
        settings_file.read(TrainConfig, path)


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


def test_steps_are_no_more_than_the_examples_that_fill_them_for_none_is_cut() -> None:
    long = replace(FACTS, rows=24, tokens=96_000, adapters=4_884_480)  # 72 steps, and not 282
    made = resolve(config(), long)
    assert (made.weights, made.average, made.eval_every) == ("full", False, 15)
    assert made.reasons[0].endswith("; 72 steps are few for adapters")
    assert "batch_tokens 1024: about 24 steps an epoch of 96000 tokens" in made.reasons
    few = resolve(config(weights="lora"), replace(long, rows=15, tokens=45_000))
    assert (few.average, few.schedule) == (False, "cosine")  # 45 steps
    answers = resolve(config(), replace(long, examples=90))  # of conversations, each with rows of its own
    assert (answers.weights, answers.average, answers.eval_every) == ("lora", True, 54)


def test_the_mean_of_all_weights_counts_when_it_is_asked_whether_they_fit() -> None:
    just = replace(FACTS, memory=2 * 17 * FACTS.parameters)
    assert resolve(config(), just).weights == "full"
    assert resolve(config(average=True), just).weights == "lora"


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("./_merged", "merged-numbers-dpo"),
        (".../__/", "numbers-dpo"),
        ("Org/Model_7B.gguf", "model_7b-numbers-dpo"),
        ("m" * 70, "m" * 60 + "-dpo"),
    ],
)
def test_the_default_name_is_one_that_a_model_may_have(base: str, name: str) -> None:
    assert run._name(base, "numbers", "dpo") == name
    artifacts.check_name("models", name)
