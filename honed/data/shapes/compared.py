"""Shapes that judge answers: preferences (chosen, rejected) as TRL, LLaMA-Factory, OpenAI and Anthropic write them, and
answers with a label (KTO)."""

from __future__ import annotations

import re
from typing import Any

from honed.data.shapes import single, turns
from honed.data.shapes.reading import EMPTY, Reading
from honed.data.shapes.turns import Turn
from honed.data.sources.decode import kind_of
from honed.records import Message, Preference, Rating

PAIRS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
LISTS = ("messages", "conversations")
LABELS = ("label", "kto_tag", "good")
PREFERENCE_FIELDS = frozenset(
    {name for pair in PAIRS for name in pair}
    | {*LISTS, *single.PROMPTS, *single.INSTRUCTIONS, "input", "context", "history"}
)
RATING_FIELDS = frozenset({*LABELS, *LISTS, *single.PROMPT_FIELDS, *single.ALPACA_FIELDS, "reason"})
_APART = ("input", *LISTS, *single.PROMPTS, *single.INSTRUCTIONS, "context", "history")
"""Fields that a preference's prompt may stand in."""
_ALONE = (*single.PROMPTS, *single.INSTRUCTIONS, *single.INPUTS, *single.OUTPUTS, *single.ANSWERS, "history")
"""Fields that a rating's prompt and answer may stand in, where there is no list of turns."""
_WORDS = {"true": True, "false": False, "1": True, "0": False, "good": True, "bad": False}
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_TWO = "honed compares two answers to one prompt."


def preference(reading: Reading) -> None:
    """Make a preference of the row: the prompt is written apart, or is what both answers begin with."""
    keys = next((pair for pair in PAIRS if pair[0] in reading.value or pair[1] in reading.value), PAIRS[0])
    reading.unread(name for pair in PAIRS if pair != keys for name in pair)
    reading.fields = keys
    for key in keys:
        if key not in reading.value:
            reading.missing("preference", (key,))
    if reading.problems:
        return
    apart = _prompt(reading)
    chosen, rejected = (_side(reading, key, apart) for key in keys)
    tags, tools = reading.tags(), reading.tools() or _nested_tools(reading)
    if reading.problems:
        return
    prompt = _whole(reading, apart, chosen[:-1])
    prompt = prompt and reading.equipped([*prompt, *chosen, *rejected], tools)[: len(prompt)]
    _judge(reading, prompt, (chosen, rejected), keys)
    if prompt and not reading.problems:
        reading.said = [[*prompt, chosen[-1]], [*prompt, rejected[-1]]]
        reading.records = [
            Preference(
                prompt=tuple(turn.message() for turn in prompt),
                chosen=chosen[-1].content,
                rejected=rejected[-1].content,
                tags=tags,
            )
        ]


def rating(reading: Reading) -> None:
    """Make a rating of a row of any other shape that also has a label: true for an answer that was found good."""
    label = next((name for name in LABELS if name in reading.value), "")
    reading.unread(name for name in LABELS if name != label)
    if not label:
        reading.missing("KTO", LABELS)
    value = reading.value.get(label)
    good = verdict(value)
    if label and good is None:
        what = f"a label is true or false, not {kind_of(value)}"
        reading.wrong((label,), "wrong type", what, "Write true for an answer that was found good, else false.")
    said = _labelled(reading)
    reading.fields = (*(name for name in reading.fields if name), label)
    tags, reason = reading.tags(), reading.text("reason", needed=False)
    said = reading.equipped(said, reading.tools())
    if not reading.problems:
        reading.problems.extend(turns.problems(said))
    if not reading.problems and said[-1].tool_calls:
        reading.wrong(said[-1].path, "tool calls", "the answer calls tools, which can't be rated", "Remove the row.")
    if not reading.problems:
        reading.said = [said]
        prompt: tuple[Message, ...] = tuple(turn.message() for turn in said[:-1])
        reading.records = [Rating(prompt=prompt, answer=said[-1].content, good=bool(good), reason=reason, tags=tags)]


def verdict(label: Any) -> bool | None:
    """Return what a label says, in a word or as 1 or 0; None if it is no such label."""
    if isinstance(label, str):
        return _WORDS.get(label.lower())
    return bool(label) if isinstance(label, int) and label in (0, 1) else None


def _labelled(reading: Reading) -> list[Turn]:
    for key in LISTS:
        if isinstance(reading.value.get(key), list):
            reading.fields = (key,)
            reading.unread(name for name in (*LISTS, *_ALONE) if name != key)
            said = reading.turns_of(reading.value[key], (key,))
            return said if _has_system(said) else [*reading.system(), *said]
    reading.unread(LISTS)
    if "instruction" in reading.value:
        reading.unread(name for name in _ALONE if name not in single.ALPACA_FIELDS)
        return single.alpaca(reading)
    reading.unread(name for name in _ALONE if name not in single.PROMPT_FIELDS)
    return single.prompted(reading)


def _prompt(reading: Reading) -> list[Turn]:
    """Return the turns of a prompt that is written apart from the answers, or none."""
    nested = reading.value.get("input")
    if isinstance(nested, dict):
        reading.unread(name for name in _APART if name != "input")
        return reading.turns_of(nested.get("messages"), ("input", "messages"))
    for key in LISTS:
        if isinstance(reading.value.get(key), list) and _asks(reading, key):
            reading.unread(name for name in _APART if name != key)
            return reading.turns_of(reading.value[key], (key,))
    if not (key := reading.first(single.PROMPTS)) and "instruction" in reading.value:
        reading.unread(LISTS)
        said = single.alpaca_prompt(reading, "preference")
        reading.fields = next(pair for pair in PAIRS if pair[0] in reading.value)
        return said[1:] if said[0].role == "system" else said
    said = _question(reading, key) if key else []
    reading.unread(name for name in _APART if name not in single.PROMPTS and name != reading.extra)
    return said


