"""What is suspicious about a row that can be used: found by reading its texts, never by a model, and only a warning."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from honed.data.language import mismatch, plainly_english
from honed.data.shapes.problem import Problem
from honed.data.shapes.turns import Turn

_PLACEHOLDER = re.compile(
    r"\{\{ *[A-Za-z_][\w .-]{0,40}\}\}|\[(?:your|insert|company|enter|add)\b[^\]\n]{0,40}\]|"
    r"<(?:your|insert|enter)[ _][^>\n]{0,40}>|lorem ipsum",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'|’)?m sorry,? (?:but|i )|i apologi[sz]e,? but|i (?:can ?not|can(?:'|’)t|am (?:unable|not able) to|"
    r"(?:'|’)m (?:unable|not able) to|won(?:'|’)t) (?:fulfill|assist|help|comply|provide|answer|create|generate|access|"
    r"write|do)|as an ai(?: language model)?\b|unfortunately,? i (?:can ?not|can(?:'|’)t|am (?:unable|not able)))"
)
_LEAKS = ("### Instruction", "### Response", "### Input", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<<SYS>>",
          "<|endoftext|>", "<|assistant|>", "<|user|>", "\nHuman:", "\nAssistant:", "<s>", "</s>")  # fmt: skip
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf\u201a-\u203a\u20ac\u2122]|â€[\u0080-\u00bf™œžšŸ¦“”˜¢\u02dc]|ðŸ|ï¿½|\ufffd")
_JOINING = "a an and are as at because but by for from if in into is of on or that the their to with your"
_JOINS = frozenset(_JOINING.split())
_HEAD = 200
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
        if turn.role == "assistant" and text:
            yield from _answer(turn, asked)
        elif turn.role == "user":
            asked = text


def _answer(turn: Turn, asked: str) -> Iterator[Problem]:
    text = turn.content
    if ("[" in text or "{{" in text or "<" in text or "orem ipsum" in text) and (found := _PLACEHOLDER.search(text)):
        what = f"the placeholder {found[0]!r} is left in the answer"
        yield _problem(turn, "placeholder", what, "Put the real words there, or remove the row.")
    head = text[:_HEAD].lower()
    if _may_refuse(head) and _REFUSAL.search(head):
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
    for places in (_holding(answers, _MARKS), _holding(_heads(answers), _REFUSING)):
        found.update(said[place] for place in places)
    return {bisect_right(ends, at) for at in odd | found}


def _odd_characters(text: str) -> bool:
    return text != text.strip() or _MOJIBAKE.search(text) is not None


def _may_be_cut(text: str) -> bool:
    """Tell answers that can't be cut by their last word: it ends a sentence only behind another one."""
    word = text[text.rfind(" ") + 1 :]
    if not word.isalpha() or word.lower() in _JOINS:
        return True
    return word.islower() and (". " in text or "! " in text or "? " in text)


def _holding(texts: Sequence[str], parts: Sequence[str]) -> Iterator[int]:
    together = "\0".join(texts)
    for part in parts:
        if part in together:
            yield from (at for at, text in enumerate(texts) if part in text)


def _heads(texts: Sequence[str]) -> list[str]:
    return "\0".join([text[:_HEAD] for text in texts]).lower().split("\0")


_MARKS = ("[", "{{", "<", "orem ipsum", "### ", "\nHuman:", "\nAssistant:")
"""A placeholder or a part of a prompt has one of these."""
_REFUSING = ("sorry", "i can", "as an ai", "able to", "apolog", "i won", "unfortunately")
"""A refusal has one of these in its first characters, in small letters."""


def _may_refuse(head: str) -> bool:
    """Tell texts that can't be refusals, at a small part of the pattern's cost."""
    return any(map(head.__contains__, _REFUSING))


def _leaked(text: str) -> str:
    if "<" not in text and "#" not in text and "[" not in text and ":" not in text:
        return ""
    return next((mark for mark in _LEAKS if mark in text), "")


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
