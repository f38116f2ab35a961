"""The reading grade: known syllables, the formula by hand, and texts in order of difficulty."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.builtin.reading import read, syllables

KNOWN = {
    "a": 1, "the": 1, "cat": 1, "wash": 1, "make": 1, "makes": 1, "washed": 1, "rinse": 1, "fridge": 1,
    "water": 2, "filter": 2, "table": 2, "washes": 2, "wanted": 2, "cities": 2, "open": 2, "being": 2, "lion": 2,
    "battery": 3, "piano": 3, "video": 3, "family": 3, "regular": 3, "procedure": 3,
    "information": 4, "operational": 5, "reliability": 6, "2031": 1, "rhythm": 1,
}  # fmt: skip


@pytest.mark.parametrize(("word", "count"), KNOWN.items())
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count
    assert syllables(word.upper()) == count


def test_the_grade_is_the_formula() -> None:
    reading = read("The cat sat. The dog ran off.")
    assert (reading.words, reading.sentences, reading.longest) == (7, 2, 4)
    assert reading.grade == round(0.39 * 7 / 2 + 11.8 * 7 / 7 - 15.59, 2)


def test_numbers_and_lines_split_sentences_rightly() -> None:
    assert read("It costs 3.50 marks.").sentences == 1
    assert read("- one\n- two").sentences == 2
    assert read("").words == read("?!").words == 0


def test_harder_texts_have_higher_grades() -> None:
    texts = (
        "Wash the cup. Dry it.",
        "You should wash the cup with soap, and then dry it with a towel.",
        "Periodic decontamination of the receptacle, followed by immediate desiccation, ensures hygienic conditions.",
    )
    grades = [read(text).grade for text in texts]
    assert grades == sorted(grades)
    assert grades[-1] > grades[0] + 8


@settings(max_examples=60)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert read(text) == read(text)
