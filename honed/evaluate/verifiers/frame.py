"""IFEval: how an answer starts and ends, what it repeats, how it is divided in two, and no commas."""

from __future__ import annotations

from random import Random

from honed.evaluate.verifiers import vocabulary
from honed.evaluate.verifiers.instruction import Instruction, Params, fixed, plain, said
from honed.evaluate.verifiers.keywords import Word
from honed.records import Score


class Ending(Params):
    """The words that the answer must end with."""

    end_phrase: Word


class Repeated(Params):
    """The request that must be repeated before it is answered."""

    prompt_to_repeat: Word


def _ending(params: Ending, answer: str) -> Score:
    ends = answer.strip().strip('"').lower().endswith(params.end_phrase.lower())
    return said(ends, f"the answer {'ends' if ends else 'does not end'} with {params.end_phrase!r}")


def _quoted(answer: str) -> Score:
    text = answer.strip()
    wrapped = len(text) > 1 and text.startswith('"') and text.endswith('"')
    return said(wrapped, f"the answer is {'' if wrapped else 'not '}between double quotation marks")


def _repeated(params: Repeated, answer: str) -> Score:
    starts = answer.strip().lower().startswith(params.prompt_to_repeat.lower())
    return said(starts, f"the answer {'starts' if starts else 'does not start'} with the request")


def _two(answer: str) -> Score:
    parts = [part.strip() for part in answer.split("******")]
    if not all(parts[1:-1]):
        return said(False, "there is nothing between two dividers ******")
    given = [part for part in parts if part]
    if len(given) != 2:
        return said(False, f"there are {len(given)} answers divided by ******, and 2 are asked for")
    return said(given[0] != given[1], "the two answers are " + ("the same" if given[0] == given[1] else "different"))


def _no_comma(answer: str) -> Score:
    count = answer.count(",")
    return said(not count, f"there are {count or 'no'} commas")


def _draw_repeated(rng: Random, request: str) -> Repeated:
    return Repeated(prompt_to_repeat=vocabulary.request_or_own(rng, request))


FRAME = (
    Instruction(
        "startend:end_checker",
        Ending,
        _ending,
        lambda params: f'End with exactly these words, and nothing after them: "{params.end_phrase}"',
        plain(lambda rng: Ending(end_phrase=rng.choice(vocabulary.ENDINGS))),
    ),
    fixed("startend:quotation", _quoted, "Put the whole answer between double quotation marks."),
    Instruction(
        "combination:repeat_prompt",
        Repeated,
        _repeated,
        lambda params: (
            "Before you answer, repeat this request word for word, with nothing before it: " + params.prompt_to_repeat
        ),
        _draw_repeated,
    ),
    fixed(
        "combination:two_responses", _two, "Give two different answers, and put six asterisks ****** between the two."
    ),
    fixed("punctuation:no_comma", _no_comma, "Use no comma in your answer."),
)
