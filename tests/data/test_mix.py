"""A mix keeps its shares and its limits, lets nothing leak, and lists every row that it leaves out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.cli.main import run
from honed.config import build
from honed.data import dropped
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.worker import work as curate
from honed.data.mix.lots import Lot
from honed.data.mix.plan import Plan, plan, planned
from honed.data.mix.recipe import MixConfig
from honed.data.mix.run import settled
from honed.data.mix.worker import work
from honed.errors import ConfigError, DataError, StoreError
from honed.jobs import job as jobs
from honed.jobs.worker import Stopped
from honed.records import Conversation, Message, Preference, Rating
from honed.rounds.card import facts
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact, Manifest
from honed.store.workspace import Workspace


def row(prompt: str, answer: str = "fine", **tags: str) -> Conversation:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Conversation(messages=turns, tags=tags)


def rows(name: str, count: int, **tags: str) -> list[Conversation]:
    return [row(f"{name} {number}", **tags) for number in range(count)]


def stored(
    workspace: Workspace,
    name: str,
    train: Sequence[Conversation],
    heldout: Sequence[Conversation] = (),
    licence: str | None = None,
    **more: Any,
) -> Artifact:
    split = [*((one, "train") for one in train), *((one, "heldout") for one in heldout)]
    facts = {"dropped": {}, **({"licences": {name: licence}} if licence else {})}
    return datasets.write(workspace, name, split, config={}, facts=facts, **more)  # type: ignore[arg-type]


def mixed(workspace: Workspace, **values: Any) -> tuple[dict[str, Any], list[Conversation]]:
    """The result, and the training rows of the mix."""
    config = settled(workspace, build(MixConfig, {"name": "mix", **values}, "test"))
    result = work(jobs.create(workspace, "mix", config), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", result["dataset"])
    return result, list(datasets.rows(dataset, "train"))


def by(found: Sequence[Conversation], tag: str) -> Mapping[str, int]:
    return Counter(one.tags.get(tag, "") for one in found)


def left_out(workspace: Workspace) -> Counter[str]:
    path = artifacts.resolve(workspace, "datasets", "mix").path
    return Counter(fault.kind for fault, _ in dropped.read(path))


def test_without_weights_every_row_is_taken_and_the_parents_are_named(workspace: Workspace) -> None:
    one, two = stored(workspace, "one", rows("a", 30), rows("h", 5)), stored(workspace, "two", rows("b", 10))
    result, found = mixed(workspace, datasets=["one", "two"])
    assert (by(found, "dataset"), result["heldout"]) == ({"one": 30, "two": 10}, 5)
    manifest = artifacts.resolve(workspace, "datasets", "mix").manifest
    assert manifest.parents == {one.ref: one.manifest.hash, two.ref: two.manifest.hash}
    assert manifest.facts["counts"]["dataset"] == {"one": {"train": 30, "heldout": 5}, "two": {"train": 10}}
    assert manifest.facts["dropped"] == {}


def test_weights_give_the_largest_mix_that_keeps_them(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 30))
    stored(workspace, "two", rows("b", 10))
    level = {"by": "dataset", "weights": {"one": 1, "two": 2}}
    result, found = mixed(workspace, datasets=["one", "two"], levels=[level])
    assert by(found, "dataset") == {"one": 5, "two": 10}
    assert result["dropped"] == {"not chosen": 25} == left_out(workspace)


def test_numbers_tasks_inside_of_datasets_and_temperature(workspace: Workspace) -> None:
    stored(workspace, "one", [*rows("a", 90, task="qa"), *rows("b", 10, task="sum")])
    stored(workspace, "two", rows("c", 20, task="qa"))
    levels = [{"by": "dataset", "rows": {"two": 7}}, {"by": "task", "temperature": 1e9}]
    _, found = mixed(workspace, datasets=["one", "two"], levels=levels)
    assert Counter((one.tags["dataset"], one.tags["task"]) for one in found) == {
        ("one", "qa"): 10,
        ("one", "sum"): 10,
        ("two", "qa"): 7,
    }


def test_a_weight_of_zero_leaves_a_task_out_with_that_reason(workspace: Workspace) -> None:
    stored(workspace, "one", [*rows("a", 5, task="qa"), *rows("b", 3, task="sum"), *rows("c", 2)])
    level = {"by": "task", "weights": {"sum": 0, "(none)": 1}}
    result, found = mixed(workspace, datasets=["one"], levels=[level], rows=4)
    assert (by(found, "task"), result["dropped"]) == ({"qa": 2, "": 2}, {"not chosen": 3, "weight 0": 3})


def test_a_prompt_that_any_dataset_holds_out_is_trained_on_by_none(workspace: Workspace) -> None:
    chat = Conversation(messages=(*row("secret", "other").messages, *row("and now?").messages))
    pair = Preference(prompt=row("secret").prompt, chosen="a", rejected="b")
    free = pair.model_copy(update={"prompt": row("free").prompt})
    stored(workspace, "one", [row("secret", "also"), chat, row("free")], preferences=[pair, free])
    rating = Rating(prompt=row("secret").prompt, answer="a", good=True)
    stored(workspace, "two", rows("b", 3), [row("secret")], ratings=[rating])
    result, found = mixed(workspace, datasets=["one", "two"])
    assert result["dropped"] == {"leak": 4} == left_out(workspace)
    assert {one.prompt[-1].content for one in found} == {"free", "b 0", "b 1", "b 2"}
    mix = artifacts.resolve(workspace, "datasets", "mix")
    assert [(one.prompt, one.tags) for one in datasets.preferences(mix)] == [(free.prompt, {"dataset": "one"})]
    assert list(datasets.ratings(mix)) == []


def test_a_row_held_out_twice_is_listed_with_its_text(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 2), [row("h")])
    stored(workspace, "two", rows("b", 2), [row("other"), row("h")])
    mixed(workspace, datasets=["one", "two"])
    ((fault, text),) = dropped.read(artifacts.resolve(workspace, "datasets", "mix").path)
    assert (fault.kind, fault.field, fault.line) == ("held out twice", "held-out row", 2)
    assert Conversation.model_validate_json(text).prompt == row("h").prompt


def test_a_row_of_two_datasets_is_taken_once_and_counted(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 4), [row("h")])
    stored(workspace, "two", [*rows("a", 2), row("a 3", "another answer")], [row("h")])
    result, found = mixed(workspace, datasets=["one", "two"])
    assert by(found, "dataset") == {"one": 4, "two": 1}
    assert result["duplicates"] == [{"of": "one", "in": "two", "rows": 2}]
    assert (result["same_prompt"], result["heldout"]) == (1, 1)
    assert result["dropped"] == {"duplicate": 2, "held out twice": 1} == left_out(workspace)


def test_an_anchor_is_its_share_and_chosen_by_hash(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 90))
    stored(workspace, "general", rows("g", 40))
    anchor = {"dataset": "general", "share": 0.1}
    _, found = mixed(workspace, datasets=["one"], anchor=anchor)
    assert by(found, "dataset") == {"one": 90, "general": 10}
    _, again = mixed(workspace, datasets=["one"], anchor={**anchor, "share": 0.2}, rows=50)
    assert by(again, "dataset") == {"one": 40, "general": 10}
    assert {one.id for one in again} <= {one.id for one in found}  # fewer rows are some of the same
    assert left_out(workspace) == {"not chosen": 50, "not replayed": 30}


def test_a_seed_gives_the_same_rows_and_another_seed_others(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 200))
    first, found = mixed(workspace, datasets=["one"], rows=20)
    second, again = mixed(workspace, datasets=["one"], rows=20)
    assert (second["dataset"], again) == (first["dataset"], found)
    _, others = mixed(workspace, datasets=["one"], rows=20, seed=1)
    assert {one.id for one in others} != {one.id for one in found}


def test_licences_go_along_and_a_commercial_mix_is_warned(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 3), licence="cc-by-nc-4.0")
    stored(workspace, "two", rows("b", 3))
    result, _ = mixed(workspace, datasets=["one", "two"], use="commercial")
    assert result["licences"] == {"one": "cc-by-nc-4.0", "two": "not declared"}
    assert [(one["source"], one["kind"]) for one in result["licence_conflicts"]] == [
        ("one", "non-commercial"),
        ("two", "unknown licence"),
    ]
    result, _ = mixed(workspace, datasets=["mix"], name="again")
    assert (result["licences"], result["licence_conflicts"]) == ({"one": "cc-by-nc-4.0", "two": "not declared"}, [])


def test_the_mark_of_synthetic_rows_goes_along(workspace: Workspace) -> None:
    stored(workspace, "people", rows("a", 4))
    stored(workspace, "made", rows("b", 3, synthetic="evolve", generator="writer"))
    _, found = mixed(workspace, datasets=["people", "made"])
    assert by(found, "synthetic") == {"": 4, "evolve": 3}
    assert {one.tags.get("generator") for one in found if one.tags["dataset"] == "made"} == {"writer"}


def test_segments_are_dealt_counted_and_kept_by_their_version(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, "one", [*rows("a", 9, audience="child"), *rows("b", 30, audience="expert"), *rows("c", 5)])
    file = tmp_path / "segments.yaml"
    file.write_text("segments: [{name: young, where: {audience: [child, teen]}}]")
    level = {"by": "segment", "weights": {"young": 1, "(none)": 2}}
    result, found = mixed(workspace, datasets=["one"], levels=[level], segments=str(file), rows=12)
    assert by(found, "audience")["child"] == 4
    assert result["segments"]["rows"] == {"(none)": 8, "young": 4}
    assert len(result["segments"]["version"]) == 16
    assert all("segment" not in one.tags for one in found)  # a rule is no attribute of a row
    assert result["counts"]["segment"] == {"young": {"train": 4}}
    curation = build(CurateConfig, {"dataset": "mix", "name": "clean", "steps": ["exact"]}, "test")
    clean = curate(jobs.create(workspace, "curate", curation), lambda: False)
    assert clean["counts"]["segment"] == {"young": {"train": 4}}
    card = facts.card(workspace, artifacts.resolve(workspace, "datasets", "clean"))
    assert card.scan.by["segment"] == {"young": {"train": 4}}
    config = artifacts.resolve(workspace, "datasets", "mix").manifest.config
    assert config["rules"] == [{"name": "young", "where": {"audience": ["child", "teen"]}}]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"datasets": ["one", "one@v1"]}, ConfigError, "one@v1 is named twice"),
        ({"datasets": ["zebra"]}, StoreError, "no dataset 'zebra'"),
        ({"levels": [{"by": "dataset", "weights": {"on": 1}}]}, ConfigError, "no row has the dataset 'on'"),
        ({"levels": [{"by": "task", "rows": {"qa": 9}}]}, ConfigError, "9 rows of qa are asked for, and 5 can be used"),
        (
            {"levels": [{"by": "task", "rows": {"qa": 5}}], "rows": 3},
            ConfigError,
            "5 rows are asked for by number, and 3",
        ),
        ({"levels": [{"by": "task", "weights": {"qa": -1}}]}, ConfigError, "weights are 0 or more"),
        ({"levels": [{"by": "task", "weights": {"qa": 0}}]}, DataError, "no row is left"),
        ({"levels": [{"by": "task", "temperature": 0}]}, ConfigError, "greater than 0"),
        ({"levels": [{"by": "segment"}]}, ConfigError, "needs 'segments'"),
        ({"levels": [{"by": "task"}, {"by": "task"}]}, ConfigError, "task is named twice"),
        ({"segments": "none.yaml"}, ConfigError, "none.yaml: No such file"),
        ({"anchor": {"dataset": "one", "share": 0.1}}, ConfigError, "one@v1 is one of the datasets"),
        ({"anchor": {"dataset": "one", "share": 1}}, ConfigError, "less than 1"),
        ({"most": {"author": 0}}, ConfigError, "at most 0 rows of each author"),
    ],
)
def test_what_can_not_be_is_said(workspace: Workspace, values: dict[str, Any], error: Any, message: str) -> None:
    stored(workspace, "one", rows("a", 5, task="qa"))
    with pytest.raises(error) as raised:
        config = build(MixConfig, {"name": "mix", "datasets": ["one"], **values}, "test")
        plan(workspace, settled(workspace, config))
    assert message in str(raised.value)
    assert raised.value.hint or error is ConfigError


def test_more_rows_than_there_are_is_noted_and_a_stopped_mix_writes_nothing(workspace: Workspace) -> None:
    stored(workspace, "one", rows("a", 5))
    config = settled(workspace, build(MixConfig, {"name": "mix", "datasets": ["one"], "rows": 9}, "test"))
    assert plan(workspace, config).notes == ["9 rows are asked for, and 5 can be used: all are taken"]
    with pytest.raises(Stopped):
        work(jobs.create(workspace, "mix", config), lambda: True)
    assert [one.ref for one in artifacts.listing(workspace, "datasets")] == ["one@v1"]


def test_a_dataset_without_the_newest_columns_can_be_mixed(workspace: Workspace) -> None:
    import pyarrow.parquet as pq

    old = stored(workspace, "one", rows("a", 5))
    table = pq.read_table(old.path / datasets.ROWS)
    pq.write_table(table.drop_columns(["declared"]), old.path / datasets.ROWS)
    assert len(mixed(workspace, datasets=["one"])[1]) == 5


def test_the_command_shows_the_plan_and_a_dry_run_builds_nothing(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(workspace, "one", rows("a", 30), licence="cc-by-sa-4.0")
    stored(workspace, "two", rows("b", 10), licence="cc-by-4.0")
    common = ["--as", "both", "--use", "commercial", "--dry-run", "--workspace", str(workspace.path)]
    assert run(["data", "mix", "one=1", "two=1", *common]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["dataset", "rows", "usable", "asked", "taken", "share"],
        ["one", "30", "30", "10", "10", "50.0", "%"],
        ["two", "10", "10", "10", "10", "50.0", "%"],
        ["all", "40", "40", "20", "20", "100.0", "%"],
    ]
    assert "left out: 20 not chosen" in err
    assert "warning: licence: one is under cc-by-sa-4.0" in err
    assert run(["data", "mix", "one", "two:3", *common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["train"], found["dropped"]) == (33, {"not chosen": 7})
    assert [group["taken"] for group in found["mix"]["groups"]] == [30, 3]
    assert run(["data", "mix", "one=x", *common]) == 2
    assert "'x' is no number" in capsys.readouterr().err
    assert [one.ref for one in artifacts.listing(workspace, "datasets")] == ["one@v1", "two@v1"]


ids = st.lists(st.integers(0, 60), max_size=25, unique=True)


def lot(name: str, numbers: list[int], authors: list[str], leaks: set[int]) -> Lot:
    tags = [{"author": author, "task": author[:1]} if author else {} for author in dict.fromkeys(authors)]
    codes = [list(dict.fromkeys(authors)).index(author) for author in authors][: len(numbers)]
    manifest = Manifest(
        kind="datasets", name=name, version=1, hash="", parents={}, config={}, facts={}, honed="", created=""
    )
    return Lot(
        label=name,
        dataset=Artifact(Path(name), manifest),
        ids=np.array(numbers, np.uint64),
        prompts=np.array(numbers, np.uint64),
        codes=np.array(codes, np.uint32),
        tags=tuple(tags),
        leaks={place: "x@v1" for place, number in enumerate(numbers) if number in leaks},
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(ids, st.lists(st.sampled_from(["", "ann", "ben", "bob"]), min_size=25, max_size=25)),
        min_size=2,
        max_size=4,
    ),
    st.sets(st.integers(0, 60), max_size=5),
    st.integers(1, 6),
    st.none() | st.integers(1, 60),
    st.booleans(),
    st.integers(0, 3),
)
def test_limits_hold_whatever_the_datasets_are(
    drawn: list[tuple[list[int], list[str]]], leaks: set[int], most: int, wanted: int | None, anchored: bool, seed: int
) -> None:
    lots = [lot(f"d{at}", numbers, authors, leaks) for at, (numbers, authors) in enumerate(drawn)]
    values: dict[str, Any] = {"name": "mix", "datasets": ["d"], "rows": wanted, "most": {"author": most}, "seed": seed}
    if anchored:
        values["anchor"] = {"dataset": "a", "share": 0.25}
    config = build(MixConfig, {**values, "levels": [{"by": "dataset"}, {"by": "task", "temperature": 3}]}, "test")
    made = Plan(config, lots[:-1] if anchored else lots, lots[-1] if anchored else None)
    try:
        planned(made)
    except DataError:
        return
    taken: list[int] = []
    authors: Counter[str] = Counter()
    for at, one in enumerate(made.every):
        for place, number in enumerate(one.ids.tolist()):
            assert bool(made.chosen[at][place]) != (place in made.reasons[at])  # in, or out with a reason
            if made.chosen[at][place]:
                taken.append(number)
                authors.update(one.tags[int(one.codes[place])].get("author", "").split())
    assert len(taken) == len(set(taken)) == made.total
    assert not leaks & set(taken)
    assert max(authors.values(), default=0) <= most
    assert made.total <= (wanted or 10**9)
    again = planned(Plan(config, made.lots, made.anchor))
    assert all((one == two).all() for one, two in zip(made.chosen, again.chosen, strict=True))
