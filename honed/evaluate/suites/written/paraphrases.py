"""Each instruction in four wordings: who understands it should do it right in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from honed.evaluate.suites.written.row import Row, Written, row

Item = tuple[dict[str, str], tuple[str, dict[str, Any]], str]


def _within(*answers: str) -> tuple[str, dict[str, Any]]:
    return "exact", {"answers": list(answers), "within": True}


_FAMILIES: tuple[tuple[str, tuple[str, str, str, str], Sequence[Item]], ...] = (
    (
        "capitals",
        (
            "Write the word {w} in capital letters.",
            "Please put {w} into upper case.",
            "How does the word {w} look when every letter is a capital?",
            "Change all letters of {w} to capitals.",
        ),
        [({"w": w}, ("regex", {"pattern": rf"\b{w.upper()}\b"}), w.upper()) for w in ("harbour", "window", "lemon")],
    ),
    (
        "sum",
        (
            "What is {a} plus {b}?",
            "Add {b} to {a}.",
            "Give me the sum of {a} and {b}.",
            "I have {a} coins and get {b} more. How many coins do I have then?",
        ),
        [
            ({"a": str(a), "b": str(b)}, ("number", {"answer": a + b}), str(a + b))
            for a, b in ((6, 7), (12, 5), (20, 14))
        ],
    ),
    (
        "opposite",
        (
            "What is the opposite of {w}?",
            "Name the word that means the contrary of {w}.",
            "Which word is the antonym of {w}?",
            "If something is not {w}, but quite the reverse, what is it?",
        ),
        [
            ({"w": "hot"}, _within("cold", "cool", "freezing"), "cold"),
            ({"w": "empty"}, _within("full", "filled"), "full"),
            ({"w": "early"}, _within("late"), "late"),
        ],
    ),
    (
        "plural",
        (
            "What is the plural of {w}?",
            "Write the word {w} as more than one.",
            "One {w}, two ...? Give the missing word.",
            "How do you call several of a thing, if one of them is a {w}?",
        ),
        [
            ({"w": "mouse"}, _within("mice"), "mice"),
            ({"w": "child"}, _within("children"), "children"),
            ({"w": "leaf"}, _within("leaves"), "leaves"),
        ],
    ),
    (
        "writer",
        (
            "Who wrote this note? {n}",
            "{n}\nWhose note is that?",
            "Tell me the name of the person who signed this: {n}",
            "Read the note and say who it is from. {n}",
        ),
        [
            ({"n": "See you on Friday at six. Nadia"}, _within("Nadia"), "Nadia"),
            ({"n": "The keys are under the pot. Yours, Emil"}, _within("Emil"), "Emil"),
            ({"n": "Milk is out, please buy some. Love, Greta"}, _within("Greta"), "Greta"),
        ],
    ),
    (
        "order",
        (
            "Put these words in alphabetical order: {l}.",
            "Sort {l} from A to Z.",
            "List {l} the way a dictionary would order them.",
            "Arrange the words {l} by the alphabet.",
        ),
        [
            ({"l": "pear, apple, fig"}, ("regex", {"pattern": r"(?is)apple.*fig.*pear"}), "apple, fig, pear"),
            ({"l": "sun, lake, cloud"}, ("regex", {"pattern": r"(?is)cloud.*lake.*sun"}), "cloud, lake, sun"),
            ({"l": "tiger, bear, fox"}, ("regex", {"pattern": r"(?is)bear.*fox.*tiger"}), "bear, fox, tiger"),
        ],
    ),
    (
        "compare",
        (
            "Which is larger, {a} or {b}? Answer with the number only.",
            "Of the numbers {a} and {b}, name the greater one and nothing else.",
            "Give only the bigger of these two numbers: {a}, {b}.",
            "{a} or {b}: which one is more? Just the number.",
        ),
        [
            ({"a": str(a), "b": str(b)}, ("number", {"answer": max(a, b), "which": "only"}), str(max(a, b)))
            for a, b in ((17, 9), (41, 52), (88, 83))
        ],
    ),
    (
        "place",
        (
            "Where is the {t}? {n}",
            "{n} Tell me where the {t} can be found.",
            "Read this and name the place of the {t}: {n}",
            "{n} In or on what is the {t}?",
        ),
        [
            ({"t": "ring", "n": "Ada put the ring into the drawer and went out."}, _within("drawer"), "In the drawer."),
            ({"t": "ladder", "n": "After work Sven left the ladder in the barn."}, _within("barn"), "In the barn."),
            ({"t": "letter", "n": "The letter lies on the piano since Sunday."}, _within("piano"), "On the piano."),
        ],
    ),
)


def _rows() -> list[Row]:
    found = []
    for kind, wordings, items in _FAMILIES:
        for place, (slots, check, ideal) in enumerate(items):
            family = f"{kind}-{place}"
            tags = {"benefit": "misinterpretation", "task": "paraphrases", "family": family}
            for number, wording in enumerate(wordings, start=1):
                found.append(row(f"paraphrases-{family}-{number}", wording.format(**slots), check, tags, ideal))
    return found


SUITE = Written("paraphrases", "Each instruction in four wordings", 64, _rows)
