"""The shapes that instruction data comes in: each told by its fields, and read into records.

    messages         messages: [{role, content}], as OpenAI has them, with tools; our own rows are this, tags and check
    sharegpt         conversations: [{from, value}], with tools
    alpaca           instruction, output; perhaps input, history
    dolly            instruction, response; perhaps context
    prompt-response  prompt or question or query, response or completion or answer: texts or lists of turns; perhaps
                     input or context
    oasst            prompt: {text, role, replies: [...]}, a tree of messages
    seed-tasks       instruction, instances: [{input, output}], as self-instruct has them
    preference       chosen, rejected, and a prompt in any of the ways above, or as what both begin with
    kto              any of the first five, and a label: true or false; or 1 or 0, good or bad, in all rows
    label-studio     data, annotations, predictions
    argilla          fields, responses, suggestions

Every shape may have a text field ``system``, and ``tags``, ``check`` and ``tools`` as our own rows have them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from honed.data.shapes import annotated, compared, single, tree
from honed.data.shapes.reading import COMMON, LOSS_WEIGHT, TAGS, Paths, Reading

Shape = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "dolly",
    "prompt-response",
    "oasst",
    "seed-tasks",
    "preference",
    "kto",
    "label-studio",
    "argilla",
]
SHAPES: tuple[Shape, ...] = get_args(Shape)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A shape: its name in messages, whether a row shows it, how a row is read, and which fields that reads."""

    title: str
    shows: Callable[[Row], bool]
    read: Callable[[Reading], None]
    fields: frozenset[str]


def shape_of(value: Row) -> Shape | None:
    """Return the shape that a row's fields show, or None."""
    return next((shape for shape in _ORDER if FORMS[shape].shows(value)), None)


def shape_of_all(values: Iterable[Row]) -> Shape | None:
    """Return the commonest shape of the rows, or None if no row has one.

    A single 0, 1, good or bad may mean anything; where every row that has an answer has one, they are labels (KTO).
    """
    shown = [(shape, value) for value in values if (shape := shape_of(value))]
    if not shown:
        return None
    best = Counter(shape for shape, _ in shown).most_common(1)[0][0]
    if best in _ANSWERED and all(
        compared.verdict(_label(value)) is not None for shape, value in shown if shape in _ANSWERED
    ):
        return "kto"
    return best


def read(value: Row, shape: Shape, paths: Paths = "all") -> Reading:
    """Read a row of ``shape``: ``records`` is what it holds, or none, and ``problems`` say what prevents it."""
    reading = Reading(value, paths)
    form = FORMS[shape]
    alike = FORMS[_ALIKE.get(shape, shape)]
    shows = form.shows(value) or alike.shows(value)
    if not shows and (other := shape_of(value)) and not _named(value, shape):
        hint = "Split the file by shape; every row of a file has the same."
        message = f"two shapes in one file: this row is {FORMS[other].title}, the file is {form.title}"
        reading.wrong((next(iter(value)),), "two shapes", message, hint)
        return reading
    form.read(reading)
    unread = _unread(shape, tuple(value))
    if unread:
        reading.ignored.extend(unread)
    return reading


@lru_cache(4096)
def _unread(shape: Shape, keys: tuple[str, ...]) -> tuple[str, ...]:
    known = FORMS[shape].fields | ({LOSS_WEIGHT} if shape in _WEIGHED else set())
    return tuple(key for key in keys if key not in known and key not in COMMON and key not in TAGS)


def _named(value: Row, shape: Shape) -> bool:
    """Tell whether a row has a field that makes its shape, whatever that field holds."""
    return any(name in value for name in _TELLING.get(shape, ()))


def _has(*groups: tuple[str, ...]) -> Callable[[Row], bool]:
    """Tell rows that have a field of each group."""
    return lambda value: all(any(name in value for name in group) for group in groups)


