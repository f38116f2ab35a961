"""What every size shares, and what a small one needs; what the user set is never changed."""

from __future__ import annotations

from typing import Any

import pytest

from honed.cli import curve as curves
from honed.errors import ConfigError, DataError
from honed.records import Conversation, Message, Preference, Rating, Split
from honed.rounds.curve import plan, run, sizes
from honed.rounds.curve.config import CurveConfig
from honed.store import datasets
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from tests.house.tree import parsed, python_files
from tests.rounds.curve.desk import question, write_base, write_rows

RAN = {"learning_rate": 3e-4, "weights": "lora", "precision": "bf16", "batch_tokens": 4096}
RESULT = {"ran": RAN, "rows": 1000, "steps": 110, "epochs": 3.0, "dataset_tokens": 450_000}  # 150 tokens a row


def curve(**train: Any) -> CurveConfig:
    return CurveConfig(data="d@v1", base="b", name="c", sizes=(16, 64, 256, 1000), train=train)


def wanted(size: int, **train: Any) -> TrainConfig:
    config = curve(**train)
    return plan.training(config, size, "d-curve@v1", plan.recipe(config, RESULT))


def test_the_largest_size_is_what_auto_would_choose_but_for_the_mean_that_short_runs_are_worse_by() -> None:
    full = plan.training(curve(), 1000, "d-curve@v1", {})
    assert full == TrainConfig(base="b", data="d-curve@v1", name="c-1000", rows=1000, average=False)
    assert plan.training(curve(average=True), 1000, "d-curve@v1", {}).average


def test_the_others_share_its_recipe() -> None:
    for size in (16, 64, 256):
        one = wanted(size)
        assert (one.learning_rate, one.weights, one.precision) == (3e-4, "lora", "bf16")
        assert (one.schedule, one.average) == (None, False)  # a cosine
        assert wanted(size, average=True).average
        assert (one.rows, one.name) == (size, f"c-{size}")
    assert (wanted(256).epochs, wanted(256).batch_tokens) == (3.0, 4096)


def test_a_small_size_gets_smaller_batches_first_and_then_more_epochs() -> None:
    assert (wanted(64).epochs, wanted(64).batch_tokens) == (3.0, 1200)  # 28,800 tokens in 24 steps
    tiny = wanted(16)
    assert tiny.batch_tokens == plan.LEAST_BATCH and tiny.epochs == plan.MOST_EPOCHS


def test_what_the_user_set_is_never_changed() -> None:
    one = wanted(16, batch_tokens=8192, epochs=1.5, learning_rate=1e-5, weights="full", precision="fp32")
    assert one.batch_tokens == 8192
    given = plan.training(curve(weights="full", learning_rate=1e-5), 16, "d", plan.recipe(curve(), RESULT))
    assert (given.weights, given.learning_rate) == ("full", 1e-5)
    for asked in (1.5, 0.125, 0.004):
        epochs = plan.training(curve(epochs=asked), 16, "d", plan.recipe(curve(), {**RESULT, "epochs": asked}))
        assert epochs.epochs == asked


def test_no_size_gets_more_steps_than_the_largest_had() -> None:
    few = {**RESULT, "ran": {**RAN, "batch_tokens": 50_000}, "steps": 9}
    shared = plan.recipe(curve(), few)
    assert shared["least_steps"] == 9
    for size in (64, 256):
        one = plan.training(curve(), size, "d", shared)
        assert one.epochs == 3.0 and one.batch_tokens == size * 150 * 3 // 9


def test_the_base_is_measured_in_the_chat_template_that_the_others_are_trained_in() -> None:
    assert plan.evaluation(curve(template="chatml"), "b", "d").template == "chatml"
    assert plan.evaluation(curve(), "b", "d").template is None
    asked = curve(template="chatml").model_copy(update={"evaluate": {"template": "plain"}})
    assert plan.evaluation(asked, "b", "d").template == "plain"


def start(workspace: Workspace, text: str = "4,16", **train: Any) -> tuple[CurveConfig, tuple[str, ...]]:
    config = TrainConfig(base="first", data="bills", **train)
    return run.resolved(workspace, config, sizes.parse(text), {})


def test_versions_are_fixed_and_every_held_out_row_is_measured_up_to_a_limit(workspace: Workspace) -> None:
    write_base(workspace)
    write_rows(workspace)
    config, said = start(workspace, "4,16,1k,all", seed=5, epochs=2)
    assert (config.base, config.data, config.sizes, config.seed) == ("first@v1", "bills@v1", (4, 16, 60), 5)
    assert config.train == {"seed": 5, "epochs": 2.0}
    assert said == ("size 1,000 is left out: there are 60 training rows",)
    assert plan.evaluation(config, "m", "d").rows == 40


