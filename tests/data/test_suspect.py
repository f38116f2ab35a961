"""What is suspicious is found, counted and named; what is in order isn't."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.cli.main import run
from honed.data.language import _COMMON, COMMON_WORDS, language, mismatch
from honed.data.refusals import holding
from honed.data.worker import work
from honed.store.workspace import Workspace
from tests.data.files import alpaca, chat, queued, saved, suspicious

LONG = "The first sentence is whole and says enough. "
ENGLISH = "Please explain how the moon moves around the earth and why it is bright."
SPANISH = "La luna se mueve alrededor de la tierra y es muy brillante por la luz del sol que refleja."
GERMAN = "Der Mond ist nicht so groß und auch nicht so hell wie die Sonne, aber er ist der Erde nah."


def kinds(tmp_path: Path, *rows: Any) -> list[tuple[int, str, str]]:
    return suspicious(saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows))))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("I am {{name}}, made by {{ author }}.", "placeholder"),
        ("Dear [Your Name], welcome.", "placeholder"),
        ("Write to <insert address> today.", "placeholder"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("As an AI language model, I have no opinion.", "refusal"),
        ("Unfortunately, I cannot do this.", "refusal"),
        ("I am sorry, but I can't help with that.", "refusal"),
        ("As a language model, I have no opinion.", "refusal"),
        ("As an artificial intelligence, I don't eat.", "refusal"),
        ("Es tut mir leid, aber dabei kann ich nicht helfen.", "refusal"),
        ("Als KI-Sprachmodell habe ich keine Meinung.", "refusal"),
        ("Je suis désolé, mais je ne peux pas le dire.", "refusal"),
        ("En tant que modèle de langage, je ne peux rien dire.", "refusal"),
        ("Lo siento, pero no puedo hacer eso.", "refusal"),
        ("Como modelo de lenguaje, no tengo opiniones.", "refusal"),
        ("Mi dispiace, ma non posso farlo.", "refusal"),
        ("Como uma inteligência artificial, não tenho opinião.", "refusal"),
        ("Het spijt me, maar dat kan ik niet doen.", "refusal"),
        ("К сожалению, я не могу помочь.", "refusal"),
        ("抱歉，我无法回答这个问题。", "refusal"),
        ("作为一个人工智能语言模型，我没有个人意见。", "refusal"),
        ("申し訳ありませんが、お答えできません。", "refusal"),
        ("Fine.\n### Instruction:\nDo more.", "prompt in answer"),
        ("Fine.<|im_end|>", "prompt in answer"),
        ("Fine.<|eot_id|><|start_header_id|>user<|end_header_id|>", "prompt in answer"),
        ("Fine.<end_of_turn>\n<start_of_turn>user", "prompt in answer"),
        ("Fine.</s>\n<|user|>\nMore?", "prompt in answer"),
        ("<|system|>\nYou are kind.<|end|>", "prompt in answer"),
        ("Fine.<\uff5cUser\uff5c>More?", "prompt in answer"),
        ("Fine. [/INST]", "prompt in answer"),
        ("[SYSTEM_PROMPT]You are kind.", "prompt in answer"),
        ("### System: be kind.", "prompt in answer"),
        ("Fine.\n### Human: and then?", "prompt in answer"),
        ("Fine.\nHuman: and then?", "prompt in answer"),
        ("The cafÃ© is open.", "mojibake"),
        ("Itâ€™s open.", "mojibake"),
        ("Half a \ufffd.", "mojibake"),
        (LONG + "The second one goes on and on and", "cut answer"),
        (LONG + "The second one was cut right behind this word", "cut answer"),
        ("First, we take eggs, flour, milk, butter, sugar, salt,", "cut answer"),
        ("Fine.\n", "stray whitespace"),
    ],
)
def test_what_is_suspicious_about_an_answer_is_found(answer: str, kind: str, tmp_path: Path) -> None:
    assert kinds(tmp_path, alpaca(1), alpaca(2, output=answer)) == [(2, "output", kind)]


@pytest.mark.parametrize(
    "answer",
    [
        "Use a[0] and b[your_index] < c, or {x}.",
        "I'm so sorry, I am late.",
        "Set it to ${{ github.repository }} there.",
        "They are sorry that the shop can't open.",
        "As an artificial intelligence researcher, she wrote three books.",
        "A language model gives each word a probability.",
        "Als Kind war ich oft am Meer, leider nur im Winter.",
        "Come una casa sul mare, come un sogno.",
        "作为一名老师，他很有耐心。",
        "Café Zoë – naïve “façade” 你好 привет.",
        "- eggs\n- flour and milk\n- sugar",
        "The book was written by J. R. Tolkien",
        LONG + "It is by Arthur Conan Doyle",
        "```python\nprint('a b c d e f g h i', end=' and then')\n```",
        "The Human: a short history of us.",
        "### System requirements\n\nA disk.",
        "The parser is `many digit <|> spaces`, and a |> b <| c is a pipe.",
        "It is 3 <|x| and |x|> 2.",
        LONG + "See https://example.org/a",
    ],
)
def test_what_is_in_order_is_not_suspicious(answer: str, tmp_path: Path) -> None:
    assert kinds(tmp_path, alpaca(1, output=answer)) == []


def test_a_placeholder_in_a_prompt_or_a_system_text_is_found(tmp_path: Path) -> None:
    row = {"instruction": "Write to {{name}}.", "input": "", "output": "Dear you."}
    system = {**chat(("system", "You are [insert role]."), ("user", "Sort a[0] < b[1]."), ("assistant", "Done."))}
    assert kinds(tmp_path, alpaca(1), row) == [(2, "instruction", "placeholder")]
    assert kinds(tmp_path, system) == [(1, "messages[0].content", "placeholder")]


def test_an_answer_that_begins_with_its_prompt_is_found(tmp_path: Path) -> None:
    asked = "Say which of these two long sentences is the better one."
    assert kinds(tmp_path, {"prompt": asked, "response": asked + " The first."}) == [
        (1, "response", "prompt in answer")
    ]


def test_the_turn_and_the_line_of_a_suspicion_are_told(tmp_path: Path) -> None:
    row = chat(("user", "q"), ("assistant", "a."), ("user", "q"), ("assistant", "I am {{name}}."))
    path = saved(tmp_path, "rows.json", json.dumps([row], indent=2))
    line = next(number for number, text in enumerate(path.read_text().split("\n"), 1) if "{{" in text)
    assert suspicious(path) == [(line, "messages[3].content", "placeholder")]


def test_a_tool_that_is_called_and_not_defined_is_suspicious(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {}}'},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "a"},
    ]
    row = {"conversations": turns, "tools": '[{"name": "other"}]'}
    assert kinds(tmp_path, row, {**row, "tools": "[]"}) == [(1, "tools", "undeclared tool")]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_beside_answers_is_told_once_a_row_as_left_out(name: str, tmp_path: Path, capsys: Any) -> None:
    asked, said = {"role": "user", "content": "q", name: "no answer's"}, {"role": "assistant", "content": "a"}
    thought = {**said, name: "so it is"}
    rows = [
        {"messages": [asked, thought, asked, thought]},
        {"messages": [asked, {**said, name: None}]},
        {"messages": [asked, {**said, name: []}, asked, {**thought, "train": False}]},
        {"messages": [asked, said, asked, thought]},
    ]
    path = saved(tmp_path, "three.jsonl", "\n".join(map(json.dumps, rows)))
    kind = "reasoning left out"
    assert suspicious(path) == [(1, f"messages[1].{name}", kind), (4, f"messages[3].{name}", kind)]
    pair = {"prompt": "q", "chosen": [thought], "rejected": [{**said, "content": "b"}]}
    assert kinds(tmp_path, pair) == [(1, f"chosen[0].{name}", kind)]
    assert run(["data", "check", str(path)]) == 0
    assert f"warning: 2 {kind}, such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENGLISH, "English"),
        (SPANISH, "Spanish"),
        (GERMAN, "German"),
        ("La lune est plus petite que la terre et elle tourne autour des continents avec une face cachée.", "French"),
        ("月はなぜ明るいのですか", "Japanese"),
        ("月亮为什么这么亮", "Chinese"),
        ("Луна светит ярко", "Cyrillic"),
        ("Yes.", ""),
        ("x = 10; y = 20; print(x * y)", ""),
        ("", ""),
    ],
)
def test_a_language_is_told_where_it_is_clear(text: str, said: str) -> None:
    assert language(text) == said


@given(st.lists(st.sampled_from(sorted(COMMON_WORDS)), max_size=40))
def test_a_language_is_the_one_with_the_most_common_words_if_they_are_four_and_twice_any_others(
    said: list[str],
) -> None:
    counts = Counter({name: len(frozenset(common.split()) & frozenset(said)) for name, common in _COMMON.items()})
    (first, most), (_, second) = counts.most_common(2)
    assert language(" ".join(said)) == (first if most >= 4 and most >= 2 * second else "")


@given(st.lists(st.text("ab<[ ", max_size=6), max_size=6))
def test_texts_are_found_by_any_of_their_parts_and_parts_never_across_two_of_them(texts: list[str]) -> None:
    parts = ("<", "ab", "[a")
    assert set(holding(texts, parts)) == {at for at, text in enumerate(texts) if any(part in text for part in parts)}


def test_a_mismatch_is_claimed_only_where_no_other_language_was_asked_for() -> None:
    assert mismatch(ENGLISH, SPANISH) == ("English", "Spanish")
    assert mismatch(GERMAN, "月亮为什么这么亮") == ("German", "Chinese")
    assert mismatch(ENGLISH + " Answer in Spanish.", SPANISH) is None
    assert mismatch("Translate what the man said of the moon and of the sun for me.", SPANISH) is None
    assert mismatch(ENGLISH, "Sí.") is None
    assert mismatch(ENGLISH, ENGLISH) is None


def test_check_counts_warnings_and_exits_0(tmp_path: Path, capsys: Any) -> None:
    rows = [alpaca(1), alpaca(1), *(alpaca(number, output="I am {{name}}.") for number in range(2, 7))]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert run(["data", "check", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["usable"], found["kinds"]) == (7, 7, {})
    assert found["warnings"] == {"placeholder": 5, "duplicate": 1}
    assert {fault["severity"] for fault in found["faults"]} == {"warning"}
    assert [fault["line"] for fault in found["faults"]] == [2, 3, 4, 5, 6, 7]
    assert run(["data", "check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("7 of 7 rows usable, 0 faults, 6 warnings\n")
    assert "warning: 5 placeholder, such as" in err
    assert err.count("{{name}}") == 2


def test_an_import_counts_what_is_suspicious_and_keeps_it(workspace: Workspace, tmp_path: Path) -> None:
    rows = [alpaca(1), alpaca(2, output="I am {{name}}.")]
    path = saved(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    result = work(queued(workspace, [path], heldout=0.0), lambda: False)
    assert (result["train"], result["warnings"], result["dropped"]) == (2, {"placeholder": 1}, {})