def _asks(reading: Reading, key: str) -> bool:
    """Tell whether a list of turns is the prompt: it ends with a question, or no other field has one.

    UltraFeedback writes the preferred dialogue as ``messages`` once more.
    """
    listed, chosen = reading.value[key], reading.value[reading.fields[0]]
    if any(reading.value.get(name) not in EMPTY for name in (*single.PROMPTS, *single.INSTRUCTIONS)):
        other = True
    else:
        other = isinstance(chosen, list) and len(chosen) > 1
    return not other or turns.role_of(listed[-1] if listed else None) in ("user", "tool")


def _question(reading: Reading, key: str) -> list[Turn]:
    text = reading.value[key]
    if isinstance(text, str) and _SPEAKER.match(text):
        return _spoken(text.removesuffix("Assistant:").rstrip(), (key,))
    if any(isinstance(side, list) and len(side) > 1 for side in map(reading.value.get, reading.fields)):
        return single.side(reading, key, "user")  # both answers begin with it, as it is
    return single.question(reading, key)


def _nested_tools(reading: Reading) -> Any:
    nested = reading.value.get("input")
    inner = Reading(nested if isinstance(nested, dict) else {})
    tools = inner.tools()
    reading.problems += [one._replace(path=("input", *one.path)) for one in inner.problems]
    return tools


def _side(reading: Reading, key: str, apart: list[Turn]) -> list[Turn]:
    """Return the turns of one answer: of the answer alone if the prompt stands apart, else with its prompt."""
    value = reading.value[key]
    if isinstance(value, str):
        if not apart and _SPEAKER.match(value):
            return _spoken(value, (key,))
        found = [Turn("assistant", value, (key,))]
    elif isinstance(value, dict):
        found = reading.turns_of([value], (key,))
    else:
        found = reading.turns_of(value, (key,))
    if not found and not reading.problems:
        reading.wrong((key,), "wrong type", f"an answer is needed here, not {kind_of(value)}", "Write a text.")
    size = len(apart)
    if size and len(found) == size + 1 and _alike(found[:size], apart):
        tools = next((turn.tools for turn in found if turn.tools), ())
        return [found[size]._replace(tools=tools)]
    return found


def _whole(reading: Reading, apart: list[Turn], before: list[Turn]) -> list[Turn] | None:
    """Return the prompt: what is written apart, with what stands ``before`` the answers; None if these contradict.

    Conversations are also written whole in both answers, with only their first question apart.
    """
    if not apart or not before:
        prompt = apart or before
        return prompt if _has_system(prompt) else [*reading.system(), *prompt]
    (system, asked), (own, said) = _systems_apart(apart), _systems_apart(before)
    system = system or reading.system()
    if system and own and not _alike(system, own):
        return None
    if len(said) > len(asked) and _alike(said[: len(asked)], asked):
        return [*(system or own), *said]
    return [*(system or own), *asked] if _alike(said, asked[len(asked) - len(said) :]) else None


def _systems_apart(said: list[Turn]) -> tuple[list[Turn], list[Turn]]:
    return (said[:1], said[1:]) if _has_system(said) else ([], said)


def _judge(
    reading: Reading, prompt: list[Turn] | None, sides: tuple[list[Turn], list[Turn]], keys: tuple[str, str]
) -> None:
    chosen, rejected = sides
    if not _alike(chosen[:-1], rejected[:-1]):
        what = f"{keys[0]!r} and {keys[1]!r} don't begin with the same prompt"
        reading.wrong((keys[1],), "two prompts", what, _TWO)
        return
    if prompt is None:
        reading.wrong((keys[0],), "two prompts", f"{keys[0]!r} holds turns that aren't the prompt's", _TWO)
        return
    if not prompt:
        reading.wrong((keys[0],), "empty prompt", "there is no prompt", "Add it as 'prompt', or before both answers.")
    elif chosen[-1].tool_calls or rejected[-1].tool_calls:
        reading.wrong((keys[0],), "tool calls", "an answer calls tools, which can't be compared", "Remove the row.")
    for side in sides:
        reading.problems.extend(one for one in turns.problems([*prompt, side[-1]]) if one not in reading.problems)
    if not reading.problems and chosen[-1].content == rejected[-1].content:
        reading.wrong((keys[1],), "no difference", "chosen and rejected are the same text", "Remove the row.")


def _spoken(text: str, path: tuple[str, ...]) -> list[Turn]:
    """Return the turns of a dialogue in one text, as Anthropic's HH-RLHF has them."""
    pieces = _SPEAKER.split(text)
    speakers, texts = pieces[1::2], pieces[2::2]
    return [
        Turn("user" if speaker == "Human" else "assistant", said.strip(), path)
        for speaker, said in zip(speakers, texts, strict=True)
    ]


def _alike(some: list[Turn], others: list[Turn]) -> bool:
    one, other = ([(turn.role, turn.content, _called(turn)) for turn in side] for side in (some, others))
    return one == other


def _called(turn: Turn) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in turn.tool_calls]


def _has_system(said: list[Turn]) -> bool:
    return bool(said) and said[0].role == "system"
