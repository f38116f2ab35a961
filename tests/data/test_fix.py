"""A mended copy: what is safe is put right, all else is as it was, and the file itself is never touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from honed.cli.main import run
from honed.data.sources import packed
from tests.data.files import alpaca, chat, saved


def fixed(path: Path, capsys: Any, *more: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the command says, and the rows that it wrote."""
    before = path.read_bytes()
    out = path.with_name("out.jsonl")
    out.unlink(missing_ok=True)
    assert run(["data", "check", str(path), "--fix", str(out), "--json", *more]) == 0
    assert path.read_bytes() == before
    return json.loads(capsys.readouterr().out), [json.loads(line) for line in out.read_text().splitlines()]


def test_blanks_at_the_ends_of_texts_are_cut(tmp_path: Path, capsys: Any) -> None:
    rows = [alpaca(1, output=" a\n", id=" 7 "), {**chat(("user", " q"), ("assistant", "a\t")), "id": 1}]
    said, mended = fixed(saved(tmp_path, "a.jsonl", json.dumps(rows[0])), capsys)
    assert mended == [alpaca(1, output="a", id=" 7 ")]
    assert said["mended"] == {"stray whitespace": 1}
    _, mended = fixed(saved(tmp_path, "b.jsonl", json.dumps(rows[1])), capsys)
    assert mended == [{**chat(("user", "q"), ("assistant", "a")), "id": 1}]


def test_names_of_roles_are_mended_where_they_are_plain(tmp_path: Path, capsys: Any) -> None:
    turns = [("System", "s"), (" USER", "q"), ("bot", "a"), ("human", "q"), ("Assistant", "a")]
    path = saved(tmp_path, "rows.json", json.dumps([chat(*turns)]))
    assert run(["data", "check", str(path)]) == 1
    assert "Write 'assistant', or mend all of them" in capsys.readouterr().err
    said, (row,) = fixed(path, capsys)
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant", "human", "assistant"]
    assert said["mended"] == {"role names": 4}
    assert run(["data", "check", str(tmp_path / "out.jsonl")]) == 0


def test_calls_of_tools_are_left_as_they_are(tmp_path: Path, capsys: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": " x "}'}}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    row = {"messages": turns, "tools": [{"type": "function", "function": {"name": "look", "description": " d "}}]}
    said, mended = fixed(saved(tmp_path, "rows.json", json.dumps([row])), capsys)
    assert (mended, said["mended"]) == ([row], {})


def test_encodings_are_mended_line_by_line(tmp_path: Path, capsys: Any) -> None:
    good, bad = json.dumps(alpaca(1), ensure_ascii=False), json.dumps(alpaca(2, output="café"), ensure_ascii=False)
    data = good.encode() + b"\n" + bad.encode("cp1252") + b"\n" + bad.replace("2", "3").encode()
    said, mended = fixed(saved(tmp_path, "rows.jsonl", data), capsys)
    assert [row["output"] for row in mended] == ["answer 1", "café", "café"]
    assert said["mended"] == {"lines that weren't UTF-8": 1}
    said, mended = fixed(saved(tmp_path, "wide.jsonl", bad.encode("utf-16")), capsys)
    assert ([row["output"] for row in mended], said["mended"]) == (["café"], {"encoding": 1})
    said, mended = fixed(saved(tmp_path, "bom.csv", "\ufeffprompt,response\nq, a\n".encode()), capsys)
    assert mended == [{"prompt": "q", "response": "a"}]
    assert said["mended"] == {"encoding": 1, "stray whitespace": 1}


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_line_of_any_length_is_mended_in_bounded_memory_and_counted_once(size: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(packed, "_LONGEST", 20)
    good, bad = "aé漢😀" * 40, ("x" * 30 + "é") * 5
    data = b"\n".join([good.encode(), bad.encode("cp1252"), b"short", "é".encode("cp1252") + b"!", good.encode()])
    mending = packed.Mending()
    parts = list(mending.mended(iter([data[at : at + size] for at in range(0, len(data), size)])))
    assert b"".join(parts).decode() == "\n".join([good, bad, "short", "é!", good])
    assert mending.lines == 2
    assert size > 20 or max(map(len, parts)) < 60


def test_rows_with_other_faults_stay_and_unreadable_ones_are_counted(tmp_path: Path, capsys: Any) -> None:
    lines = [json.dumps(alpaca(1)), json.dumps(alpaca(2, output="")), "{oops", json.dumps(alpaca(4))]
    said, mended = fixed(saved(tmp_path, "rows.jsonl", "\n".join(lines)), capsys)
    assert (said["rows"], said["written"], said["unreadable"]) == (4, 3, 1)
    assert mended[1] == alpaca(2, output="")


def test_mapped_fields_are_mended_under_their_own_names(tmp_path: Path, capsys: Any) -> None:
    path = saved(tmp_path, "rows.jsonl", json.dumps({"q": " a", "a": {"text": "b "}, "n": " "}))
    _, mended = fixed(path, capsys, "--map", "prompt=q,response=a.text")
    assert mended == [{"q": "a", "a": {"text": "b"}, "n": " "}]


def test_a_file_that_is_there_and_two_files_are_refused(tmp_path: Path, capsys: Any) -> None:
    path = saved(tmp_path, "rows.jsonl", json.dumps(alpaca(1)))
    assert run(["data", "check", str(path), "--fix", str(path)]) == 1
    assert "there is a file already" in capsys.readouterr().err
    assert run(["data", "check", str(path), str(saved(tmp_path, "b.jsonl", "{}")), "--fix", "x"]) == 2
    assert "one file at a time" in capsys.readouterr().err
