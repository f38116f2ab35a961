"""Copies of evaluation rows are found however they are typeset; what only has the same words isn't taken for one."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from honed.data import dropped
from honed.records import Conversation, Message
from honed.store import artifacts
from honed.store.workspace import Workspace
from tests.data.curated import curated, said, stored
from tests.data.files import saved


def left_out(workspace: Workspace) -> list[tuple[str, str]]:
    """Kind and sentence of each row that was left out."""
    path = artifacts.resolve(workspace, "datasets", "clean").path
    return [(fault.kind, fault.message) for fault, _ in dropped.read(path)]


@pytest.mark.parametrize(
    "typeset",
    [
        lambda text: text.replace("'", "\u2019").replace("-", "\u2011"),
        lambda text: text.replace("-", "\u2013").replace('"', "\u201c"),
        lambda text: text.replace(" ", " **", 1).replace(" w3", "** w3"),
        lambda text: "# " + " ".join(f"_{word}_" for word in text.split()),
        lambda text: "".join(f"{char}\u00ad" for char in text),
        lambda text: text.replace("w", "w\u200b").replace(" ", "\u00a0"),
        lambda text: text.replace(" w5", "\u2014w5").upper(),
        lambda text: unicodedata.normalize("NFD", text),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_typography_never_hides_what_is_copied(
    workspace: Workspace, tmp_path: Path, typeset: Callable[[str], str], whole: bool
) -> None:
    asked = 'Don\'t "well-known" caf\u00e9s w3 sell 3 - 4 teas?'
    if not whole:
        asked += " And w4 w5 w6 w7 w8?"
    path = saved(tmp_path, "asked.jsonl", json.dumps({"prompt": asked, "response": "x"}))
    copy = typeset(asked) if whole else f"one two three {typeset(asked)} four five six"
    stored(workspace, [said(copy, "no"), said("hello", "you")])
    _, left = curated(workspace, "decontaminate", decontaminate={"against": [str(path)]})
    assert [row.answer for row in left] == ["you"]
    assert left_out(workspace)[0][0] == ("evaluation prompt" if whole else "13-gram of an evaluation")


def test_a_held_out_question_in_a_long_conversation_is_found(workspace: Workspace) -> None:
    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", "Who wrote *Emma*?"), ("assistant", "Austen.")]
    row = Conversation(messages=tuple(Message(role=role, content=content) for role, content in turns))  # type: ignore[arg-type]
    stored(workspace, [row, said("a", "b")], [said("who wrote emma", "Jane Austen")])
    assert [one.answer for one in curated(workspace, "decontaminate")[1]] == ["b"]
    assert "a turn of its user is the prompt of" in left_out(workspace)[0][1]


def test_other_arithmetic_is_another_prompt(workspace: Workspace) -> None:
    asked = ["What is 3 + 4?", "what is 3\u22124", "What is 3 * 4?", "What is 3-4?", "**What** is 3 \u2013 4?"]
    stored(workspace, [said(one, str(n)) for n, one in enumerate(asked)], [said("What is 3 - 4?", "x")])
    _, left = curated(workspace, "decontaminate", decontaminate={"against": ["datasets"]})
    assert [row.answer for row in left] == ["0", "2"]
