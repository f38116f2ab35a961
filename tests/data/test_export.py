"""What a format can hold comes back from it as it was; what it can't hold is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.cli.main import run
from honed.data.export import FORMATS, export
from honed.data.formats import Format
from honed.data.forms.held import Tally
from honed.data.shapes import table
from honed.data.shapes.drawn import Drawn
from honed.errors import DataError, StoreError
from honed.records import Conversation, Message, Preference, Rating, ToolCall
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.files import taken
from tests.data.records import conversations, preferences, ratings

Record = Conversation | Preference | Rating
SHAPES: dict[Format, table.Shape] = {
    "prompt-completion": "prompt-response",
    **dict.fromkeys(("dpo", "llama-factory", "hh-rlhf"), "preference"),
}
QUESTION = Message(role="user", content="q")


def written(record: Record, form: Format) -> tuple[dict[str, Any], Tally]:
    """The row that is written of one record, and what was counted."""
    tally = Tally()
    row = next(FORMATS[form].rows([record], tally), {})
    return json.loads(json.dumps(row)), tally


def again(record: Record, form: Format) -> list[Record]:
    """The records that are read from what is written of one."""
    row, tally = written(record, form)
    assert not tally.left_out and not tally.lost
    shape = table.shape_of(row)
    assert shape == SHAPES.get(form, form)
    read = table.read(row, shape)
    assert read.problems == []
    return [one.record() if isinstance(one, Drawn) else one for one in read.records]


def bare(pair: Preference) -> Preference:
    """The pair without blanks around its texts, but for those of a system turn."""
    turns = tuple(
        turn if turn.role == "system" else turn.model_copy(update={"content": turn.content.strip()})
        for turn in pair.prompt
    )
    return pair.model_copy(update={"prompt": turns, "chosen": pair.chosen.strip(), "rejected": pair.rejected.strip()})


SINGLE: tuple[Format, ...] = ("dolly", "prompt-response", "prompt-completion", "seed-tasks")
HELD: list[tuple[Format, st.SearchStrategy[Any]]] = [
    ("messages", conversations()),
    ("sharegpt", conversations(ids=False)),
    ("alpaca", conversations(weights=False, with_tools=False)),
    *((form, conversations(many=False, weights=False, with_tools=False)) for form in SINGLE),
    ("oasst", conversations(weights=False, with_tools=False)),
    ("dpo", preferences()),
    ("llama-factory", preferences(ids=False)),
    ("hh-rlhf", preferences(with_tools=False).map(bare).filter(lambda pair: pair.chosen != pair.rejected)),
    ("kto", ratings()),
    ("label-studio", conversations(weights=False)),
    ("label-studio", preferences()),
    ("label-studio", ratings()),
    ("argilla", conversations(weights=False, with_tools=False).map(lambda row: row.model_copy(update={"check": None}))),
    ("argilla", preferences(with_tools=False)),
    ("argilla", ratings(with_tools=False)),
]


@pytest.mark.parametrize(("form", "records"), HELD)
def test_what_a_format_holds_comes_back_as_it_was(form: Format, records: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None, max_examples=60)
    @given(records)
    def holds(record: Record) -> None:
        assert again(record, form) == [record]

    holds()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(FORMATS)), conversations() | preferences() | ratings())
def test_any_record_is_written_or_the_reason_said_and_what_is_lost_named(form: Format, record: Record) -> None:
    row, tally = written(record, form)
    if tally.left_out:
        assert all(tally.left_out) and tally.written == 0
    elif not tally.lost:
        assert again(record, form) == [record]
    else:
        names = {"events", "weights", "call ids", "check", "tools", "the answer's weight", "blanks around texts"}
        assert set(tally.lost) <= names
        assert table.read(row, table.shape_of(row) or "messages").problems == []


def filled(workspace: Workspace) -> artifacts.Artifact:
    """A dataset of two training rows (one with tools), a held-out one, and a pair."""
    called = Message(role="assistant", content="", tool_calls=(ToolCall(name="look", arguments={"at": 1}),))
    answer = Message(role="assistant", content="a")
    rows = [
        (Conversation(messages=(QUESTION, answer), events=("e",)), "train"),
        (Conversation(messages=(QUESTION, called, Message(role="tool", content="2"), answer)), "train"),
        (Conversation(messages=(Message(role="user", content="h"), answer)), "heldout"),
    ]
    pair = Preference(prompt=(QUESTION,), chosen="good", rejected="bad")
    return datasets.write(workspace, "set", rows, config={}, facts={}, preferences=[pair])  # type: ignore[arg-type]


def test_what_is_left_out_or_lost_is_counted(workspace: Workspace, tmp_path: Path) -> None:
    done = export(filled(workspace), "alpaca", tmp_path / "out.jsonl", "all")
    assert (done.written, dict(done.lost)) == (2, {"events": 1})
    assert dict(done.left_out) == {"with tool calls": 1, "preferences or ratings": 1}
    assert done.listing == tmp_path / "out.jsonl.left-out.jsonl"
    called, pair = map(json.loads, done.listing.read_text().splitlines())
    assert (called["reason"], called["row"]["messages"][-1]["content"]) == ("with tool calls", "a")
    assert (pair["reason"], pair["row"]["chosen"]) == ("preferences or ratings", "good")
    _, good, wrong = taken(tmp_path / "out.jsonl")
    assert ([one.row.answer for one in good], wrong) == (["a", "a"], [])


def test_only_the_training_split_is_written_unless_another_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    dataset = filled(workspace)
    assert export(dataset, "messages", tmp_path / "a.jsonl", "train").written == 2
    assert export(dataset, "messages", tmp_path / "b.jsonl", "heldout").written == 1
    assert export(dataset, "dpo", tmp_path / "c.jsonl", "train").written == 1
    assert export(dataset, "messages", tmp_path / "d.jsonl", "heldout").listing is None
    assert not (tmp_path / "d.jsonl.left-out.jsonl").exists()


@pytest.mark.parametrize(
    ("form", "name", "array"),
    [
        ("messages", "x.json", True),
        ("messages", "x.jsonl", False),
        ("argilla", "x", True),
        ("argilla", "x.jsonl", False),
    ],
)
def test_the_name_of_the_file_decides_between_an_array_and_lines(
    form: Format, name: str, array: bool, workspace: Workspace, tmp_path: Path
) -> None:
    export(filled(workspace), form, tmp_path / name, "train")
    text = (tmp_path / name).read_text()
    rows = json.loads(text) if array else [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 2


def test_a_file_that_is_there_is_never_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("mine")
    with pytest.raises(StoreError, match="there is a file already"):
        export(filled(workspace), "messages", tmp_path / "x.json", "train")
    assert (tmp_path / "x.json").read_text() == "mine"


def test_nothing_to_write_is_an_error_that_says_what_can_be_written(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing can be written as kto") as caught:
        export(filled(workspace), "kto", tmp_path / "x.json", "train")
    assert "messages, sharegpt, dpo" in caught.value.hint
    assert not list(tmp_path.glob("*x.json*"))


def test_the_command_says_what_was_written_and_what_not(workspace: Workspace, tmp_path: Path, capsys: Any) -> None:
    filled(workspace)
    args = ["data", "export", "set", "--as", "sharegpt", "--to", str(tmp_path / "out.jsonl"), "--workspace"]
    assert run([*args, str(workspace.path)]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("out.jsonl: 2 records of set@v1 as sharegpt\n")
    assert "1 held-out rows are not in it: --split all" in err
    assert "left out, since sharegpt can't hold them: 1 preferences or ratings" in err
    assert "has no place for it: 1 events" in err


@pytest.mark.parametrize("form", ["label-studio", "argilla"])
def test_what_annotators_said_takes_the_place_of_what_was_proposed(form: Format) -> None:
    row, _ = written(Conversation(messages=(QUESTION, Message(role="assistant", content="old"))), form)
    if form == "argilla":
        row["responses"] = {"response": [{"value": "new", "user_id": "u"}]}
    else:
        result = [{"from_name": "response", "to_name": "messages", "type": "textarea", "value": {"text": ["new"]}}]
        cancelled = {"result": [{**result[0], "value": {"text": ["no"]}}], "was_cancelled": True}
        row["annotations"] = [{"result": result}, cancelled]
    (record,) = table.read(row, form).records
    assert isinstance(record, Drawn)
    assert record.messages[-1].content == "new"


def test_a_task_without_any_answer_is_a_fault() -> None:
    found = table.read({"data": {"messages": [{"role": "user", "content": "q"}]}, "annotations": []}, "label-studio")
    assert [(one.path, one.kind) for one in found.problems] == [(("annotations",), "not annotated")]


SPEAKS = Message(role="assistant", content="a")
PAIR = Preference(prompt=(QUESTION,), chosen="good", rejected="bad")


@pytest.mark.parametrize(
    ("form", "record", "row"),
    [
        (
            "dolly",
            Conversation(messages=(QUESTION, SPEAKS), tags={"task": "open_qa"}),
            {"instruction": "q", "context": "", "response": "a", "category": "open_qa"},
        ),
        ("prompt-completion", Conversation(messages=(QUESTION, SPEAKS)), {"prompt": "q", "completion": "a"}),
        (
            "hh-rlhf",
            PAIR,
            {
                "chosen": "\n\nHuman: q\n\nAssistant: good",
                "rejected": "\n\nHuman: q\n\nAssistant: bad",
            },
        ),
        (
            "llama-factory",
            PAIR,
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
        ),
    ],
)
def test_a_plain_row_has_the_fields_of_its_format_and_no_others(
    form: Format, record: Record, row: dict[str, Any]
) -> None:
    assert written(record, form) == (row, Tally(written=1))


def test_a_seed_task_has_all_that_self_instruct_reads() -> None:
    row, _ = written(Conversation(messages=(QUESTION, SPEAKS), tags={"task": "classification"}), "seed-tasks")
    assert row["id"].startswith("seed_task_") and (row["name"], row["is_classification"]) == ("classification", True)
    assert (row["instruction"], row["instances"]) == ("q", [{"input": "", "output": "a"}])


@pytest.mark.parametrize(
    ("form", "record", "reason"),
    [
        (
            "hh-rlhf",
            PAIR.model_copy(update={"chosen": "no\n\nHuman: q"}),
            "that quote a dialogue of Human and Assistant",
        ),
        ("hh-rlhf", PAIR.model_copy(update={"rejected": "good "}), "whose answers differ in blanks only"),
        ("hh-rlhf", Conversation(messages=(QUESTION, SPEAKS)), "that are no preferences"),
        ("dolly", Conversation(messages=(QUESTION, SPEAKS) * 2), "of more than one prompt and answer"),
        ("oasst", Conversation(messages=(QUESTION, SPEAKS) * 51), "of more than 100 turns"),
        ("oasst", PAIR, "preferences or ratings"),
        (
            "alpaca",
            Conversation(messages=(Message(role="system", content="s"), SPEAKS)),
            "that don't begin with a prompt",
        ),
    ],
)
def test_what_a_format_has_no_way_to_write_is_left_out_by_name(form: Format, record: Record, reason: str) -> None:
    row, tally = written(record, form)
    assert (row, tally.written, dict(tally.left_out)) == ({}, 0, {reason: 1})


def test_the_commands_offer_every_shape_and_format() -> None:
    from honed.cli.data import export as exporting
    from honed.cli.data import import_

    choices = [
        next(
            tuple(one.type.choices) for one in command.params if name in one.opts and isinstance(one.type, click.Choice)
        )
        for command, name in ((exporting, "--as"), (import_, "--shape"))
    ]
    assert choices == [get_args(Format), table.SHAPES]
