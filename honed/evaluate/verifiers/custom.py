"""IFBench: single tasks with one right form: tables, dates, capitals, reversed and sorted text."""

from __future__ import annotations

import csv
import io
import re
import string
import unicodedata
from itertools import pairwise

from honed.evaluate.verifiers.instruction import fixed, said
from honed.evaluate.verifiers.stops import divided
from honed.evaluate.verifiers.tokens import bare_words, trimmed
from honed.evaluate.verifiers.vocabulary import listed
from honed.records import Score

_CITIES = ["ID", "Country", "City", "Year", "Count"]
_PRODUCTS = ("ProductID", "Category", "Brand", "Price", "Stock")
_STUDENTS = ("StudentID", "Subject", "Grade", "Semester", "Score")
_DAYS = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
_COUNTRIES = 52


def _multiples(answer: str) -> Score:
    numbers = re.findall(r"\d+", answer)
    return said(numbers == [str(value) for value in range(14, 51, 7)], f"the numbers are {', '.join(numbers[:20])}")


def _questions(answer: str) -> Score:
    if not answer.startswith("Question"):
        return said(False, "the answer does not start with a question")
    parts = [part.strip() for part in re.split(r"Question \d+[.|):;]?\s*", answer) if part.strip()]
    if len(parts) != 4:
        return said(False, f"{len(parts)} questions, and 4 are asked for")
    lengths = []
    for part in parts:
        options = [re.match(r"[A-Ea-e][.|)]\s*\w", line.strip()) is not None for line in part.split("\n")]
        if sum(options) != 5:
            return said(False, f"a question has {sum(options)} options, and 5 are asked for")
        lines = part.split("\n")[: options.index(True)]
        lengths.append(len(" ".join(line.strip() for line in lines).strip()))
    longer = all(one < other for one, other in pairwise(lengths))
    return said(longer, f"the questions have {', '.join(map(str, lengths))} characters")


def _countries(answer: str) -> Score:
    lines = [line for raw in answer.split("\n") if (line := trimmed(raw))]
    first = next((place for place, line in enumerate(lines) if "Zimbabwe" in line), None)
    if first is None or len(lines) - first < _COUNTRIES:
        return said(False, f"there is no list of at least {_COUNTRIES} lines from Zimbabwe on")
    names = [_ascii(line) for line in lines[first:]]
    return said(
        names == sorted(names, reverse=True), "the lines from Zimbabwe on are compared with their reverse order"
    )


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _reversed_words(answer: str) -> Score:
    text = " ".join(reversed(bare_words(answer.lower())))
    right = "bald eagle" in text and divided(text) == [text]
    return said(right, f"reversed, the words {'are' if right else 'are not'} one sentence about the bald eagle")


def _reversed_letters(answer: str) -> Score:
    right = "bald eagle"[::-1] in answer.lower()
    return said(right, f"the bald eagle is {'' if right else 'not '}there letter by letter reversed")


def _alphabet(answer: str) -> Score:
    initials = "".join((sentence.split() or [" "])[0].lower()[:1] for sentence in divided(answer))
    return said(initials == string.ascii_lowercase, f"the sentences start with {initials[:40]}")


def _capitals(answer: str) -> Score:
    """Judge the capitals north of 45 degrees, from north to south, as the benchmark has them (without Kyiv)."""
    given = tuple(name.strip() for name in _ascii(answer).split(",") if name.strip())
    return said(
        given == listed("capitals"),
        f"{len(given)} names, and {len(listed('capitals'))} in a certain order are asked for",
    )


