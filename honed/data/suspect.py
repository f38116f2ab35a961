"""What is suspicious about a row that can be used: found by reading its texts, never by a model, and only a warning."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from honed.data.language import mismatch, plainly_english
from honed.data.refusals import holding, may_refuse, refuses
from honed.data.shapes.problem import Problem
from honed.data.shapes.turns import Turn

_PLACEHOLDER = re.compile(
    r"(?<!\$)\{\{ *[A-Za-z_][\w .-]{0,40}\}\}|\[(?:your|insert|company|enter|add)\b[^\]\n]{0,40}\]|"
    r"<(?:your|insert|enter)[ _][^>\n]{0,40}>|lorem ipsum",
    re.IGNORECASE,
)
_LEAK = re.compile(
    r"### (?:Instruction|Response|Input|(?:System|User|Human|Assistant):)|"  # Alpaca, Guanaco and their like
    r"<[|\uff5c][\w\u2581]{1,40}[|\uff5c]>|"  # <|im_start|>, <|eot_id|>, <|user|>; DeepSeek writes other bars
    r"<(?:start|end)_of_turn>|"  # Gemma
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>|</?s>|<[be]os>|"  # Llama 2, Mistral
    r"\n(?:Human|Assistant):"
)
"""What chat templates write between turns."""
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf\u201a-\u203a\u20ac\u2122]|â€[\u0080-\u00bf™œžšŸ¦“”˜¢\u02dc]|ðŸ|ï¿½|\ufffd")
_PLACED = {"system": "system text", "user": "prompt", "assistant": "answer"}
_JOINING = "a an and are as at because but by for from if in into is of on or that the their to with your"
_JOINS = frozenset(_JOINING.split())
_LEAST_CUT_WORDS = 8
_LEAST_ECHO = 40


def suspicions(turns: Sequence[Turn]) -> Iterator[Problem]:
    """Yield what is suspicious about turns that are in order."""
    asked = ""
    for turn in turns:
        text = turn.content
        if text[:1].isspace() or text[-1:].isspace():
            yield _problem(turn, "stray whitespace", "the text begins or ends with blanks", "Strip it: --fix does.")
        if not text.isascii() and (found := _MOJIBAKE.search(text)):
            what = f"{found[0]!r} looks like text read in the wrong encoding"
            yield _problem(turn, "mojibake", what, "Write the file again from its source, as UTF-8.")
        if turn.role in _PLACED and (left := _left(text)):
            what = f"the placeholder {left!r} is left in the {_PLACED[turn.role]}"
            yield _problem(turn, "placeholder", what, "Put the real words there, or remove the row.")
        if turn.role == "assistant" and text:
            yield from _answer(turn, asked)
        elif turn.role == "user":
            asked = text


def _answer(turn: Turn, asked: str) -> Iterator[Problem]:
    text = turn.content
    if refuses(text):
        what = "the answer refuses, or speaks of itself as an AI"
        yield _problem(turn, "refusal", what, "Keep it only if the model should answer so.")
    if (leak := _leaked(text)) or (len(asked) >= _LEAST_ECHO and text.startswith(asked)):
        what = (
            f"the answer holds {leak.strip()!r}, which is a prompt's" if leak else "the answer begins with its prompt"
        )
        yield _problem(turn, "prompt in answer", what, "Cut it out of the answer.")
    if text[-1] not in _ENDS and _cut(text):
        what = f"the answer's last sentence has no end: ...{text[-30:]!r}"
        yield _problem(
            turn, "cut answer", what, "Complete it, remove the row, or set the mark if nothing else is missing."
        )
    if found_two := mismatch(asked, text):
        what = f"the prompt is {found_two[0]}, the answer {found_two[1]}"
        yield _problem(turn, "language mismatch", what, "Look whether the answer should be in that language.")


_ENDS = frozenset(".!?\"')]}»”’…:;`*>|。！？」』）%$°0123456789")


def doubtful(roles: Sequence[str], texts: Sequence[str], ends: Sequence[int]) -> set[int]:
    """Return which of many rows may be suspicious: ``suspicions`` has nothing to say of the others.

    The turns of row i are ``texts[ends[i - 1]:ends[i]]``. Whatever is rare is looked for in all texts at once.
    """
    odd = {at for at, text in enumerate(texts) if text[0] <= " " or text[-1] <= " "}
    odd.update(at for at, text in enumerate(texts) if not text.isascii() and _odd_characters(text))
    said = [at for at, role in enumerate(roles) if role == "assistant"]
    asked = [texts[at - 1] for at in said]
    answers = [texts[at] for at in said]
    told = list(zip(said, answers, asked, strict=True))
    found = {at for at, text, _ in told if text[-1] not in _ENDS and _may_be_cut(text)}
    found.update(at for at, text, prompt in told if text.startswith(prompt) and len(prompt) >= _LEAST_ECHO)
    found.update(
        at
        for at, text, prompt in told
        if not (plainly_english(text) and plainly_english(prompt)) and mismatch(prompt, text)
    )
    for places in (holding(answers, _MARKS), may_refuse(answers)):
        found.update(said[place] for place in places)
    others = [at for at, role in enumerate(roles) if role != "assistant"]
    found.update(
        others[place] for place in holding([texts[at] for at in others], _PLACES) if _left(texts[others[place]])
    )
    return {bisect_right(ends, at) for at in odd | found}


def _odd_characters(text: str) -> bool:
    return text != text.strip() or _MOJIBAKE.search(text) is not None


def _may_be_cut(text: str) -> bool:
    """Tell answers that can't be cut by their last word: it ends a sentence only behind another one."""
    word = text[text.rfind(" ") + 1 :]
    if not word.isalpha() or word.lower() in _JOINS:
        return True
    return word.islower() and (". " in text or "! " in text or "? " in text)


