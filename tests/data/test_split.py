"""The split is decided by content: stable when rows are added, never a prompt on both sides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.split import Sorter, held_out
from honed.records import Conversation, Message, Split


def row(prompt: str, answer: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


def place(sorter: Sorter, row: Conversation, given: Split | None = None) -> str:
    """Where a sorter puts a row; each row stands in a place of its own."""
    return sorter.place(int(row.id, 16), int(row.prompt_id, 16), sorter.counts.total(), given)


pairs = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("xyz")), max_size=40)
shares = st.sampled_from([0.0, 0.1, 0.3, 0.7])


def sides(rows: list[tuple[str, str]], share: float) -> dict[tuple[str, str], str]:
    """Where each row ended up; its duplicates aside."""
    sorter, found = Sorter(share), {}
    for pair in rows:
        verdict = place(sorter, row(*pair))
        assert (verdict == "duplicate") == (pair in found)
        found.setdefault(pair, str(verdict))
    return found


@settings(deadline=None)
@given(pairs, pairs, shares)
def test_no_row_changes_sides_when_others_are_added(
    rows: list[tuple[str, str]], more: list[tuple[str, str]], share: float
) -> None:
    before, after = sides(rows, share), sides([*more, *rows], share)
    assert all(after[pair] == side for pair, side in before.items())


@settings(deadline=None)
@given(pairs, shares)
def test_rows_with_one_prompt_never_fall_on_both_sides(rows: list[tuple[str, str]], share: float) -> None:
    seen: dict[str, str] = {}
    for (prompt, _), side in sides(rows, share).items():
        assert seen.setdefault(prompt, side) == side


def test_about_the_share_is_held_out_and_nothing_for_none() -> None:
    prompts = [int(row(f"prompt {number}", "a").prompt_id, 16) for number in range(5000)]
    assert 420 < sum(held_out(prompt, 0.1) for prompt in prompts) < 580
    assert not any(held_out(prompt, 0.0) for prompt in prompts)
    assert {p for p in prompts if held_out(p, 0.1)} <= {p for p in prompts if held_out(p, 0.2)}


def test_given_held_out_rows_keep_their_prompts_out_of_training() -> None:
    sorter = Sorter(0.5)
    assert place(sorter, row("a", "x"), "heldout") == "heldout"
    assert place(sorter, row("a", "x"), "heldout") == "duplicate"
    assert place(sorter, row("a", "x"), "train") == "leak"
    assert place(sorter, row("a", "y"), "train") == "leak"
    assert place(sorter, row("b", "y"), "train") == "train"


def test_another_answer_to_a_prompt_is_kept_and_counted() -> None:
    sorter = Sorter(0.0)
    assert [place(sorter, row("a", answer)) for answer in "xyx"] == ["train", "train", "duplicate"]
    assert sorter.same_prompt == 1
