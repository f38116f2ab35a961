"""Suites and stored answers: what is read, how answers are matched, and every way in which either can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from honed.errors import ConfigError, DataError
from honed.evaluate.suites import scores, stored, suite
from honed.evaluate.suites.suite import EMBEDDED, MANIFEST, Suite

NO_COMMA = {"verifier": "ifeval", "params": {"instructions": [{"id": "punctuation:no_comma"}]}}
TWO = {
    "verifier": "ifeval",
    "params": {
        "instructions": [
            {"id": "startend:quotation"},
            {"id": "keywords:existence", "kwargs": {"keywords": ["sea"]}},
        ]
    },
}
ENDS = {"verifier": "pattern", "params": {"ends": "Bye."}}
ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "Say hello.", "check": NO_COMMA, "tags": {"audience": "expert"}},
    {"id": "b", "prompt": "Name the sea, please. ", "check": TWO, "tags": {"audience": "beginner"}},
    {"prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Part."}], "check": ENDS},
]

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A suite's folder."""

    def made(lines: list[Any] = ROWS, **manifest: Any) -> str:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST).write_text(json.dumps({"name": "mine", **manifest}))
        (folder / "rows.jsonl").write_text(
            "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in lines)
        )
        return str(folder)

    return made


def answers(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def given(prompt: Any, response: Any) -> dict[str, Any]:
    return {"prompt": prompt, "response": response}


@pytest.mark.parametrize(("name", "count", "licence"), [("ifeval", 541, "Apache-2.0"), ("ifbench", 300, "ODC-BY-1.0")])
def test_the_embedded_suites_are_whole_and_say_where_they_are_from(name: str, count: int, licence: str) -> None:
    found = suite.read(name)
    manifest = found.manifest
    assert (len(found.rows), manifest.count, manifest.licence, manifest.name) == (count, count, licence, name)
    assert manifest.sha256
    assert manifest.source.startswith("https://github.com/")
    assert len({row.id for row in found.rows}) == count


def test_a_suite_of_ones_own_is_a_folder_and_its_rows_may_name_any_verifier(make: Make) -> None:
    found = suite.read(make())
    assert [row.check.verifier for row in found.rows] == ["ifeval", "ifeval", "pattern"]
    assert [row.id for row in found.rows][:2] == ["a", "b"]
    assert len(found.rows[2].id) == 16
    assert found.hash == suite.read(make()).hash


def test_a_packed_suite_is_the_same_suite(make: Make) -> None:
    name = make()
    plain, text = suite.read(name), (Path(name) / "rows.jsonl").read_bytes()
    (Path(name) / "rows.jsonl.gz").write_bytes(gzip.compress(text))
    hash_ = hashlib.sha256(text).hexdigest()
    packed = {"name": "mine", "rows": "rows.jsonl.gz", "sha256": hash_, "count": 3}
    (Path(name) / MANIFEST).write_text(json.dumps(packed))
    assert suite.read(name).hash == plain.hash


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "New."}, "mine/rows.jsonl:2: check: the row lacks its verifier"),
        ({"prompt": "New.", "check": None}, "rows.jsonl:2: check: the row lacks its verifier"),
        (
            {"prompt": "New.", "check": {"verifier": "patern"}},
            "rows.jsonl:2: check: there is no verifier named 'patern'",
        ),
        (
            {"prompt": "New.", "check": {"verifier": "ifeval", "params": {"instructions": [{"id": "count:numbers"}]}}},
            "rows.jsonl:2: check: there is no ifeval instruction 'count:numbers'",
        ),
        (
            {"prompt": "New.", "check": {"verifier": "ifbench", "params": {"instructions": [{"id": "count:numbers"}]}}},
            "rows.jsonl:2: check: the instruction 'count:numbers': lacks the argument 'N'",
        ),
        ({"prompt": "Say hello.", "check": ENDS}, "rows.jsonl:2: prompt: the same as in line 1"),
        ({"id": "a", "prompt": "New.", "check": ENDS}, "rows.jsonl:2: id: 'a' occurs again"),
        ({"prompt": "", "check": ENDS, "extra": 1}, "rows.jsonl:2: extra: extra inputs are not permitted"),
        ({"prompt": [], "check": ENDS}, "rows.jsonl:2: prompt: "),
        ("{", "rows.jsonl:2: row: not JSON"),
        ("[1]", "rows.jsonl:2: row: not a JSON object"),
    ],
)
def test_a_row_that_can_not_be_used_is_named_by_file_and_line_and_never_skipped(
    make: Make, row: Any, fault: str
) -> None:
    with pytest.raises(DataError) as raised:
        suite.read(make([ROWS[0], row]))
    assert fault in str(raised.value)
    assert "\n" not in raised.value.message


