"""IFBench: how an answer is laid out: lines, indents, lists, quotes, brackets, emoji, case, options, a template."""

from __future__ import annotations

import re
import string
from functools import cached_property
from itertools import pairwise
from random import Random

from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word, quoted
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import bare, tokens, trimmed
from honed.records import Score

_DEEPEST_BRACKETS, _DEEPEST_QUOTES = 5, 3
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")
_ITALICS = (("<i>", "</i>"), ("<em>", "</em>"))


class Options(Params):
    """The answers to choose from, divided by "/", else by "or", else by commas."""

    options: Word

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The single answers."""
        divider = next((mark for mark in ("/", "or") if mark in self.options), ",")
        return tuple(choice.strip() for choice in self.options.split(divider))

    @cached_property
    def exact(self) -> bool:
        """Whether the choices are letters a, b, c ..., which must then be given as they stand, marks and all."""
        return re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", self.options) is not None


class Separator(Params):
    """What stands in place of a bullet."""

    sep: Word


def _options(params: Options, answer: str) -> Score:
    if params.exact:
        chosen = answer in params.choices
    else:
        chosen = trimmed(answer).lower() in {trimmed(choice).lower() for choice in params.choices}
    return said(chosen, f"the answer is {'' if chosen else 'not '}exactly one of {quoted(params.choices)}")


def _lines(answer: str) -> Score:
    text = bare(answer)
    lines = len([line for line in text.strip().split("\n") if line])
    count = len(text.split())
    return said(lines == count, f"{count} words on {lines} lines")


def _emoji(answer: str) -> Score:
    found = [bare(sentence).strip() for sentence in divided(answer)]
    for place, text in enumerate(found):
        following = found[place + 1][:1] if place + 1 < len(found) else ""  # it may have moved to the next sentence
        if not text or not (any(map(_is_emoji, text[-2:])) or _is_emoji(following)):
            return said(False, f"no emoji ends {text[-40:]!r}")
    return said(True, "an emoji ends every sentence")


def _is_emoji(char: str) -> bool:
    import emoji

    return bool(emoji.is_emoji(char))


def _stairs(answer: str) -> Score:
    lines, at = answer.split("\n"), 0
    while at < len(lines):  # as in the benchmark, an empty line that follows an empty one stays
        if not lines[at].strip():
            lines.remove(lines[at])
        at += 1
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    rises = all(above < below for above, below in pairwise(indents))
    return said(rises, f"the lines are indented by {', '.join(map(str, indents[:20]))} spaces")


def _explained(answer: str) -> Score:
    text = "".join(answer.replace("'\"'", "").split())
    if '""' in text:
        return said(False, "a quotation follows another one at once")
    ends = text.strip(string.digits + string.punctuation.replace('"', "")).endswith('"')
    return said(not ends, f"the answer {'ends' if ends else 'does not end'} with a quotation")


def _separated(params: Separator, answer: str) -> Score:
    count = answer.count(params.sep)
    return said(count >= 2, f"{params.sep!r} occurs {count} times, of at least 2")


def _thesis(answer: str) -> Score:
    start = next((at for opening, _ in _ITALICS if (at := answer.find(opening)) >= 0), -1)
    text = answer[start:]
    end = next((at for _, closing in _ITALICS if (at := text.find(closing)) >= 0), -1)
    if start < 0 or end < 0:
        return said(False, "there is no text in italics in HTML")
    if not text[3:end].strip() or not text[end + 4 :].strip():
        return said(False, "the italics are empty, or nothing follows them")
    return said(True, "text follows a thesis in italics")


def _sub_bullets(answer: str) -> Score:
    lacking = sum("-" not in part for part in answer.split("*")[1:])
    return said(not lacking, f"{lacking or 'no'} bullets have no sub-bullet")


def _bullets_last(answer: str) -> Score:
    told, bullets, going_on = 0, 0, True
    for line in answer.split("\n"):
        text = line.strip()
        if text.startswith("*"):
            if told < 2:
                return said(False, f"{told} sentences before the first bullet, of at least 2")
            bullets, going_on = bullets + 1, False
        elif going_on:
            count = len(divided(text))
            told, going_on = told + count, count > 0
        else:
            return said(False, "a line that is no bullet follows an empty line or a bullet")
    return said(bullets >= 2, f"{bullets} bullets of at least 2")


def _nested(answer: str) -> Score:
    stack: list[str] = []
    deepest = 0
    for char in answer:
        if char in _BRACKETS.values():
            stack.append(char)
            deepest = max(deepest, len(stack))
        elif char in _BRACKETS:
            if not stack or stack.pop() != _BRACKETS[char]:
                stack, deepest = [], 0
            elif deepest >= _DEEPEST_BRACKETS:
                return said(True, f"brackets are nested {deepest} deep")
    return said(False, f"no brackets are nested {_DEEPEST_BRACKETS} deep and closed")


def _quotes(answer: str) -> Score:
    stack: list[str] = []
    deepest = 0
    for char in answer:
        if stack and char == stack[-1]:
            stack.pop()
            if deepest - len(stack) >= _DEEPEST_QUOTES:
                return said(True, f"quotations are nested {deepest} deep")
        elif char in "\"'":
            stack.append(char)
            deepest = max(deepest, len(stack))
    return said(False, f"no quotations are nested {_DEEPEST_QUOTES} deep and closed")


def _title_case(answer: str) -> Score:
    other = next((token for token in tokens(answer) if not _titled(token)), None)
    return said(other is None, f"{other!r} is not in title case" if other else "all words are in title case")


def _titled(token: str) -> bool:
    """Say whether a word is capitalised; one in mixed case counts, as does what starts with no letter."""
    if not token[0].islower() or not token[0].isalpha():
        return True
    return bool(token[1:]) and not token[1:].islower() and not token[1:].isupper()


def _template(answer: str) -> Score:
    missing = [part for part in _TEMPLATE if part not in answer]
    return said(
        not missing, f"the answer lacks {quoted(missing)}" if missing else "every part of the template is there"
    )


def _no_space(answer: str) -> Score:
    spaced = any(char.isspace() for char in answer)
    return said(not spaced, f"there is {'' if spaced else 'no '}white space")


def _draw_options(rng: Random) -> Options:
    return Options(options=rng.choice(("yes/no/maybe", "I know or I don't know", "a), b), c), d)", "true/false")))


LAYOUT = (
    Instruction(
        "format:options",
        Options,
        _options,
        lambda params: f"Answer with one of these and nothing else: {params.options}",
        plain(_draw_options),
    ),
    fixed("format:newline", _lines, "Put each word on a line of its own."),
    fixed("format:emoji", _emoji, "End every sentence with an emoji."),
    fixed("format:line_indent", _stairs, "Indent each line further than the one above it, like stairs."),
    fixed("format:quote_unquote", _explained, "Explain every quotation right after it, in words that are not quoted."),
    Instruction(
        "format:list",
        Separator,
        _separated,
        lambda params: f"Answer with a list, and put {params.sep} before each item in place of a bullet.",
        plain(lambda rng: Separator(sep=rng.choice(("...", "SEPARATOR", "!?!?", "-", "=>")))),
    ),
    fixed("format:thesis", _thesis, "Begin each section with a thesis in italics; use HTML for the italics."),
    fixed("format:sub-bullets", _sub_bullets, "Use bullets marked *, and give each at least one sub-bullet marked -."),
    fixed(
        "format:no_bullets_bullets",
        _bullets_last,
        "Write at least two sentences that end in a period, and then at least two bullets marked *.",
    ),
    fixed(
        "format:parentheses",
        _nested,
        f"Nest brackets (round, [square] or {{curly}}) at least {_DEEPEST_BRACKETS} deep.",
    ),
    fixed(
        "format:quotes",
        _quotes,
        f"Put quotations within quotations, {_DEEPEST_QUOTES} deep, with double and single marks in turn.",
    ),
    fixed("format:title_case", _title_case, "Write the whole answer in title case: each major word capitalised."),
    fixed(
        "format:output_template",
        _template,
        "Keep to this template: My Answer: [answer] My Conclusion: [conclusion] Future Outlook: [outlook]",
    ),
    fixed("format:no_whitespace", _no_space, "Use no white space at all."),
)
