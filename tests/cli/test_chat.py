"""``honed chat``: turns, commands, pipes, two models, Ctrl-C."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from honed.cli import chat as chats
from honed.cli import main
from honed.cli.chat import Chat, Side, converse
from honed.errors import HonedError, ModelError
from honed.models.engine import Reasoning, Sampling
from honed.records import Message
from honed.store.workspace import Workspace
from tests.cli.run import Terminal
from tests.tiny import tiny_folder


class Echo:
    """Answers with the prompt's turns, so that a test sees what the model would see."""

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        text = prompt[-1].content
        if text == "too long":
            raise ModelError("row 1: the prompt has 99 tokens", "Shorten it.")
        yield f"{len(prompt)}:"
        if text == "stop me":
            raise KeyboardInterrupt
        yield "" if text == "nothing" else text


class Blank:
    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        yield from ()


class Thinking:
    """Reasons, then answers with the prompt's turns; with nothing if it is told to stop."""

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        yield from (Reasoning("Let me "), Reasoning("see."))
        if prompt[-1].content != "no answer":
            yield " | ".join(turn.content for turn in prompt)


def talk(workspace: Workspace | None, lines: Sequence[str], *, system: str | None = None, **kind: object) -> Chat:
    engines = kind.get("engines", (Echo(),))
    shown: list[str] = []
    sides = [Side(f"model{number}", engine) for number, engine in enumerate(engines)]
    chat = Chat(sides, Sampling(), system, workspace, shown.append)
    converse(chat, iter(lines), bool(kind.get("interactive")))
    chat.shown = "".join(shown)
    return chat


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_turn_sees_the_turns_before_it(workspace: Workspace) -> None:
    assert talk(workspace, ["one", "", "two"]).shown == "1:one\n3:two\n"


def test_reasoning_is_shown_apart_and_is_no_part_of_the_conversation(workspace: Workspace, capsys) -> None:
    chat = talk(workspace, ["one", "two"], engines=(Thinking(),))
    assert chat.shown == "one\none | one | two\n"
    assert capsys.readouterr().err == "Let me see.\n\n" * 2
    assert [answer["text"] for turn in chat.asked for answer in turn["answers"]] == ["one", "one | one | two"]


def test_an_answer_that_ended_inside_its_reasoning_says_so(workspace: Workspace, capsys) -> None:
    assert talk(workspace, ["no answer"], engines=(Thinking(),)).shown == "\n"
    assert "it ended inside its reasoning: raise --max-tokens" in capsys.readouterr().err


def test_reset_and_system_change_what_the_model_sees(workspace: Workspace) -> None:
    lines = ["one", "/reset", "two", "/system Be brief.", "three", "/system", "four"]
    assert talk(workspace, lines, system="Be kind.").shown == "2:one\n2:two\n4:three\n5:four\n"


def test_quit_ends_the_chat(workspace: Workspace) -> None:
    assert talk(workspace, ["one", "/quit", "two"]).shown == "1:one\n"


def test_a_space_sends_a_slash_to_the_model(workspace: Workspace) -> None:
    assert talk(workspace, [" /etc"]).shown == "1:/etc\n"


def test_an_unknown_command_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(HonedError, match="no command /sav"):
        talk(workspace, ["/sav"])


def test_a_saved_turn_is_a_training_row_whose_last_answer_alone_has_weight(workspace: Workspace, capsys) -> None:
    chat = talk(workspace, ["one", "two", "/save good"], system="Be kind.")
    path = workspace.path / "saved" / "good.jsonl"
    assert chat.saved == [path]
    assert rows(path) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "2:one", "weight": 0},
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "4:two"},
            ]
        }
    ]
    assert f"honed data import {path} --as good" in capsys.readouterr().err


def test_a_saved_turn_can_be_imported(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    talk(workspace, ["one", "two", "/save", "three", "/save"])
    path = workspace.path / "saved" / "chat.jsonl"
    assert len(rows(path)) == 2
    where = ["--workspace", str(workspace.path)]
    assert main.run(["data", "import", str(path), "--as", "chat", *where]) == 0, capsys.readouterr().err


def test_an_edited_answer_is_what_is_saved_and_what_the_model_sees_next(workspace: Workspace) -> None:
    talk(workspace, ["one", "/edit Better.", "/save a", "two", "/edit", "Two", "lines", ".", "/save a"])
    saved = rows(workspace.path / "saved" / "a.jsonl")
    assert saved[0]["messages"][-1] == {"role": "assistant", "content": "Better."}
    assert saved[1]["messages"][1]["content"] == "Better."
    assert saved[1]["messages"][-1]["content"] == "Two\nlines"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["/save"], "no answer yet"),
        (["/edit x"], "no answer yet"),
        (["one", "/edit", "."], "no text"),
        (["one", "/save ../x"], "can't be a name"),
    ],
)
def test_each_wrong_command_says_what_is_wrong(workspace: Workspace, lines: list[str], words: str) -> None:
    with pytest.raises(HonedError, match=words):
        talk(workspace, lines)
    assert not (workspace.path / "saved").exists()


