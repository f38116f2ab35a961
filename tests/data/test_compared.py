"""Preferences and labelled answers, however they are written, become the same records; and can be trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.cli.main import run
from honed.data import dropped
from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn
from honed.data.worker import work
from honed.records import Preference, Rating
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import queued, saved

Q = {"role": "user", "content": "q"}
GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
HH = "\n\nHuman: first\n\nAssistant: x\n\nHuman: q\n\nAssistant: "


def read(row: dict[str, Any]) -> Preference | Rating:
    shape = table.shape_of(row)
    assert shape in ("preference", "kto")
    found = table.read(json.loads(json.dumps(row)), shape)
    assert found.problems == []
    (record,) = found.records
    assert not isinstance(record, Drawn)
    return record


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [Q], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [Q], "chosen": "good", "rejected": "bad"},
        {"chosen": [Q, GOOD], "rejected": [Q, BAD]},
        {"prompt": "q", "chosen": [Q, GOOD], "rejected": [Q, BAD]},
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {"messages": [Q], "chosen": GOOD, "rejected": BAD},
        {"prompt": "q", "chosen": [Q, GOOD], "rejected": [Q, BAD], "messages": [Q, GOOD], "score_chosen": 8.0},
        {"chosen": [Q, GOOD], "rejected": [Q, BAD], "messages": [Q, GOOD]},
        {"instruction": "q", "chosen": "good", "rejected": "bad", "conversations": [Q, GOOD]},
        {"input": {"messages": [Q]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": "good", "rejected": "bad"},
    ],
)
def test_each_way_to_write_a_preference_is_read(row: dict[str, Any]) -> None:
    pair = read(row)
    assert isinstance(pair, Preference)
    assert [(turn.role, turn.content) for turn in pair.prompt] == [("user", "q")]
    assert (pair.chosen, pair.rejected) == ("good", "bad")


def test_a_dialogue_and_a_system_text_are_kept_before_both_answers() -> None:
    pair = read({"chosen": HH + "good", "rejected": HH + "bad", "system": "s", "source": "hh"})
    assert [(turn.role, turn.content) for turn in pair.prompt] == [
        ("system", "s"),
        ("user", "first"),
        ("assistant", "x"),
        ("user", "q"),
    ]
    assert dict(pair.tags) == {"source": "hh"}


FIRST, SYSTEM = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "x"}], [("system", "s")]
BEFORE, IN_SYSTEM = [("user", "first"), ("assistant", "x"), ("user", "q")], {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "first", "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, BEFORE),
        ({"prompt": FIRST[:1], "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, BEFORE),
        ({"prompt": FIRST, "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, BEFORE),
        ({"prompt": [*FIRST, Q], "chosen": [Q, GOOD], "rejected": [Q, BAD]}, BEFORE),
        ({"prompt": "q", "chosen": [IN_SYSTEM, Q, GOOD], "rejected": [IN_SYSTEM, Q, BAD]}, [*SYSTEM, ("user", "q")]),
        ({"prompt": [IN_SYSTEM, *FIRST], "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, SYSTEM + BEFORE),
        ({"prompt": "q", "system": "s", "chosen": [Q, GOOD], "rejected": [Q, BAD]}, [*SYSTEM, ("user", "q")]),
        (
            {"prompt": "first", "chosen": [IN_SYSTEM, *FIRST, Q, GOOD], "rejected": [IN_SYSTEM, *FIRST, Q, BAD]},
            SYSTEM + BEFORE,
        ),
    ],
)
def test_the_prompt_of_a_preference_is_all_that_stands_before_its_answers(
    row: dict[str, Any], prompt: list[tuple[str, str]]
) -> None:
    assert [(turn.role, turn.content) for turn in read(row).prompt] == prompt


@pytest.mark.parametrize(
    ("row", "field", "kind"),
    [
        ({"prompt": "other", "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, ("chosen",), "two prompts"),
        ({"prompt": "q", "chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, ("chosen",), "two prompts"),
        (
            {"prompt": "q", "system": "t", "chosen": [IN_SYSTEM, Q, GOOD], "rejected": [IN_SYSTEM, Q, BAD]},
            ("chosen",),
            "two prompts",
        ),
        ({"prompt": "q", "chosen": "same", "rejected": "same"}, ("rejected",), "no difference"),
        ({"prompt": "q", "chosen": "good", "rejected": " "}, ("rejected",), "empty answer"),
        ({"prompt": "q", "chosen": "good", "rejected": None}, ("rejected",), "wrong type"),
        ({"chosen": "good", "rejected": "bad"}, ("chosen",), "empty prompt"),
        ({"chosen": [Q, GOOD], "rejected": [{**Q, "content": "other"}, BAD]}, ("rejected",), "two prompts"),
        ({"prompt": [Q], "chosen": [GOOD, Q, GOOD], "rejected": [BAD, Q, BAD]}, ("rejected",), "two prompts"),
        ({"prompt": [Q, GOOD], "chosen": "good", "rejected": "bad"}, ("chosen",), "roles out of order"),
    ],
)
def test_each_fault_of_a_preference_is_named(row: dict[str, Any], field: tuple[str, ...], kind: str) -> None:
    found = table.read(row, "preference")
    assert (field, kind) in [(problem.path, problem.kind) for problem in found.problems]
    assert found.records == []


def test_a_dialogue_beside_a_preference_that_is_not_its_prompt_is_named_as_not_read() -> None:
    row = {"prompt": "q", "chosen": [Q, GOOD], "rejected": [Q, BAD], "messages": [Q, GOOD]}
    assert table.read(row, "preference").ignored == ["messages"]
    assert table.read({**row, "messages": [Q]}, "preference").ignored == ["prompt"]
    alone = table.read({"chosen": "good", "rejected": "bad", "messages": [Q, GOOD]}, "preference")
    assert {problem.kind for problem in alone.problems} == {"roles out of order"}


def test_a_context_beside_answers_that_begin_with_the_question_is_named_as_not_read() -> None:
    row = {"question": "q", "context": "c", "chosen": [Q, GOOD], "rejected": [Q, BAD]}
    found = table.read(row, "preference")
    assert [turn.content for turn in found.records[0].prompt] == ["q"] and found.ignored == ["context"]


TOOLS = [{"name": "look"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": [{**Q, "tools": TOOLS}, GOOD], "rejected": [{**Q, "tools": TOOLS}, BAD]},
        {"chosen": [{**Q, "tools": TOOLS}, GOOD], "rejected": [Q, BAD]},
        {"prompt": [Q], "chosen": [{**GOOD, "tools": TOOLS}], "rejected": [BAD]},
        {"prompt": [Q], "chosen": [GOOD], "rejected": [{**BAD, "tools": TOOLS}]},
    ],
)
def test_tools_of_any_turn_of_a_preference_are_its_prompts(row: dict[str, Any]) -> None:
    record = read(row)
    assert isinstance(record, Preference)
    assert [tool["name"] for tool in record.prompt[0].tools] == ["look"]


def test_two_lists_of_tools_or_other_calls_before_two_answers_are_faults() -> None:
    other = [{**Q, "tools": [{"name": "send"}]}, BAD]
    (found,) = table.read({"chosen": [{**Q, "tools": TOOLS}, GOOD], "rejected": other}, "preference").problems
    assert found.kind == "two lists of tools"
    before = [
        [Q, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": name, "arguments": "{}"}}]}, Q]
        for name in ("look", "send")
    ]
    (found,) = table.read({"chosen": [*before[0], GOOD], "rejected": [*before[1], BAD]}, "preference").problems
    assert found.kind == "two prompts"


def test_a_preference_without_one_side_is_a_fault() -> None:
    found = table.read({"prompt": "q", "chosen": "good"}, "preference")
    assert [(problem.path, problem.kind) for problem in found.problems] == [(("rejected",), "missing field")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [Q, BAD], "label": False},
        {"conversations": [Q, BAD], "kto_tag": False},
        {"prompt": "q", "completion": "bad", "label": False},
        {"prompt": [Q], "completion": [BAD], "label": "false"},
        {"instruction": "q", "output": "bad", "kto_tag": False},
        {"prompt": [Q], "answer": "bad", "good": False, "reason": ""},
    ],
)
def test_each_way_to_write_a_label_is_read(row: dict[str, Any]) -> None:
    rating = read(row)
    assert isinstance(rating, Rating)
    assert ([turn.content for turn in rating.prompt], rating.answer, rating.good) == (["q"], "bad", False)


@pytest.mark.parametrize("label", ["maybe", 2, None, []])
def test_a_label_that_is_neither_true_nor_false_is_a_fault(label: Any) -> None:
    found = table.read({"prompt": "q", "completion": "a", "label": label}, "kto")
    assert [problem.path for problem in found.problems] == [("label",)]
    assert table.shape_of({"prompt": "q", "completion": "a", "label": label}) == "prompt-response"


def labelled(kind: str, label: str, labels: tuple[Any, Any], folder: Path) -> Path:
    """A file of answers whose labels alternate."""
    rows = [{"prompt": f"q{n}", "completion": f"a{n}", label: labels[n % 2]} for n in range(6)]
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(("label", "labels"), [("label", (0, 1)), ("label", ("0", "1")), ("good", ("bad", "good"))])
def test_labels_of_0_and_1_or_words_are_detected_where_all_rows_have_one(
    workspace: Workspace, tmp_path: Path, kind: str, label: str, labels: tuple[Any, Any]
) -> None:
    path = labelled(kind, label, labels, tmp_path)
    result = work(queued(workspace, [str(path)], heldout=0.0), lambda: False)
    kept = list(datasets.ratings(artifacts.resolve(workspace, "datasets", "set")))
    assert ([one.good for one in kept], result["train"]) == ([False, True] * 3, 0)
    assert "answers with a label (KTO): 6 of 6 rows" in result["sources"][0]["detected"]


def test_a_number_beside_an_answer_is_no_label_where_a_row_has_none_or_another() -> None:
    row = {"prompt": "q", "completion": "a"}
    for other in ({}, {"label": 2}, {"label": "sports"}):
        assert table.shape_of_all([{**row, "label": 1}, {**row, **other}]) == "prompt-response"


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"q{number}", "chosen": "good", "rejected": "bad"} for number in range(count)]


def test_preferences_are_stored_apart_and_held_out_ones_become_rows(workspace: Workspace, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [*pairs(60), pairs(1)[0]])))
    result = work(queued(workspace, [path], heldout=0.3), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    kept, heldout = list(datasets.preferences(dataset)), list(datasets.rows(dataset, "heldout"))
    assert (result["preferences"], result["heldout"], result["train"]) == (len(kept), len(heldout), 0)
    assert 5 < len(heldout) < 40
    assert len(kept) + len(heldout) == 60
    assert {row.answer for row in heldout} == {"good"}
    assert not {row.prompt_id for row in heldout} & {pair.prompt_id for pair in kept}
    assert result["dropped"] == {"duplicate": 1}
    ((fault, text),) = dropped.read(dataset.path)
    assert (fault.line, fault.kind, fault.message.endswith("rows.jsonl:1")) == (61, "duplicate", True)
    assert Preference.model_validate_json(text).chosen == "good"


def test_ratings_are_stored_apart_and_bad_answers_are_no_held_out_rows(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": f"a{n}", "label": n % 2 == 0} for n in range(60)]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    result = work(queued(workspace, [path], heldout=0.4), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    kept, heldout = list(datasets.ratings(dataset)), list(datasets.rows(dataset, "heldout"))
    assert len(kept) + len(heldout) + result["dropped"]["held-out prompt"] == 60
    assert all(int(row.answer[1:]) % 2 == 0 for row in heldout)
    assert result["ratings"] == len(kept) > 20


def test_imported_preferences_can_be_trained_on(workspace: Workspace, tmp_path: Path) -> None:
    from honed.models.chat import from_tokenizer
    from honed.train.objectives.table import OBJECTIVES
    from honed.train.rows import Limit
    from tests.tiny import tiny_tokenizer
    from tests.train.jobs import UNHEARD

    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, pairs(8))))
    work(queued(workspace, [path], heldout=0.0), lambda: False)
    dataset = artifacts.resolve(workspace, "datasets", "set")
    read_ = OBJECTIVES["dpo"].read(dataset, from_tokenizer(tiny_tokenizer()), Limit(512), None, UNHEARD)
    assert (len(read_.encoded), read_.left_out) == (8, ())


def test_preferences_are_shown_side_by_side(
    workspace: Workspace, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from honed.models import load
    from honed.models.chat import from_tokenizer
    from tests.tiny import tiny_tokenizer

    monkeypatch.setattr(load, "load_chat", lambda *_, **__: from_tokenizer(tiny_tokenizer()))
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, pairs(8))))
    work(queued(workspace, [path], heldout=0.0), lambda: False)
    args = ["data", "show", "set", "--model", "any", "--rows", "1", "--workspace", str(workspace.path)]
    assert run(args) == 0
    out = capsys.readouterr().out
    assert "answer=chosen" in out
    assert "⟦bad<|im_end|>⟧" in out