def _table(text: str, delimiter: str = ",") -> list[list[str]] | None:
    """Return the rows of a table, or None if it can't be read as one."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return None


def _cities(answer: str) -> Score:
    rows = _table(answer)
    if not rows or rows[0] != _CITIES:
        return said(False, "the first line is not the header asked for")
    right = len(rows) == 8 and all(len(row) == len(_CITIES) for row in rows)
    return said(right, f"{len(rows) - 1} rows below the header, and 7 of {len(_CITIES)} fields are asked for")


def _header(answer: str, names: tuple[str, ...], gap: str) -> bool:
    pattern = gap.join(f'(?:{name}|"{name}")' for name in names)
    return re.fullmatch(pattern, answer.split("\n")[0].strip()) is not None


def _special(answer: str) -> Score:
    if not _header(answer, _PRODUCTS, r",[ \t]*"):
        return said(False, "the first line is not the header asked for")
    rows = _table(answer.replace('"', '"""'))  # the quotation marks stay in the fields
    if rows is None or len(rows) != 15:
        return said(False, f"{len(rows or []) - 1} rows below the header, and 14 are asked for")
    for row in rows[1:]:
        if len(row) != len(_PRODUCTS):
            return said(False, f"a row has {len(row)} fields, and {len(_PRODUCTS)} are asked for")
        if any(re.match(r'".*[^\d\w\s].*"', field) for field in row):
            return said(True, "a field in quotation marks has a special character")
    return said(False, "no field in quotation marks has a special character")


def _quoted(answer: str) -> Score:
    if not _header(answer, _STUDENTS, r"\t *"):
        return said(False, "the first line is not the header asked for")
    rows = _table(answer.replace('"', '"""'), "\t")
    if rows is None or len(rows) != 4:
        return said(False, f"{len(rows or []) - 1} rows below the header, and 3 are asked for")
    fields = [field.strip() for row in rows for field in row]
    right = all(len(row) == len(_STUDENTS) for row in rows) and all(
        field.startswith('"') and field.endswith('"') for field in fields
    )
    return said(right, f"the rows {'have' if right else 'do not have'} five fields, all in quotation marks")


def _dates(answer: str) -> Score:
    for text in answer.strip().split(","):
        found = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text.strip())
        if not found:
            return said(False, f"{text.strip()[:40]!r} is not a date in the form YYYY-MM-DD")
        year, month, day = map(int, found.groups())
        if not 1769 <= year <= 1821 or day > _DAYS.get(month, 0 if month > 12 else 99):
            return said(False, f"{text.strip()!r} is no day in the life of Napoleon")
    return said(True, "all are dates in the life of Napoleon")


CUSTOM = (
    fixed("custom:multiples", _multiples, "Count from 10 to 50, but write only the multiples of 7."),
    fixed(
        "custom:mcq_count_length",
        _questions,
        "Write 4 questions on the art of the 20th century, each with 5 options to choose from. Start each with the "
        'word "Question" and its number, make each longer than the one before, and explain nothing.',
    ),
    fixed(
        "custom:reverse_newline",
        _countries,
        "List the countries of Africa from Z to A, each on a line of its own.",
    ),
    fixed(
        "custom:word_reverse",
        _reversed_words,
        "Which animal is the national symbol of the US? Answer in a sentence, its words in reverse order.",
    ),
    fixed(
        "custom:character_reverse",
        _reversed_letters,
        "Which animal is the national symbol of the US? Answer in a sentence, its letters in reverse order.",
    ),
    fixed(
        "custom:sentence_alphabet",
        _alphabet,
        "Tell a story in 26 sentences, the first starting with A, the next with B, and so on to Z.",
    ),
    fixed(
        "custom:european_capitals_sort",
        _capitals,
        "Which capitals of European countries lie north of 45 degrees? Give their names only, with commas between "
        "them, from north to south.",
    ),
    fixed(
        "custom:csv_city",
        _cities,
        f"Write a table of 7 rows as CSV with commas; its columns are {', '.join(_CITIES)}.",
    ),
    fixed(
        "custom:csv_special_character",
        _special,
        f"Write a table of 14 rows as CSV with commas; its columns are {', '.join(_PRODUCTS)}. Put one field with a "
        "special character between double quotation marks.",
    ),
    fixed(
        "custom:csv_quotes",
        _quoted,
        f"Write a table of 3 rows with tabs between the fields; its columns are {', '.join(_STUDENTS)}. Put every "
        "field between double quotation marks.",
    ),
    fixed(
        "custom:date_format_list",
        _dates,
        "Give the days on which Napoleon's battles began, as YYYY-MM-DD with commas between them, and nothing else.",
    ),
)