def _lists(shape: Shape) -> Form:
    key, title = _LISTS[shape], _TITLES[shape]

    def turns(reading: Reading) -> None:
        reading.fields = (key,)
        if key not in reading.value:
            reading.missing(title, (key,))
            reading.conversations()
            return
        said = reading.turns_of(reading.value[key], (key,))
        reading.conversations(reading.system() + said if not said or said[0].role != "system" else said)

    return Form(title, lambda value: isinstance(value.get(key), list), turns, frozenset({key}))


def _label(value: Row) -> Any:
    return next((value[name] for name in compared.LABELS if name in value), None)


def _labelled(value: Row) -> bool:
    label = _label(value)
    if not isinstance(label, bool) and str(label).lower() not in ("true", "false"):
        return False
    return any(FORMS[shape].shows(value) for shape in _ANSWERED)


def _alpaca(reading: Reading) -> None:
    reading.conversations(single.alpaca(reading))


_TELLING: Mapping[Shape, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "preference": tuple(name for pair in compared.PAIRS for name in pair),
    "kto": compared.LABELS,
}
_ALIKE: Mapping[Shape, Shape] = {"alpaca": "dolly", "dolly": "alpaca"}
"""Shapes that are read in the same way: their rows may stand in one file."""
_LISTS: Mapping[Shape, str] = {"messages": "messages", "sharegpt": "conversations"}
_TITLES: Mapping[Shape, str] = {"messages": "messages", "sharegpt": "ShareGPT"}
_WEIGHED = frozenset({"messages", "sharegpt", "alpaca", "dolly", "prompt-response", "oasst", "seed-tasks"})
"""Shapes whose rows are conversations to learn: each may have a weight."""
_ANSWERED: tuple[Shape, ...] = ("messages", "sharegpt", "alpaca", "dolly", "prompt-response")

FORMS: Mapping[Shape, Form] = {
    "messages": _lists("messages"),
    "sharegpt": _lists("sharegpt"),
    "alpaca": Form("Alpaca", _has(("instruction",), ("output",)), _alpaca, single.ALPACA_FIELDS),
    "dolly": Form("Dolly", _has(("instruction",), ("response",)), _alpaca, single.ALPACA_FIELDS),
    "prompt-response": Form(
        "prompt/response",
        _has(single.PROMPTS, single.ANSWERS),
        lambda reading: reading.conversations(single.completed(reading)),
        single.PROMPT_FIELDS,
    ),
    "oasst": Form(
        "OASST trees",
        lambda value: isinstance(value.get("prompt"), dict) and "replies" in value["prompt"],
        tree.read,
        tree.FIELDS,
    ),
    "seed-tasks": Form(
        "self-instruct seed tasks", _has(("instruction",), ("instances",)), single.seed_task, single.SEED_FIELDS
    ),
    "preference": Form(
        "preferences",
        lambda value: any(one in value and other in value for one, other in compared.PAIRS),
        compared.preference,
        compared.PREFERENCE_FIELDS,
    ),
    "kto": Form("answers with a label (KTO)", _labelled, compared.rating, compared.RATING_FIELDS),
    "label-studio": Form(
        "Label Studio tasks",
        lambda value: isinstance(value.get("data"), dict) and ("annotations" in value or "predictions" in value),
        annotated.label_studio,
        annotated.LABEL_STUDIO_FIELDS,
    ),
    "argilla": Form(
        "Argilla records",
        lambda value: isinstance(value.get("fields"), dict) and ("responses" in value or "suggestions" in value),
        annotated.argilla,
        annotated.ARGILLA_FIELDS,
    ),
}
"""Every shape."""

_ORDER: tuple[Shape, ...] = (
    "label-studio",
    "argilla",
    "oasst",
    "preference",
    "kto",
    "messages",
    "sharegpt",
    "seed-tasks",
    "alpaca",
    "dolly",
    "prompt-response",
)
"""Which shape a row is told to be first: those with the more telling fields."""