def test_all_faulty_rows_are_counted(make: Make) -> None:
    with pytest.raises(DataError) as raised:
        suite.read(make([{"prompt": f"{place}"} for place in range(8)]))
    assert raised.value.message.count("lacks its verifier") == 5
    assert raised.value.message.endswith("; and 3 more")


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        ({"count": 4}, "3 rows, and the manifest says 4"),
        ({"sha256": "0"}, "not those of the manifest"),
        ({"rows": "other.jsonl"}, "can't be read"),
        ({"rows": "../mine/rows.jsonl"}, "not beside it"),
        ({"zebra": 1}, "zebra: extra inputs are not permitted"),
    ],
)
def test_a_manifest_that_does_not_hold_is_an_error(make: Make, manifest: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        suite.read(make(**manifest))


def test_an_unknown_suite_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        suite.read("ifevall")
    assert raised.value.hint == "Did you mean 'ifeval'?"
    with pytest.raises(ConfigError, match="there is no suite"):
        suite.pinned(str(tmp_path))
    assert [suite.pinned(name) for name in EMBEDDED] == list(EMBEDDED)


def test_answers_are_matched_by_prompt_and_scored_in_the_order_of_the_suite(make: Make, tmp_path: Path) -> None:
    mine = suite.read(make())
    path = answers(
        tmp_path / "answers.jsonl",
        given([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Part."}], "Bye."),
        {**given("Name the sea, please.", "Here:\n*The sea.*"), "model": "any"},
        given("Say hello.", "Hello, you."),
    )
    matched = stored.read(path, mine)
    assert (matched.lines, matched.unknown, matched.repeated, matched.missing) == (3, (), (), ())
    found = scores.score(mine, matched.answers)
    assert [row.strict for row in found.rows] == [(False,), (False, True), (True,)]
    assert [row.prompt for row in found.rows][:2] == ["Say hello.", "Name the sea, please. "]
    assert found.rows[0].why == ("There are 1 commas.",)
    totals = found.totals
    assert (totals.prompt_strict.passed, totals.prompt_strict.n) == (1, 3)
    assert (totals.instruction_strict.passed, totals.instruction_strict.n) == (2, 4)
    assert {name: one.strict.passed for name, one in found.instructions.items()} == {
        "keywords:existence": 1,
        "pattern": 1,
        "punctuation:no_comma": 0,
        "startend:quotation": 0,
    }
    assert found.segments["audience"] == {} and found.small["audience"]["expert"] == 1
    assert found.constant.totals.prompt_strict.passed == 1
    assert found.echo.totals.instruction_strict.passed == 2  # no comma in the first, the sea in the second


def test_the_loose_rule_is_tried_with_any_verifier(make: Make) -> None:
    mine = suite.read(make([{"id": "c", "prompt": "Part.", "check": ENDS}]))
    (row,) = scores.score(mine, {"c": "Bye.\nI hope this helps"}).rows
    assert (row.strict, row.loose) == ((False,), (True,))


def test_what_does_not_fit_is_said_by_file_and_line_and_counted(make: Make, tmp_path: Path) -> None:
    mine = suite.read(make())
    path = answers(
        tmp_path / "answers.jsonl",
        given("Say hello.", "Hello, you."),
        given("Say nothing.", "No."),
        "",
        given("Say hello.", "Hello."),
    )
    matched = stored.read(path, mine)
    assert matched.unknown == (f"{path}:2: prompt: not in the suite: 'Say nothing.'",)
    assert matched.repeated == (f"{path}:4: prompt: also in line 1, which is left out: 'Say hello.'",)
    assert [line.split(":")[0] for line in matched.missing] == ["row b", f"row {mine.rows[2].id}"]
    found = scores.score(mine, matched.answers)
    assert [(row.answered, all(row.strict)) for row in found.rows] == [(True, True), (False, False), (False, False)]
    assert (found.n, found.answered, found.totals.prompt_strict.n) == (3, 1, 3)


@pytest.mark.parametrize("response", ["", " \n", None])
def test_an_empty_answer_fails_everywhere(make: Make, tmp_path: Path, response: str | None) -> None:
    mine = suite.read(make())
    path = answers(tmp_path / "answers.jsonl", *(given(row["prompt"], response) for row in ROWS))
    found = scores.score(mine, stored.read(path, mine).answers)
    assert (found.answered, found.empty) == (3, 3)
    assert not any(verdict for row in found.rows for verdict in (*row.strict, *row.loose))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "answers.jsonl:2: line: not JSON"),
        ("7", "answers.jsonl:2: line: not a JSON object"),
        ({"prompt": "Say hello."}, "answers.jsonl:2: response: field required"),
        ({"response": "Hello."}, "answers.jsonl:2: prompt: field required"),
        (given("Say hello.", 7), "answers.jsonl:2: response: input should be a valid string"),
    ],
)
def test_a_line_that_is_no_answer_is_an_error(make: Make, tmp_path: Path, line: Any, fault: str) -> None:
    path = answers(tmp_path / "answers.jsonl", given("Say hello.", "Hello."), line)
    with pytest.raises(DataError) as raised:
        stored.read(path, suite.read(make()))
    assert fault in raised.value.message


def test_answers_to_another_suite_or_none_at_all_are_an_error(make: Make, tmp_path: Path) -> None:
    mine: Suite = suite.read(make())
    with pytest.raises(DataError, match="none of its 1 prompts is in the suite 'mine'"):
        stored.read(answers(tmp_path / "other.jsonl", given("What?", "That.")), mine)
    with pytest.raises(DataError, match="there are no answers"):
        stored.read(answers(tmp_path / "empty.jsonl", ""), mine)
    with pytest.raises(DataError, match="can't be read"):
        stored.read(tmp_path / "none.jsonl", mine)


def test_a_verifier_that_can_not_use_its_parameters_is_an_error_that_names_the_row(make: Make) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl:1: check: .*asks for nothing"):
        suite.read(make([{"id": "c", "prompt": "Part.", "check": {"verifier": "pattern", "params": {}}}]))
