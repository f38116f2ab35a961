"""Text that arrives token by token."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from honed.models.chat import ChatFormat, from_tokenizer
from honed.models.pieces import Pieces
from tests.tiny import tiny_tokenizer

CHAT: ChatFormat = from_tokenizer(tiny_tokenizer())


def ids(text: str) -> list[int]:
    return list(CHAT.tokenizer(text, add_special_tokens=False)["input_ids"])


def pieces(tokens: list[int], *stop: str) -> tuple[list[str], bool]:
    """The pieces of ``tokens`` until a stop text, and whether there was one."""
    reader = Pieces(CHAT, stop)
    made = []
    for token in tokens:
        made.append(reader.add(token))
        if reader.stopped:
            return made, True
    return [*made, reader.end()], reader.stopped


def test_a_character_of_several_tokens_comes_whole() -> None:
    made, _ = pieces(ids("a🎉é"))
    assert [piece for piece in made if piece] == ["a", "🎉", "é"]


def test_a_character_that_never_gets_whole_comes_at_the_end() -> None:
    made, _ = pieces(ids("a🎉")[:-1])
    assert made[:-1] == ["a", "", "", ""]
    assert made[-1].startswith("�")


def test_what_may_become_a_stop_text_is_held_back_until_it_is_clear() -> None:
    made, stopped = pieces(ids("one ## two"), "###")
    assert ("".join(made), stopped) == ("one ## two", False)
    assert made[4:7] == ["", "", "## "]


def test_a_stop_text_and_what_follows_is_left_out() -> None:
    assert pieces(ids("one ### two"), "###", "tw") == (["o", "n", "e", " ", "", "", ""], True)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=60))
def test_the_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(ids(text))[0]) == text


@given(st.lists(st.integers(0, 255), max_size=40))
def test_the_pieces_of_any_bytes_joined_are_their_text(tokens: list[int]) -> None:
    made, _ = pieces(tokens)
    assert "".join(made) == CHAT.decode(tokens)


@given(st.text(alphabet="ab", max_size=30), st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=2))
def test_the_text_ends_before_the_first_stop_text(text: str, stop: list[str]) -> None:
    made, stopped = pieces(ids(text), *stop)
    # A stop text is seen as soon as it is whole: the one that ends first counts, the longest of those.
    ends = [(text.find(word) + len(word), -len(word)) for word in stop if word in text]
    expected = text[: min(ends)[0] + min(ends)[1]] if ends else text
    assert "".join(made) == expected
    assert stopped == bool(ends)