_PLACES = ("[", "{{", "<", "orem ipsum")
"""A placeholder has one of these."""
_MARKS = (*_PLACES, "### ", "\nHuman:", "\nAssistant:")
"""A placeholder or a part of a prompt has one of these."""


def _left(text: str) -> str:
    """Return the first placeholder that is left in a text, or ""."""
    found = any(map(text.__contains__, _PLACES)) and _PLACEHOLDER.search(text)
    return found[0] if found else ""


def _leaked(text: str) -> str:
    if "<" not in text and "#" not in text and "[" not in text and ":" not in text:
        return ""
    found = _LEAK.search(text)
    return found[0] if found else ""


def _cut(text: str) -> bool:
    """Tell whether an answer stops in mid-sentence: its last line has whole sentences before, or ends with a joint.

    Lists, titles, names, code and short answers end without a mark as well, and aren't meant.
    """
    last = text.rstrip().rpartition("\n")[2]
    words = last.split()
    if len(words) < _LEAST_CUT_WORDS or "```" in text or words[-1].startswith(("http", "www.", "#", "@")):
        return False
    if words[-1].lower() in _JOINS or last.endswith(","):
        return True
    before = re.split(r"[.!?] +(?=[A-Z\"'])", last)
    return len(before) > 1 and words[-1].isalpha() and words[-1].islower() and len(before[-1].split()) > 2


def _problem(turn: Turn, kind: str, message: str, hint: str) -> Problem:
    return Problem(turn.path, kind, message, hint)


def undeclared(turns: Sequence[Turn]) -> Iterator[Problem]:
    """Yield the tools that are called without being among those that the first turn brings."""
    known = {tool["name"] for tool in turns[0].tools}
    for name in dict.fromkeys(call.name for turn in turns for call in turn.tool_calls if call.name not in known):
        what = f"the tool {name!r} is called, and 'tools' doesn't define it"
        yield Problem(("tools",), "undeclared tool", what, "Define it under 'tools'.")
