"""Every shape becomes the same conversation; every row that can't is named by field and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.shapes import table as shapes
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import Reading
from honed.data.shapes.table import Shape
from honed.records import Check, Conversation, Message, Preference, Rating
from honed.store import columns
from tests.data.files import alpaca, chat, faults, saved, taken

TURN = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
CALL = "bad tool call"
PART = {"type": "text", "text": "q"}
QA = (("user", "q"), ("assistant", "a"))


def only(found: Reading) -> Conversation:
    assert found.records, found.problems
    (record,) = found.records
    assert isinstance(record, Drawn)
    return record.record()


LONG = "a passage of 24 characters"


def messages(row: dict[str, Any]) -> list[tuple[str, str]]:
    shape = shapes.shape_of(row)
    assert shape
    return [(message.role, message.content) for message in only(shapes.read(row, shape)).messages]


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ("alpaca", {"instruction": "q", "input": "", "output": "a"}),
        ("alpaca", {"instruction": "q", "input": None, "output": "a"}),
        ("dolly", {"instruction": "q", "context": "", "response": "a", "category": "x"}),
        ("prompt-response", {"prompt": "q", "response": "a"}),
        ("prompt-response", {"prompt": "q", "completion": "a"}),
        ("prompt-response", {"question": "q", "answer": "a", "system": ""}),
        ("messages", chat(*QA)),
        ("messages", {**chat(*QA), "prompt": "q", "response": "other"}),
        ("messages", {"messages": [{"role": "user", "content": [PART]}, {**ANSWER, "tool_calls": None}]}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
        ("sharegpt", {"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
    ],
)
def test_each_shape_is_told_and_read(shape: Shape, row: dict[str, Any]) -> None:
    assert shapes.shape_of(row) == shape
    assert messages(row) == [*QA]


def test_the_input_of_an_alpaca_row_follows_its_instruction_on_a_new_line() -> None:
    assert messages(alpaca(1, input="text"))[0] == ("user", "question 1\ntext")


def test_a_system_field_comes_first_in_every_shape() -> None:
    said = ("system", "be brief")
    for row in (alpaca(1), {"prompt": "q", "response": "a"}, chat(*QA), {"conversations": chat(*QA)["messages"]}):
        assert messages({**row, "system": "be brief"})[0] == said
        assert messages({**row, "system": ""})[0][0] == "user"


def test_texts_are_kept_to_the_last_blank() -> None:
    assert messages({"prompt": " q\n", "response": "\ta \n"}) == [("user", " q\n"), ("assistant", "\ta \n")]


def test_text_columns_become_tags_and_category_is_the_task() -> None:
    found = shapes.read(alpaca(1, category="qa", source="web", language="", audience=3, rank=1), "alpaca")
    assert dict(only(found).tags) == {"task": "qa", "source": "web"}
    assert sorted(found.ignored) == ["audience", "rank"]
    both = only(shapes.read(alpaca(1, category="qa", task="t"), "alpaca"))
    assert dict(both.tags) == {"task": "t", "category": "qa"}


def test_numbers_of_authors_and_sources_are_read_as_texts() -> None:
    found = shapes.read(alpaca(1, author=42, source=7, category=3, age_band=12), "alpaca")
    assert dict(only(found).tags) == {"author": "42", "source": "7"}
    assert sorted(found.ignored) == ["age_band", "category"]
    assert "author" not in only(shapes.read(alpaca(1, author=True), "alpaca")).tags


def test_fields_that_nothing_reads_are_counted_and_said(tmp_path: Path) -> None:
    rows = [alpaca(1, rank=1), alpaca(2, rank=2, tags=["x"]), {**alpaca(3), "check": True}]
    intake, good, _ = taken(saved(tmp_path, "rows.json", json.dumps(rows)))
    assert len(good) == 3
    assert intake.counts.ignored == {"rank": 2, "tags": 1, "check": 1}
    assert intake.unread() == "rows.json: not read: rank (2), tags (1), check (1)"


@pytest.mark.parametrize(
    ("row", "shape", "lost"),
    [
        ({"prompt": "p", "question": "q", "answer": "a"}, "prompt-response", ["question"]),
        ({"prompt": "", "question": "q", "answer": "a"}, "prompt-response", []),
        ({"prompt": "p", "response": "a", "completion": "b", "answer": None}, "prompt-response", ["completion"]),
        ({"instruction": "i", "input": "", "context": "c", "output": "a"}, "alpaca", []),
        (
            {"instruction": "i", "input": "x", "context": "c", "output": "a", "response": "b"},
            "alpaca",
            ["context", "response"],
        ),
        ({"prompt": "p", "context": ["c"], "chosen": "a", "rejected": "b"}, "preference", ["context"]),
        ({"prompt": "p", "input": "x", "context": "c", "chosen": "a", "rejected": "b"}, "preference", ["context"]),
        ({"prompt": [TURN], "context": "c", "completion": "a"}, "prompt-response", ["context"]),
        ({"prompt": "passage\np", "context": " passage", "completion": "a"}, "prompt-response", ["context"]),
        ({"prompt": f"p: {LONG}. q", "context": f"{LONG} ", "completion": "a"}, "prompt-response", ["context"]),
        ({"prompt": "p to German", "input": "man", "completion": "a"}, "prompt-response", []),
        ({"prompt": "p", "instruction": "i", "input": "x", "answer": "a"}, "prompt-response", ["input", "instruction"]),
        (
            {"prompt": "p", "instruction": "i", "input": "x", "chosen": "a", "rejected": "b"},
            "preference",
            ["input", "instruction"],
        ),
        ({"instruction": "i", "context": "c", "chosen": "a", "rejected": "b", "messages": ""}, "preference", []),
        ({"messages": [TURN], "prompt": "p", "chosen": "a", "rejected": "b"}, "preference", ["prompt"]),
        ({"prompt": "p", "context": {"c": 1}, "completion": "a", "label": True}, "kto", ["context"]),
        (
            {"instruction": "i", "prompt": "p", "output": "a", "label": True, "kto_tag": False},
            "kto",
            ["kto_tag", "prompt"],
        ),
        ({**chat(*QA), "prompt": "p", "completion": "b", "label": True}, "kto", ["prompt", "completion"]),
    ],
)
def test_no_field_with_words_in_it_is_passed_over_in_silence(
    row: dict[str, Any], shape: Shape, lost: list[str]
) -> None:
    found = shapes.read(row, shape)
    assert (found.problems, found.ignored) == ([], lost)


def test_alpaca_and_dolly_rows_may_stand_in_one_file(tmp_path: Path) -> None:
    rows = [alpaca(1), alpaca(2), {"instruction": "q", "response": "a", "tags": {"task": "t"}}]
    _, good, wrong = taken(saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows))))
    assert ([one.row.answer for one in good], wrong) == (["answer 1", "answer 2", "a"], [])


def test_the_input_that_holds_a_passage_is_read_whatever_it_is_called() -> None:
    assert messages({"instruction": "i", "input": "", "context": "passage", "output": "a"})[0] == ("user", "i\npassage")


@pytest.mark.parametrize("answers", [{"answer": "a"}, {"chosen": "a", "rejected": "b"}, {"answer": "a", "label": True}])
def test_a_passage_beside_a_question_follows_it_as_it_does_in_alpaca_rows(answers: dict[str, Any]) -> None:
    for passage, asked in (
        ({"context": "c"}, "q\nc"),
        ({"input": "x", "context": ""}, "q\nx"),
        ({"context": None}, "q"),
    ):
        row = {"question": "q", **passage, **answers}
        shape = shapes.shape_of(row)
        assert shape
        found = shapes.read(row, shape)
        assert ([turns[0].content for turns in found.said], found.ignored) == ([asked] * len(found.said), [])
        assert found.said


def test_what_was_detected_is_said_with_the_evidence(tmp_path: Path) -> None:
    rows = [alpaca(number, input="x" if number % 3 else "") for number in range(999)]
    intake, _, _ = taken(saved(tmp_path, "rows.json", json.dumps(rows)))
    said = "rows.json: JSON array, Alpaca: 999 of 999 rows have instruction and output, 666 have input too"
    assert intake.detected() == said


@pytest.mark.parametrize(
    ("row", "field", "kind"),
    [
        (alpaca(1, output=" \n"), "output", "empty answer"),
        (alpaca(1, instruction=""), "instruction", "empty prompt"),
        (alpaca(1, output=None), "output", "wrong type"),
        (alpaca(1, input=3), "input", "wrong type"),
        ({"instruction": "q"}, "output", "missing field"),
        ({"output": "a"}, "instruction", "missing field"),
        (chat(*QA), "messages", "two shapes"),
        (alpaca(1, tags={"a": 1}), "tags.a", "wrong type"),
        (alpaca(1, check={"name": "x"}), "check.verifier", "wrong type"),
    ],
)
def test_each_fault_of_an_alpaca_row_is_named(row: dict[str, Any], field: str, kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [alpaca(8), alpaca(9), row])))
    assert (3, field, kind) in faults(path)
    assert {line for line, _, _ in faults(path)} == {3}


@pytest.mark.parametrize(
    ("turns", "field", "kind"),
    [
        ([], "messages", "empty prompt"),
        ("text", "messages", "wrong type"),
        (["text", ANSWER], "messages[0]", "wrong type"),
        ([TURN], "messages[0]", "roles out of order"),
        ([TURN, TURN, ANSWER], "messages[1]", "roles out of order"),
        ([ANSWER], "messages[0]", "roles out of order"),
        ([TURN, ANSWER, ANSWER], "messages[2]", "roles out of order"),
        ([TURN, {"role": "system", "content": "s"}, ANSWER], "messages[1]", "roles out of order"),
        ([TURN, ANSWER, TURN], "messages[2]", "roles out of order"),
        ([{"role": "system", "content": "s"}], "messages[0]", "roles out of order"),
        ([TURN, {"role": "robot", "content": "a"}], "messages[1].role", "unknown role"),
        ([TURN, {"role": 3, "content": "a"}], "messages[1].role", "unknown role"),
        ([TURN, {"role": ["user"], "content": "a"}], "messages[1].role", "unknown role"),
        ([TURN, {"content": "a"}], "messages[1]", "missing field"),
        ([TURN, {"role": "assistant"}], "messages[1]", "missing field"),
        ([TURN, {"role": "assistant", "content": None}], "messages[1].content", "wrong type"),
        ([TURN, {"role": "assistant", "content": ""}], "messages[1].content", "empty answer"),
        ([{"role": "system", "content": " "}, TURN, ANSWER], "messages[0].content", "empty system turn"),
        ([{"role": "user", "content": [{"type": "image"}]}, ANSWER], "messages[0].content[0]", "wrong type"),
        ([TURN, {**ANSWER, "weight": -1}], "messages[1].weight", "wrong type"),
        ([TURN, {**ANSWER, "weight": True}], "messages[1].weight", "wrong type"),
        (
            [TURN, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            "messages[1].tool_calls[0]",
            CALL,
        ),
        ([TURN, {"role": "tool", "content": "3"}, ANSWER], "messages[1]", "roles out of order"),
    ],
)
def test_each_fault_of_a_chat_row_is_named(turns: Any, field: str, kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [chat(*QA), {"messages": turns}])))
    assert faults(path) == [(2, field, kind)]


def test_every_fault_of_a_row_is_named(tmp_path: Path) -> None:
    tool = {"from": "function_call", "value": "{"}
    rows = [
        {"conversations": [{"from": "human", "value": "q"}, tool, tool, {"from": "gpt", "value": "a"}]},
        {"conversations": [{"from": "human"}, {"from": "robot", "value": "a"}]},
        {"conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": ""}]},
    ]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert [(line, kind) for line, _, kind in faults(path)] == [
        (1, "bad tool call"),
        (1, "bad tool call"),
        (2, "missing field"),
        (2, "unknown role"),
        (3, "empty prompt"),
        (3, "empty answer"),
    ]


def test_two_shapes_in_one_file_are_both_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [alpaca(1), chat(*QA), alpaca(2)])))
    (fault,) = taken(path)[2]
    assert str(fault) == "rows.jsonl:2: messages: two shapes in one file: this row is messages, the file is Alpaca"


def test_the_shape_of_a_file_is_that_of_most_of_its_first_rows(tmp_path: Path) -> None:
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, [chat(*QA), alpaca(1), alpaca(2)])))
    assert faults(path) == [(1, "messages", "two shapes")]


def test_rows_of_no_known_shape_are_named_with_their_fields(tmp_path: Path) -> None:
    (fault,) = taken(saved(tmp_path, "rows.jsonl", '{"text": "x", "id": 3}'))[2]
    assert (fault.kind, "text, id" in fault.message) == ("no known shape", True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "<s>[INST] q [/INST] a</s>", "id": 3}, "Prompt and answer have to stand apart, "),
        ({"text": "q", "title": "t"}, "If they do: say which field is which: --map instruction=FIELD,response=FIELD."),
        ({"title": "t"}, "Say which field is which: --map instruction=FIELD,response=FIELD."),
        ({"question": "q", "text": "a"}, "Which field answers 'question'? Say so: --map response=FIELD."),
        ({"messages": "[{'role': 'user'}]"}, "Write 'messages' as JSON: "),
    ],
)
def test_what_is_said_of_a_row_of_no_shape_can_mend_it(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    (fault,) = taken(saved(tmp_path, "rows.jsonl", json.dumps(row)))[2]
    assert (fault.kind, said in fault.hint) == ("no known shape", True)
    assert ("--map" in fault.hint) == ("--map" in said)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
conversations = st.builds(
    lambda system, pairs, tags, check: Conversation(
        messages=(
            *([Message(role="system", content=system)] if system else []),
            *(
                Message(role=role, content=content, weight=weight)
                for user, answer, weight in pairs
                for role, content, weight in (("user", user, 1.0), ("assistant", answer, weight))
            ),
        ),
        tags=tags,
        check=check,
    ),
    st.none() | words,
    st.lists(st.tuples(words, words, st.floats(0, 10)), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["task", "category", "mine"]), st.text(st.characters(exclude_categories=["Cs"]))),
    st.none()
    | st.builds(Check, verifier=words, params=st.dictionaries(words, st.integers(0, 9) | st.lists(words), max_size=2)),
)


@settings(deadline=None, max_examples=100)
@given(conversations)
def test_our_own_rows_come_back_as_they_were(row: Conversation) -> None:
    assert only(shapes.read(json.loads(row.model_dump_json()), "messages")) == row


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca"),
        ({"prompt": "a", "response": "b"}, "prompt-response"),
        ({"messages": [TURN, {**ANSWER, "weight": 0.5}, TURN, ANSWER]}, "messages"),
    ],
)
def test_a_rows_weight_multiplies_those_of_its_answers(row: dict[str, Any], shape: Shape) -> None:
    plain = only(shapes.read(row, shape))
    heavy = only(shapes.read({**row, "loss_weight": 4}, shape))
    for one, other in zip(plain.messages, heavy.messages, strict=True):
        assert other.weight == one.weight * (4 if one.role == "assistant" else 1)
    assert shapes.read({**row, "loss_weight": 4}, shape).ignored == shapes.read(row, shape).ignored
    for wrong in (-1, "two", True):
        (problem,) = shapes.read({**row, "loss_weight": wrong}, shape).problems
        assert problem.path == ("loss_weight",) and problem.kind == "wrong type"
    assert only(shapes.read({**row, "loss_weight": None}, shape)) == plain


def test_answers_within_a_prompt_are_context_unless_they_say_their_weight() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "arguments": {}}]}
    asked = [TURN, ANSWER, TURN, {**ANSWER, "weight": 0.5}, TURN, call, {"role": "tool", "content": "3"}, ANSWER, TURN]
    for row in ({"prompt": asked, "completion": [ANSWER]}, {"prompt": asked, "response": "a", "system": "s"}):
        said = only(shapes.read(row, "prompt-response")).messages
        assert [turn.weight for turn in said if turn.role == "assistant"] == [0, 0.5, 0, 0, 1]
    (several,) = shapes.read({"prompt": "q", "completion": [ANSWER, TURN, ANSWER]}, "prompt-response").said
    assert {turn.weight for turn in several} == {1}


@pytest.mark.parametrize("name", ["train", "training"])
def test_whether_an_answer_is_learned_is_read_as_axolotl_writes_it(name: str) -> None:
    off, on = {"from": "gpt", "value": "a", name: False}, {"from": "gpt", "value": "a", name: True}
    asked = {"from": "human", "value": "q", name: False}
    call = {"from": "function_call", "value": '{"name": "look", "arguments": {}}', name: False}
    turns = [asked, off, asked, on, asked, {**on, "weight": 0.5}, asked, call, {"from": "tool", "value": ""}, ANSWER]
    found = shapes.read({"conversations": turns}, "sharegpt")
    assert [turn.weight for turn in only(found).messages] == [1, 0, 1, 1, 1, 0.5, 1, 0, 1, 1]
    assert found.ignored == []
    other = shapes.read({"conversations": [{**asked, name: True}, {**on, name: "no"}]}, "sharegpt")
    assert (other.ignored, only(other).messages[1].weight) == ([f"conversations[].{name}"] * 2, 1)
    within = shapes.read({"prompt": [TURN, {**ANSWER, name: True}, TURN], "completion": "a"}, "prompt-response")
    assert [turn.weight for turn in only(within).messages] == [1, 1, 1, 1]


def test_a_weight_of_preferences_is_named_as_not_read() -> None:
    found = shapes.read({"prompt": "a", "chosen": "b", "rejected": "c", "loss_weight": 2}, "preference")
    assert found.ignored == ["loss_weight"]


TOP = (
    "messages conversations instruction input output prompt response system tags check chosen rejected label tools "
    "loss_weight"
)
names = st.sampled_from(TOP.split())
INNER = "role content from value weight tool_calls type text verifier replies name arguments parameters"
keys = names | st.sampled_from(INNER.split())
numbers = st.floats(allow_nan=False) | st.integers(-(2**70), 2**70) | st.just(10**400)
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["user", "gpt", "prompter", "", "text", "\0"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names, anything), st.sampled_from(shapes.SHAPES))
def test_a_row_of_any_values_is_read_or_its_problems_named(row: dict[str, Any], shape: Shape) -> None:
    found = shapes.read(row, shape)
    assert bool(found.records) != bool(found.problems)
    for record in found.records:
        record = record.record() if isinstance(record, Drawn) else record
        assert record.prompt
        assert record.id
        part: columns.Part = {Conversation: "rows", Preference: "preferences", Rating: "ratings"}[type(record)]  # type: ignore[assignment]
        assert len(columns.table(part, [record])) == 1
        if isinstance(record, Conversation):
            assert record.answer.strip() or record.messages[-1].tool_calls
