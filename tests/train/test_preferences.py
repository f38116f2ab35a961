"""Learning preferences and ratings as a user meets it: from the base model to answers that are liked more."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from honed.errors import ConfigError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Note, Step
from honed.jobs.job import Job
from honed.models.load import load
from honed.records import Message, Preference, Rating
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import answers, attention, pairs, prepare, ratings, worker
from honed.train.divergence import Watch
from honed.train.head import MATRIX
from honed.train.ranks import ALONE
from honed.train.rows import Limit
from honed.train.setup import set_up
from tests.train.jobs import UNHEARD, finish, settings, start


def preferred(home: Workspace, model: str) -> float:
    """How many nats a token likelier, on average, ``model`` finds the chosen answers of ``liked`` than the rejected."""
    attention.register()
    loaded = load(model, home, attention=attention.FUSED)
    liked = pairs.read(artifacts.resolve(home, "datasets", "liked"), loaded.chat, Limit(loaded.context), None, UNHEARD)
    with torch.no_grad():
        batch = answers.collate([one.rows for one in liked.encoded], [(0.0, 0.0)] * len(liked.encoded), packed=True)
        table = answers.log_likelihoods(loaded.model, batch, MATRIX) / batch.lengths
    return float((table[:, 0] - table[:, 1]).mean())


def steps(job: Job, stage: str = "train") -> list[Step]:
    return [event for event in job.events() if isinstance(event, Step) and event.stage == stage]


def said(job: Job, words: str) -> bool:
    return any(isinstance(event, Note) and words in event.text for event in job.events())


@pytest.mark.parametrize(
    ("objective", "how", "ran"),
    [
        ("dpo", {"weights": "full"}, {"beta": 0.1, "dpo_loss": "sigmoid"}),
        ("dpo", {"weights": "lora", "preference": {"dpo_loss": "ipo"}}, {"beta": 0.1, "dpo_loss": "ipo"}),
        ("kto", {"weights": "lora"}, {"beta": 0.1, "desirable": 1.0, "undesirable": 1.0}),
        ("orpo", {"weights": "full", "preference": {"beta": 0.5}}, {"beta": 0.5}),
        ("simpo", {"weights": "full", "neftune_alpha": 1.0}, {"beta": 2.0, "gamma": 1.0, "neftune_alpha": 1.0}),
    ],
    ids=["dpo-full", "ipo-lora", "kto-lora", "orpo-full", "simpo-full-neftune"],
)
def test_chosen_answers_become_likelier_than_rejected_ones(
    home: Workspace, objective: str, how: dict[str, Any], ran: dict[str, Any]
) -> None:
    data = "rated" if objective == "kto" else "liked"
    job = start(home, name=f"{objective}-learned", data=data, objective=objective, learning_rate=3e-3, **how)
    result = finish(job)
    first, *_, last = (step.values for step in steps(job))
    assert last["loss"] < first["loss"] and result["margin"] > first["margin"]
    assert result["accuracy"] > (0.75 if objective == "kto" else 0.9)
    assert preferred(home, result["model"]) > preferred(home, str(home.path.parent / "tiny")) + 0.2
    found = result["ran"]
    assert {**{key: found[key] for key in ran}, "objective": objective} == {**ran, "objective": found["objective"]}
    assert found["weights"] == how["weights"] and ("reference" in found) == (objective in ("dpo", "kto"))
    assert artifacts.resolve(home, "models", result["model"]).manifest.facts["objective"] == objective
    assert result["heldout_loss"] is not None
    if objective == "dpo" and "preference" not in how:
        assert abs(first["loss"] - math.log(2)) < 1e-5 and abs(first["margin"]) < 1e-5
        assert first["accuracy"] == 0.5
    if objective == "kto":
        assert (result["rows"], result["kl"] >= 0) == (30 + 2 * 10, True)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"objective": "kto"}, True),
        ({"objective": "dpo"}, True),
        ({"objective": "kto", "preference": {"undesirable": 4.0}}, False),
        ({"objective": "simpo"}, False),
    ],
    ids=str,
)
def test_a_loss_beside_a_reference_that_ends_no_lower_than_it_began_is_said(
    home: Workspace, tmp_path: Path, how: dict[str, Any], told: bool
) -> None:
    watch, job = Watch(), Job(tmp_path)
    for step in range(1, 31):
        watch.seen(step, 0.5 if step == 1 else 0.6)
    worker._note_unlearned(job, settings(home, data="rated", **how), watch, 3.0)
    words = "nothing was learned: the loss of the last 20 steps, 0.6 on average, is no lower than that of step 1, 0.5"
    assert said(job, f"{words}; change learning_rate (now 3)") is told


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_in_16_bits_too_the_first_step_finds_the_policy_where_the_base_is(home: Workspace, weights: str) -> None:
    how = {"objective": "dpo", "weights": weights, "precision": "bf16"}
    job = start(home, name=f"half-{weights}", data="liked", epochs=0.1, **how)
    finish(job)
    first = steps(job)[0].values
    assert abs(first["loss"] - math.log(2)) < 1e-6 and first["margin"] == 0.0


def test_in_16_bits_too_kto_begins_where_the_base_is_for_own_answers_and_for_those_of_others(home: Workspace) -> None:
    job = start(home, name="half-kto", data="liked", objective="kto", precision="bf16", epochs=0.1)
    finish(job)
    first = steps(job)[0].values
    assert first["margin"] == first["kl"] == 0.0


def test_the_bases_likelihoods_are_kept_for_every_run_on_the_data(home: Workspace) -> None:
    given: list[dict[str, Any]] = [{}, {"seed": 1}, {"template": "plain"}]
    jobs = []
    for number, one in enumerate(given):
        jobs.append(start(home, name=f"kept-{number}", data="liked-in-part", objective="dpo", epochs=0.5, **one))
        finish(jobs[-1])
    once, other_seed, other_template = jobs
    assert not steps(other_seed, "reference") and said(other_seed, "of 24 answers are read from")
    for job in (once, other_template):
        assert steps(job, "reference") and not said(job, "are read from")


def test_pairs_that_can_not_be_used_are_left_out_counted_and_listed(home: Workspace) -> None:
    stored = list(datasets.preferences(artifacts.resolve(home, "datasets", "liked-in-part")))
    for objective, count, unit in (("kto", 24, "ratings and pairs"), ("simpo", 12, "pairs")):
        job = start(home, data="liked-in-part", objective=objective, epochs=0.5, packing=False)
        result = finish(job)
        listed = [json.loads(line) for line in (job.path / "left_out.jsonl").read_text().splitlines()]
        assert [(one["row"], one["kind"]) for one in listed] == [(stored[12].id, "same"), (stored[13].id, "too long")]
        assert (result["rows"], result["left_out"], result["heldout_loss"]) == (count, 2, None)
        assert said(job, f"2 {unit} are left out")
        assert result["model"] == f"tiny-liked-in-part-{objective}@v1" and result["ran"]["packing"] is False
        assert "NaN" not in (job.path / "result.json").read_text()


@pytest.mark.parametrize("how", [{"objective": "dpo"}, {"objective": "orpo", "stream": True}], ids=str)
def test_pairs_that_are_all_of_equal_answers_leave_nothing_to_learn_and_are_listed(
    home: Workspace, how: dict[str, Any]
) -> None:
    same = [Preference(prompt=(Message(role="user", content=f"{n}?"),), chosen="a", rejected="a") for n in range(5)]
    if not (home.datasets / "all-equal").exists():
        datasets.write(home, "all-equal", [], config={}, facts={}, preferences=same)
    job = start(home, data="all-equal", **how)
    for _ in launch.follow(job):
        pass
    assert job.status().state == "failed" and "none of its 5 training pairs can be used" in job.status().message
    listed = [json.loads(line) for line in (job.path / "left_out.jsonl").read_text().splitlines()]
    assert [one["kind"] for one in listed] == ["same"] * 5


def test_a_setting_that_the_objective_does_not_read_is_refused_before_a_job_is_made(home: Workspace) -> None:
    before = len(list(home.jobs.iterdir()))
    with pytest.raises(ConfigError, match=r"preference.gamma is nothing to dpo"):
        start(home, data="liked", objective="dpo", preference={"gamma": 1.0})
    assert len(list(home.jobs.iterdir())) == before


@pytest.mark.parametrize(
    ("good", "bad", "pairs_", "how", "words"),
    [
        (13, 3, 0, {}, "13 good answers and 3 bad ones, each of the same weight: .* --set preference.undesirable=4$"),
        (2, 9, 0, {}, "2 good answers and 9 bad ones, .* --set preference.desirable=5$"),
        (13, 0, 3, {}, "16 good answers and 3 bad ones, .* --set preference.undesirable=5$"),
        (6, 0, 0, {}, "6 good answers and 0 bad ones: no weight makes up for a kind that is missing$"),
        (9, 3, 0, {}, ""),
        (3, 9, 0, {}, ""),
        (13, 3, 0, {"preference": {"undesirable": 2.0}}, ""),
        (13, 3, 0, {"preference": {"desirable": 1.0}}, ""),
        (13, 3, 3, {"objective": "dpo"}, ""),
    ],
    ids=str,
)
def test_far_more_answers_of_one_kind_are_counted_and_the_weight_that_kto_lacks_is_said(
    home: Workspace, good: int, bad: int, pairs_: int, how: dict[str, Any], words: str
) -> None:
    asked = [(Message(role="user", content=f"what is {n}?"),) for n in range(good + bad + pairs_)]
    told = [Rating(prompt=one, answer=f"{n}.", good=n < good) for n, one in enumerate(asked[: good + bad])]
    liked = [Preference(prompt=one, chosen="yes", rejected="no") for one in asked[good + bad :]]
    data = datasets.write(home, "uneven", [], config={}, facts={}, preferences=liked, ratings=told).ref
    job = jobs.create(home, "train", settings(home, **{"data": data, "objective": "kto", "epochs": 1, **how}))
    ready = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False, to_train=False)
    found = [reason for reason in ready.reasons if reason.startswith("kto: there are ")]
    assert bool(found) is bool(words) and all(re.search(words, reason) for reason in found)


def test_ratings_come_first_then_both_sides_of_preferences_each_by_its_share(home: Workspace) -> None:
    chat = load(str(home.path.parent / "tiny"), home).chat
    found = {
        (data, count): ratings.read(artifacts.resolve(home, "datasets", data), chat, Limit(512), count, UNHEARD)
        for data, count in (("rated-only", None), ("rated-only", 20), ("rated", None), ("rated", 33), ("liked", 3))
    }
    assert [len(rows.encoded) for rows in found.values()] == [30, 20, 50, 25 + 2 * 8, 6]
    both = found["rated", 33]
    stored = artifacts.resolve(home, "datasets", "rated")
    rated = [one.id for one in datasets.ratings(stored, 25)]
    pairs_ = [one.id for one in datasets.preferences(stored, 8)]
    assert both.names == (*rated, *(name for name in pairs_ for _ in range(2)))
    assert [one.good for one in both.encoded] == [True, False] * 12 + [True] + [True, False] * 8
    texts = [chat.decode([i for i, w in zip(one.row.ids, one.row.weights, strict=True) if w]) for one in both.encoded]
    assert all(("good" in text) == one.good for text, one in zip(texts, both.encoded, strict=True))
    assert all(one.unrelated for one in both.encoded)
    smaller = [set(ratings.read(stored, chat, Limit(512), count, UNHEARD).names) for count in range(1, 41)]
    assert all(one < other for one, other in itertools.pairwise(smaller))  # a learning curve's subsets nest