def test_what_can_be_refused_is_refused_before_anything_is_written(workspace: Workspace) -> None:
    write_base(workspace)
    datasets.write(workspace, "bills", [(question(at, "billing"), "train") for at in range(20)], config={}, facts={})
    with pytest.raises(DataError, match="has no held-out rows, and fewer than 6 show nothing"):
        start(workspace)
    write_rows(workspace, heldout=2)
    with pytest.raises(DataError, match="has 2 held-out rows, and fewer than 6 show nothing"):
        start(workspace)
    write_rows(workspace)
    with pytest.raises(ConfigError, match=r"evaluate\.rows 5: fewer than 6 rows show nothing"):
        run.resolved(workspace, TrainConfig(base="first", data="bills"), (4, 16), {"rows": 5})
    with pytest.raises(ConfigError, match="--reach is about the held-out loss, which isn't what dpo lowers"):
        run.run(workspace, TrainConfig(base="first", data="bills", objective="dpo"), (4, 16), reach=(1.0,))
    with pytest.raises(ConfigError, match="both say how many rows"):
        start(workspace, rows=5)
    with pytest.raises(ConfigError, match="there are 0 training preferences"):
        start(workspace, objective="dpo")
    write_judged(workspace, heldout=40, judged=0)
    with pytest.raises(DataError, match=r"dpo is judged by the pass rate, and of 40 held-out .* none have a verifier"):
        start(workspace, objective="dpo")
    write_rows(workspace)
    with pytest.raises(ConfigError, match="zebra"):
        run.resolved(workspace, TrainConfig(base="first", data="bills"), (4, 16), {"zebra": 1})
    assert not workspace.jobs.exists() or list(workspace.jobs.iterdir()) == []


def write_judged(workspace: Workspace, heldout: int, judged: int) -> None:
    """Preferences, and held-out rows of which the last ones have a verifier."""
    rows = [question(at, "billing") for at in range(heldout)]
    held = [row if at >= heldout - judged else row.model_copy(update={"check": None}) for at, row in enumerate(rows)]
    pairs = [Preference(prompt=rows[0].prompt, chosen=f"a {at}", rejected="b") for at in range(20)]
    datasets.write(workspace, "bills", ((row, "heldout") for row in held), config={}, facts={}, preferences=pairs)


@pytest.mark.parametrize(
    ("evaluation", "refused"),
    [({}, False), ({"seed": 3}, False), ({"scorer": "exact", "rows": 12}, False), ({"rows": 12}, True)],
    ids=str,
)
def test_an_objective_is_judged_by_verifiers_among_the_rows_that_are_measured(
    workspace: Workspace, evaluation: dict[str, Any], refused: bool
) -> None:
    write_base(workspace)
    write_judged(workspace, heldout=600, judged=100)
    config = TrainConfig(base="first", data="bills", objective="dpo")
    if not refused:
        run.resolved(workspace, config, (4, 16), evaluation)
        return
    with pytest.raises(DataError, match="of 12 held-out rows that are measured none have a verifier"):
        run.resolved(workspace, config, (4, 16), evaluation)


def test_settings_of_the_evaluation_are_read_as_all_settings_are() -> None:
    own, others = curves.split(("epochs=2", "evaluate.rows=1e1", "evaluate.harness.chat=false"))
    assert own == ("epochs=2",) and others == {"rows": 10.0, "harness": {"chat": False}}
    for wrong, words in (("evaluate.rows=[", "not YAML"), ("evaluate.rows", "there is no '='")):
        with pytest.raises(ConfigError, match=words):
            curves.split((wrong,))


def test_each_objective_counts_what_it_learns_from(workspace: Workspace) -> None:
    turns = (Message(role="user", content="x"),)
    pairs = [Preference(prompt=turns, chosen="a", rejected=str(at)) for at in range(7)]
    rating = Rating(prompt=turns, answer="a", good=True)
    rows: list[tuple[Conversation, Split]] = [(question(1, "billing"), "heldout"), (question(2, "billing"), "train")]
    made = datasets.write(workspace, "mixed", rows, config={}, facts={}, preferences=pairs, ratings=[rating])
    assert plan.examples(made, "sft") == (1, "rows")
    assert plan.examples(made, "orpo") == (7, "preferences")
    assert plan.examples(made, "kto") == (8, "ratings and preferences")


def test_every_setting_of_a_curve_is_described_and_read() -> None:
    fields = CurveConfig.model_fields
    assert all(field.description for field in fields.values())
    read = "".join(path.read_text() for path in python_files("honed/rounds/curve") if path.name != "config.py")
    assert [name for name in fields if f"config.{name}" not in read] == []
    assert parsed(next(iter(python_files("honed/rounds/curve"))))
