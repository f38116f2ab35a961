"""Selection: who is chosen, why the others aren't, and the random rows beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from honed.cli.main import run as honed
from honed.config import build
from honed.data import dropped
from honed.data.score.scoring import Scored
from honed.data.select import run
from honed.data.select.choose import choose
from honed.data.select.config import SelectConfig
from honed.data.select.spread import k_centre, round_robin
from honed.data.select.worker import work
from honed.errors import ConfigError, DataError
from honed.records import Conversation
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from tests.data.curated import said, stored
from tests.data.scored import never, queued
from tests.rounds.curve.desk import run_here
from tests.tiny import tiny_folder

ROWS = [said(f"Question {number}", "word " * (number + 1)) for number in range(12)]
HELD = [said("Held out", "yes")]


def selected(workspace: Workspace, **settings: Any) -> tuple[dict[str, Any], Artifact]:
    result = work(queued(workspace, "select", name="new", **settings), never)
    return result, artifacts.resolve(workspace, "datasets", result["dataset"])


def train(dataset: Artifact) -> list[Conversation]:
    return list(datasets.rows(dataset, "train"))


def test_the_best_rows_are_a_dataset_with_parents_reasons_and_random_rows_beside_it(workspace: Workspace) -> None:
    source = stored(workspace, ROWS, HELD)
    result, made = selected(workspace, by=["length"], count=4)
    assert train(made) == ROWS[-4:]
    assert list(datasets.rows(made, "heldout")) == HELD
    assert made.manifest.parents == {source.ref: source.manifest.hash}
    assert made.manifest.facts["licences"] == {"set": "not declared"}
    assert result["dropped"] == {"not among the first by length": 8}
    left = list(dropped.read(made.path))
    assert [fault.line for fault, _ in left] == list(range(1, 9)) and "length 1.000" in left[0][0].message
    chosen = [json.loads(line) for line in (made.path / "selection.jsonl").read_text().splitlines()]
    assert [(line["row"], line["length"]) for line in chosen][:2] == [(ROWS[11].id, 12.0), (ROWS[10].id, 11.0)]
    random = artifacts.resolve(workspace, "datasets", result["random"]["dataset"])
    assert random.ref == "new-random@v1" and random.manifest.parents == made.manifest.parents
    assert len(train(random)) == 4 and list(datasets.rows(random, "heldout")) == HELD
    assert result["random"]["means"]["length"] < result["means"]["length"] == 10.5


def test_random_rows_depend_on_the_seed_alone_and_have_no_partner(workspace: Workspace) -> None:
    stored(workspace, ROWS)
    result, made = selected(workspace, by=["random"], count=5)
    assert result["random"] is None
    stored(workspace, ROWS[::-1])
    _, again = selected(workspace, by=["random"], count=5)
    assert {row.id for row in train(made)} == {row.id for row in train(again)}
    _, other = selected(workspace, by=["random"], count=5, seed=1)
    assert {row.id for row in train(made)} != {row.id for row in train(other)}


def scoring(**scores: list[float]) -> Any:
    """Scores as they are, instead of measured ones."""

    class Given:
        rows = [type("Row", (), {"id": str(at)}) for at in range(len(next(iter(scores.values()))))]

        def score(self, name: str) -> Scored:
            values = np.array(scores[name])
            return Scored(values, {int(at): ("too long", "no room") for at in np.flatnonzero(np.isnan(values))})

    return Given()


def settings(**values: Any) -> SelectConfig:
    return build(SelectConfig, {"dataset": "set", "name": "new", **values}, "test")


def test_rows_whose_prompt_is_of_no_help_and_rows_without_a_score_are_never_chosen() -> None:
    found = choose(scoring(ifd=[0.3, 1.2, 0.9, float("nan"), 0.5]), settings(by=["ifd"], count=2))
    assert list(found.chosen) == [2, 4]
    assert {place: kind for place, (kind, _) in found.left.items()} == {
        0: "not among the first by ifd",
        1: "ifd too high",
        3: "no ifd: too long",
    }
    with pytest.raises(DataError, match="2 of 5 rows can't be chosen by ifd, and 4 are asked for"):
        choose(scoring(ifd=[0.3, 1.2, 0.9, float("nan"), 0.5]), settings(by=["ifd"], count=4))


def test_of_several_selectors_the_ranks_are_averaged() -> None:
    both = scoring(ifd=[0.1, 0.2, 0.3, 0.4], quality=[900.0, 5.0, 800.0, -1.0])
    assert list(choose(both, settings(by=["ifd", "quality"], count=1)).chosen) == [2]


def test_diversity_spreads_over_rows_that_differ_and_similarity_finds_the_target(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = str(tiny_folder(tmp_path / "tiny"))
    groups = {"a": "aaaa aaaa aaa{}", "0": "0000 0000 00{}", "Z": "ZZZZ ZZZZ{}"}
    stored(workspace, [said(form.format(letter), 4 * key) for key, form in groups.items() for letter in "bcde"], HELD)
    stored(workspace, [], heldout=[said("0000 0000 00f", "0000")], name="exam")
    _, made = selected(workspace, by=["diversity"], count=3, measure={"model": model})
    assert {row.prompt[0].content[0] for row in train(made)} == set(groups)
    _, made = selected(workspace, by=["similarity"], count=1, measure={"model": model, "target": "exam"})
    assert train(made)[0].prompt[0].content.startswith("0000 0000")
    _, made = selected(workspace, by=["length", "diversity"], count=2, pool=1, measure={"model": model})
    assert len(train(made)) == 2


@examples(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(1, 30), st.integers(0, 5))
def test_turns_are_fair_and_nothing_is_taken_twice(rows: int, targets: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    unit = random.normal(size=(rows, 4)).astype(np.float32)
    target = random.normal(size=(targets, 4)).astype(np.float32)
    chosen = round_robin(target, unit, count)
    assert len(chosen) == len(set(chosen)) == min(count, rows)
    assert chosen[0] == int(np.argmax(unit @ target[0]))
    spread = k_centre(unit, count, 0)
    assert len(spread) == len(set(spread)) == min(count, rows)


def test_what_makes_no_sense_is_refused_before_a_job_is_made(workspace: Workspace) -> None:
    stored(workspace, ROWS)
    with pytest.raises(DataError, match="has 12 training rows, so 12 of them are no selection"):
        run.run(workspace, settings(by=["length"], count=12))
    with pytest.raises(ConfigError, match="random stands alone"):
        settings(by=["random", "ifd"], count=2)
    with pytest.raises(ConfigError, match="only once"):
        settings(by=["ifd", "ifd"], count=2)
    with pytest.raises(ConfigError, match="count: this setting is required"):
        settings(by=["ifd"])


def test_the_commands_say_what_was_found_and_what_to_do_next(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch)
    stored(workspace, ROWS, HELD)
    at = ["--workspace", str(workspace.path)]
    assert honed(["data", "score", "set", *at]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:2] == ["length", "12"] and "quality, lowest: " in err
    assert honed(["data", "select", "set", "--by", "quality,length", "--count", "3", "--as", "few", *at]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("few@v1") and out.splitlines()[2].startswith("few-random@v1")
    assert "honed data trial few@v1 --against few-random@v1 --base MODEL" in err
    assert honed(["data", "select", "set", "--by", "ifd", "--count", "3", "--as", "few", *at]) == 1
    assert "ifd can't be measured without a model" in capsys.readouterr().err


def test_scoring_needs_training_rows(workspace: Workspace) -> None:
    stored(workspace, [], HELD)
    with pytest.raises(DataError, match="no training rows"):
        work(queued(workspace, "select", name="new", by=["length"], count=1), never)
