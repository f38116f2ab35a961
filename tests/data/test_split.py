"""The split is decided by content: stable when rows are added, never a prompt on both sides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from honed.data.split import Sorter, held_out
from honed.records import Conversation, Message, Split, prompt_ids


def row(prompt: str, answer: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


def place(sorter: Sorter, row: Conversation, given: Split | None = None) -> str:
    """Where a sorter puts a row; each row stands in a place of its own."""
    *before, prompt = [int(one, 16) for one in prompt_ids(row.messages)]
    return sorter.place(int(row.id, 16), prompt, sorter.counts.total(), given, before)


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


def chat(*said: str) -> Conversation:
    turns = [Message(role="assistant" if at % 2 else "user", content=text) for at, text in enumerate(said)]
    return Conversation(messages=tuple(turns))


turns_ = st.lists(st.sampled_from("abc"), min_size=2, max_size=6).filter(lambda said: len(said) % 2 == 0)


@settings(deadline=None)
@given(st.lists(turns_, max_size=30), shares)
def test_no_training_row_answers_a_held_out_prompt_on_its_way(said: list[list[str]], share: float) -> None:
    sorter, rows = Sorter(share), [chat(*some) for some in said]
    verdicts = [place(sorter, row) for row in rows]
    held = {row.prompt_id for row, side in zip(rows, verdicts, strict=True) if side == "heldout"}
    answered = {
        one for row, side in zip(rows, verdicts, strict=True) if side == "train" for one in prompt_ids(row.messages)
    }
    assert not held & answered


def test_conversations_are_held_out_as_often_as_single_questions() -> None:
    sorter = Sorter(0.1)
    for number in range(5000):
        place(sorter, chat(f"question {number}", *["more"] * 7))
    assert 420 < sorter.counts["heldout"] < 580


@settings(deadline=None)
@given(st.lists(turns_, max_size=30), shares, st.lists(turns_, max_size=2))
def test_many_rows_at_once_are_placed_as_one_by_one(said: list[list[str]], share: float, held: list[list[str]]) -> None:
    one, many = Sorter(share), Sorter(share)
    for some in held:
        for sorter in (one, many):
            place(sorter, chat(*some), "heldout")
    rows = [chat(*some) for some in said]
    answered = [[int(id_, 16) for id_ in prompt_ids(row.messages)] for row in rows]
    found = many.place_all(
        [int(row.id, 16) for row in rows],
        [ids[-1] for ids in answered],
        range(len(rows)),
        None,
        {at: ids[:-1] for at, ids in enumerate(answered) if len(ids) > 1},
    )
    assert found == [place(one, row) for row in rows]
    assert (many.counts, many.same_prompt) == (one.counts, one.same_prompt)


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
    assert place(sorter, chat("a", "z", "and b?", "y"), "train") == "leak"  # it answers the held-out one on its way


def test_another_answer_to_a_prompt_is_kept_and_counted() -> None:
    sorter = Sorter(0.0)
    assert [place(sorter, row("a", answer)) for answer in "xyx"] == ["train", "train", "duplicate"]
    assert sorter.same_prompt == 1
