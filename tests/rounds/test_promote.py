"""The alias forth and back: by hand, taken back step by step, and never from a state that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.errors import StoreError
from honed.rounds.promote import promote, rollback
from honed.store import aliases, artifacts
from honed.store.aliases import Move, standing
from honed.store.workspace import Workspace


@pytest.fixture
def models(workspace: Workspace) -> Workspace:
    """Three versions of a model, none of them live."""
    for content in "abc":
        with artifacts.draft(workspace, "models", "desk") as scratch:
            (scratch / "answer.txt").write_text(content)
            artifacts.publish(scratch, "models", parents={}, config={}, facts={})
    return workspace


def test_a_rollback_goes_back_a_second_one_further_and_the_third_says_there_is_none(models: Workspace) -> None:
    for number in (1, 2, 3):
        promote(models, f"desk@v{number}", "live", f"reason {number}")
    first = rollback(models, "live")
    assert (first.before, first.now, first.was) == ("desk@v3", "desk@v2", "reason 3")
    assert rollback(models, "live", "that one too").now == "desk@v1"
    with pytest.raises(StoreError, match="'live' named no model before desk@v1"):
        rollback(models, "live")
    assert aliases.target(models, "live") == "desk@v1"
    assert [move.why for move in aliases.history(models, "live")][-2:] == ["back from desk@v3", "that one too"]


def test_after_a_rollback_a_new_promotion_is_what_the_next_rollback_takes_back(models: Workspace) -> None:
    for number in (1, 2):
        promote(models, f"desk@v{number}", "live", "by hand")
    rollback(models, "live")
    promote(models, "desk@v3", "live", "by hand")
    assert rollback(models, "live").now == "desk@v1"  # not v2, which had been taken back


def test_a_rollback_of_an_alias_that_is_not_there_names_those_that_are(models: Workspace) -> None:
    promote(models, "desk", "canary", "the newest")
    with pytest.raises(StoreError, match="there is no alias 'live'") as raised:
        rollback(models, "live")
    assert raised.value.hint == "Aliases: canary."


def test_promoting_the_model_that_is_live_is_refused(models: Workspace) -> None:
    promote(models, "desk@v1", "live", "the first")
    with pytest.raises(StoreError, match="desk@v1 is 'live' already"):
        promote(models, "desk@v1", "live", "again")


def test_a_model_that_is_not_there_is_refused_with_the_nearest(models: Workspace) -> None:
    with pytest.raises(StoreError, match="there is no model 'desc'") as raised:
        promote(models, "desc", "live", "the first")
    assert raised.value.hint == "Did you mean 'desk'?"


def test_an_alias_moves_only_from_the_model_that_was_looked_at(models: Workspace) -> None:
    promote(models, "desk@v1", "live", "the first")
    with pytest.raises(StoreError, match="'live' names desk@v1 by now, no longer desk@v2"):
        aliases.move(models, "live", "desk@v3", why="round", left="desk@v2")
    assert aliases.target(models, "live") == "desk@v1"


def test_a_line_torn_by_a_kill_is_no_move(models: Workspace) -> None:
    promote(models, "desk@v1", "live", "the first")
    path = Path(models.path / "aliases" / "live.jsonl")
    path.write_bytes(path.read_bytes() + b'{"model":"desk@v2","wh')
    promote(models, "desk@v3", "live", "the third")
    assert rollback(models, "live").now == "desk@v1"


@given(st.lists(st.one_of(st.sampled_from(["a@v1", "b@v1", "c@v1"]), st.none())))
def test_the_last_standing_move_always_names_what_the_alias_names(steps: list[str | None]) -> None:
    moves: list[Move] = []
    for step in steps:  # None takes a step back, where one can be taken
        there = standing(moves)
        if step:
            moves.append(Move(model=step, why=""))
        elif len(there) > 1:
            moves.append(Move(model=there[-2].model, why="", back=True))
    if moves:
        assert standing(moves)[-1].model == moves[-1].model
        assert all(one.model != other.model for one, other in zip(standing(moves), standing(moves)[1:], strict=False))
