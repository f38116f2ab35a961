"""Shapes whose fields hold an instruction and its answer: Alpaca, Dolly, prompt/response, self-instruct seed tasks."""

from __future__ import annotations

from typing import Any

from honed.data.shapes.reading import EMPTY, Reading
from honed.data.shapes.turns import Turn, says_weight
from honed.data.sources.decode import kind_of

INSTRUCTIONS = ("instruction",)
INPUTS = ("input", "context")
OUTPUTS = ("output", "response")
PROMPTS = ("prompt", "question", "query")
ANSWERS = ("response", "completion", "answer")

ALPACA_FIELDS = frozenset({*INSTRUCTIONS, *INPUTS, *OUTPUTS, "history"})
PROMPT_FIELDS = frozenset({*PROMPTS, *INPUTS, *ANSWERS})
SEED_FIELDS = frozenset({*INSTRUCTIONS, "instances", "is_classification", "id", "name"})


def alpaca(reading: Reading) -> list[Turn]:
    """Return the turns of an Alpaca or Dolly row: earlier turns under ``history``, then instruction and answer."""
    before = alpaca_prompt(reading, "Alpaca")
    answer = reading.first(OUTPUTS)
    if not answer:
        reading.missing("Alpaca", OUTPUTS)
    reading.fields = (*reading.fields, answer)
    return [*before, Turn("assistant", reading.text(answer, needed=True) if answer else "", (answer,))]


def alpaca_prompt(reading: Reading, title: str) -> list[Turn]:
    """Return the turns of a row before its answer: system, history, instruction and input."""
    key = reading.first(INSTRUCTIONS)
    if not key:
        reading.missing(title, INSTRUCTIONS)
    text = reading.text(key, needed=True) if key else ""
    extra = reading.first(INPUTS)
    more = reading.text(extra, needed=False) if extra else ""
    if more:
        reading.extra = extra
        text = f"{text}\n{more}" if text else more
    reading.fields = (key,)
    return [*reading.system(), *_history(reading), Turn("user", text, (key,))]


def prompted(reading: Reading) -> list[Turn]:
    """Return the turns of a prompt/response row; each of the two may be a text or a list of turns."""
    prompt, answer = reading.first(PROMPTS), reading.first(ANSWERS)
    reading.fields = (prompt, answer)
    for name, known in ((prompt, PROMPTS), (answer, ANSWERS)):
        if not name:
            reading.missing("prompt/response", known)
    said = reading.system()
    if prompt:
        said += question(reading, prompt)
    if answer:
        said += side(reading, answer, "assistant")
    return said


def question(reading: Reading, key: str) -> list[Turn]:
    """Return the turns of the prompt under ``key``; what stands under ``input`` or ``context`` follows, as in Alpaca.

    It is left aside, and said to be, where it isn't a text that a prompt of text lacks, or an instruction's.
    """
    said, extra = side(reading, key, "user"), reading.first(INPUTS)
    text, more = reading.value[key], reading.value.get(extra) if extra else None
    if more in EMPTY:
        return said
    texts = isinstance(text, str) and isinstance(more, str) and bool(text.strip())
    if not texts or holds(text, more) or any(reading.value.get(name) not in EMPTY for name in INSTRUCTIONS):
        reading.unread((extra,))
        return said
    reading.extra = extra
    return [said[0]._replace(content=f"{text}\n{more}")]


_PASSAGE = 24
"""Characters from which a text within another isn't there by accident, as a word or a number may be."""


def holds(text: str, more: str) -> bool:
    """Tell whether a prompt holds its input already: a passage anywhere, a word or a number on a line of its own."""
    said = more.strip()
    return said in text and (len(said) >= _PASSAGE or f"\n{said}\n" in f"\n{text.strip()}\n")


def completed(reading: Reading) -> list[Turn]:
    """Return the turns of a prompt/response row of which the response is learned, as TRL does.

    Answers within a prompt that is a list of turns are context, unless they say their weight.
    """
    said, key = prompted(reading), reading.fields[0]
    prompt = reading.value.get(key)
    if not isinstance(prompt, list):
        return said
    context = {place for place, entry in enumerate(prompt) if isinstance(entry, dict) and not says_weight(entry)}
    within = [turn.role == "assistant" and turn.path[0] == key and turn.path[1] in context for turn in said]
    return [turn._replace(weight=0.0) if one else turn for turn, one in zip(said, within, strict=True)]


def side(reading: Reading, key: str, role: Any) -> list[Turn]:
    """Return the turns under ``key``: a list of them, or one text of ``role``."""
    value = reading.value[key]
    if isinstance(value, list):
        return reading.turns_of(value, (key,))
    return [Turn(role, reading.text(key, needed=True), (key,))]


def seed_task(reading: Reading) -> None:
    """Make one record of each instance of a self-instruct seed task."""
    reading.fields = ("instruction", "instances")
    instruction = reading.text("instruction", needed=True)
    instances = reading.value.get("instances")
    if not isinstance(instances, list) or not instances:
        what = "a list of at least one instance is needed here"
        reading.wrong(("instances",), "wrong type", what, 'An instance is {"input": ..., "output": ...}.')
        return
    said: list[list[Turn]] = []
    for place, one in enumerate(instances):
        texts = [one.get(name) if isinstance(one, dict) else None for name in ("input", "output")]
        if not isinstance(texts[1], str) or not isinstance(texts[0] or "", str):
            hint = 'An instance is {"input": ..., "output": ...}.'
            what = "an instance has a text 'input' and a text 'output'"
            reading.wrong(("instances", place), "wrong type", what, hint)
            continue
        asked = "\n".join(text for text in (instruction, texts[0]) if text)
        answer = Turn("assistant", texts[1], ("instances", place, "output"))
        said.append([*reading.system(), Turn("user", asked, ("instruction",)), answer])
    reading.conversations(*said)


def _history(reading: Reading) -> list[Turn]:
    """Return the earlier turns of an Alpaca row: pairs of a prompt and its answer."""
    pairs = reading.value.get("history")
    if not pairs:
        return []
    said: list[Turn] = []
    hint = 'The history is a list of ["prompt", "answer"] pairs.'
    if not isinstance(pairs, list):
        reading.wrong(("history",), "wrong type", f"a list of pairs is needed here, not {kind_of(pairs)}", hint)
        return []
    for place, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            reading.wrong(("history", place), "wrong type", "a pair of texts is needed here", hint)
            continue
        said.append(Turn("user", pair[0], ("history", place, 0)))
        said.append(Turn("assistant", pair[1], ("history", place, 1)))
    return said
