"""What a base model knows and a tuned one should not have lost: common facts, small sums, spelling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from honed.evaluate.suites.written.row import Row, Written, row

_CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Russia": "Moscow",
    "Germany": "Berlin",
    "Greece": "Athens",
    "Norway": "Oslo",
    "Cuba": "Havana",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Canada": "Ottawa",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Ireland": "Dublin",
    "Sweden": "Stockholm",
    "Thailand": "Bangkok",
    "Hungary": "Budapest",
}
_FACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How many days are in a week?", ("seven", "7")),
    ("How many months are in a year?", ("twelve", "12")),
    ("How many legs does a spider have?", ("eight", "8")),
    ("How many minutes are in an hour?", ("sixty", "60")),
    ("Which planet do we live on?", ("Earth",)),
    ("What is frozen water called?", ("ice",)),
    ("What colour do you get from blue and yellow?", ("green",)),
    ("Which animal barks?", ("dog", "dogs")),
    ("What do bees make?", ("honey",)),
    ("Which month comes after March?", ("April",)),
    ("Which day comes before Friday?", ("Thursday",)),
    ("How many sides has a triangle?", ("three", "3")),
    ("What is the chemical formula of water?", ("H2O", "H₂O")),
    ("Which gas do people need to breathe?", ("oxygen",)),
    ("Which planet is known as the red planet?", ("Mars",)),
    ("What is the largest ocean?", ("Pacific",)),
    ("Who wrote Romeo and Juliet?", ("Shakespeare",)),
    ("Who painted the Mona Lisa?", ("Leonardo", "da Vinci")),
    ("What is the largest planet of the solar system?", ("Jupiter",)),
    ("What is the chemical symbol of gold?", ("Au",)),
    ("On which continent is Egypt?", ("Africa",)),
    ("On which continent is Brazil?", ("South America",)),
    ("What is a baby cat called?", ("kitten",)),
    ("Which organ pumps the blood?", ("heart",)),
    ("Which season comes after winter?", ("spring",)),
    ("What do plants take in through their roots?", ("water",)),
    ("What star is at the centre of our solar system?", ("sun",)),
    ("How many wheels has a bicycle?", ("two", "2")),
    ("Which language is spoken in Brazil?", ("Portuguese",)),
    ("Which river flows through London?", ("Thames",)),
    ("Which metal is liquid at room temperature?", ("mercury",)),
    ("How many letters has the English alphabet?", ("26", "twenty six")),
    ("At how many degrees Celsius does water boil at sea level?", ("100", "hundred")),
    ("What is the tallest animal?", ("giraffe",)),
    ("Which country is shaped like a boot?", ("Italy",)),
    ("Which instrument has 88 keys?", ("piano",)),
    ("What is the currency of Japan?", ("yen",)),
    ("Which animal is known as the king of the jungle?", ("lion",)),
    ("Who was the first president of the United States?", ("Washington",)),
    ("What force pulls things down to the ground?", ("gravity",)),
)
_SPELLING: tuple[tuple[str, str], ...] = (
    ("receive", "recieve"),
    ("believe", "beleive"),
    ("separate", "seperate"),
    ("definitely", "definately"),
    ("necessary", "neccesary"),
    ("beginning", "begining"),
    ("tomorrow", "tommorow"),
    ("friend", "freind"),
    ("weird", "wierd"),
    ("until", "untill"),
    ("calendar", "calender"),
    ("grammar", "grammer"),
    ("occurred", "occured"),
    ("address", "adress"),
    ("argument", "arguement"),
    ("truly", "truely"),
    ("which", "wich"),
    ("because", "becuase"),
    ("government", "goverment"),
    ("library", "libary"),
    ("surprise", "suprise"),
    ("existence", "existance"),
    ("foreign", "foriegn"),
    ("really", "realy"),
)
_PLURALS = {
    "box": "boxes",
    "city": "cities",
    "knife": "knives",
    "man": "men",
    "foot": "feet",
    "tooth": "teeth",
    "baby": "babies",
    "wolf": "wolves",
    "goose": "geese",
    "bus": "buses",
    "woman": "women",
    "berry": "berries",
    "half": "halves",
    "church": "churches",
    "hero": "heroes",
    "ox": "oxen",
}
_SUMS = ((3, 4), (8, 5), (15, 6), (21, 9), (34, 12), (50, 25), (47, 38), (120, 45), (99, 1), (63, 27))


def _sums() -> Iterator[tuple[str, float]]:
    for a, b in _SUMS:
        yield f"What is {a} + {b}?", a + b
        yield f"What is {a + b} - {b}?", a
    for a, b in ((2, 3), (4, 5), (6, 7), (8, 9), (3, 12), (10, 10), (7, 7), (5, 20), (9, 6), (11, 4)):
        yield f"What is {a} times {b}?", a * b
    for a, b in ((10, 2), (18, 3), (24, 6), (45, 9), (100, 4), (56, 8), (81, 9), (30, 5), (72, 12), (64, 16)):
        yield f"What is {a} divided by {b}?", a // b


def _asked() -> Iterator[tuple[str, str, tuple[str, dict[str, Any]], str]]:
    for country, city in _CAPITALS.items():
        yield "facts", f"What is the capital of {country}?", ("exact", {"answers": [city], "within": True}), city
    for question, answers in _FACTS:
        yield "facts", question, ("exact", {"answers": list(answers), "within": True}), answers[0]
    for question, value in _sums():
        yield "arithmetic", question, ("number", {"answer": value}), f"{value:g}"
    for place, (right, wrong) in enumerate(_SPELLING):
        pair = (right, wrong) if place % 2 else (wrong, right)
        ask = f"Which spelling is right, {pair[0]} or {pair[1]}? Answer with that word only."
        yield "spelling", ask, ("label", {"labels": list(pair), "answer": right}), right
    for one, many in _PLURALS.items():
        yield "spelling", f"Spell the plural of {one}.", ("exact", {"answers": [many], "within": True}), many


def _rows() -> list[Row]:
    found = []
    for place, (task, ask, check, ideal) in enumerate(_asked()):
        tags = {"benefit": "forgetting", "task": task}
        found.append(row(f"knowledge-{place:03}", ask, check, tags, ideal))
    return found


SUITE = Written("knowledge", "Common facts, small sums and spelling", 48, _rows)