def test_an_empty_answer_is_not_saved(workspace: Workspace) -> None:
    with pytest.raises(HonedError, match="the last answer is empty"):
        talk(workspace, ["one", "/save"], engines=(Blank(),))


def test_saving_without_a_workspace_says_how_to_make_one() -> None:
    with pytest.raises(HonedError, match="no workspace") as error:
        talk(None, ["one", "/save"])
    assert "honed init" in error.value.hint


def test_two_models_answer_one_after_the_other_each_in_its_own_conversation(workspace: Workspace) -> None:
    chat = talk(workspace, ["one", "two"], engines=(Echo(), Blank()))
    assert chat.shown == "[model0]\n1:one\n[model1]\n\n[model0]\n3:two\n[model1]\n\n"
    assert chat.sides[1].turns[1].content == ""


def test_at_a_terminal_an_error_is_said_and_the_turn_taken_back(workspace: Workspace, capsys) -> None:
    chat = talk(workspace, ["one", "too long", "two"], interactive=True)
    assert chat.shown.splitlines()[-1] == "3:two"
    assert "Shorten it." in capsys.readouterr().err
    assert [turn["prompt"] for turn in chat.asked] == ["one", "two"]


def test_through_a_pipe_an_error_ends_the_chat(workspace: Workspace) -> None:
    with pytest.raises(ModelError, match="99 tokens"):
        talk(workspace, ["too long", "two"])


def test_ctrl_c_stops_the_answer_and_keeps_what_came(workspace: Workspace, capsys) -> None:
    chat = talk(workspace, ["stop me", "two"], interactive=True, engines=(Echo(), Echo()))
    assert chat.sides[0].turns[1].content == "1:"
    assert chat.sides[1].turns[0].content == "two"
    assert "Ctrl-C again" in capsys.readouterr().err


def test_ctrl_c_twice_ends_the_chat(workspace: Workspace) -> None:
    class Pressed:
        calls = 0

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            self.calls += 1
            raise KeyboardInterrupt

    pressed = Pressed()
    converse(Chat([Side("m", Echo())], Sampling(), None, workspace, str), pressed, interactive=True)
    assert pressed.calls == 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("tiny") / "model"))


def test_piped_prompts_are_answered_without_a_workspace(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nand now?\n"))
    assert main.run(["chat", model, "--max-tokens", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"] == [model]
    assert [turn["prompt"] for turn in document["turns"]] == ["hello", "and now?"]
    assert all(turn["answers"][0]["model"] == model for turn in document["turns"])


def test_two_real_models_are_labelled(model: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    assert main.run(["chat", model, "--against", model, "--max-tokens", "3", "--temperature", "1"]) == 0
    assert capsys.readouterr().out.count(f"[{model}]\n") == 2


def test_an_unknown_model_is_two_lines(workspace: Workspace, capsys) -> None:
    assert main.run(["chat", "smollm", "--workspace", str(workspace.path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: there is no model 'smollm' in {workspace.path}, and no such folder or file",
        "  Did you mean 'smollm2-135m'?",
    ]


def test_at_a_terminal_one_types_and_quits(model: str) -> None:
    terminal = Terminal("chat", model, "--max-tokens", "4")
    terminal.until(lambda shown: "> " in shown, seconds=60)
    terminal.press(b"hello\n")
    terminal.until(lambda shown: shown.count("> ") == 2, seconds=60)
    terminal.idle()
    terminal.press(b"\x03")
    terminal.until(lambda shown: "Ctrl-C again" in shown and shown.endswith("> "), seconds=60)
    terminal.press(b"/quit\n")
    assert terminal.end() == 0


def test_the_commands_module_loads_no_torch() -> None:
    import subprocess
    import sys

    code = f"import sys, {chats.__name__}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
