"""What people said, read from files: every line counts once, every fault is named, and trust follows from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from honed.errors import DataError
from honed.evaluate.judge import labels, score_agreement
from honed.evaluate.judge.rubric import Scored
from honed.records import Message
from tests.evaluate.judge import made


def _label(choice: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "Which?", "base": "this", "tuned": "that", "choice": choice, **more}


def test_lines_without_a_rater_all_count_and_a_raters_last_word_does(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    made.lines(path, [_label("base"), _label("tuned"), _label("tuned")])
    (one,), raters = labels.chosen(path, None, 0)
    assert (one.said, one.choice, raters) == (("base", "tuned", "tuned"), "tuned", 3)
    made.lines(path, [_label("base", rater="ann"), _label("tuned", rater="ann"), _label("base")])
    (one,), raters = labels.chosen(path, None, 0)
    assert (sorted(one.said), raters) == (["base", "tuned"], 2)


def _scored(number: int, score: int | None) -> Scored:
    scores = {} if score is None else {"clear": score}
    prompt = (Message(role="user", content="Which?"),)
    return Scored(id=str(number), side="tuned", prompt=prompt, tags={}, answer="a", scores=scores, reason="")


@pytest.mark.parametrize(("mute", "state"), [(0, "yes"), (5, "yes"), (6, "no")])
def test_a_few_unusable_replies_of_a_hundred_deny_no_trust(mute: int, state: str) -> None:
    people = {str(number): {"clear": 1 + number % 5} for number in range(100)}
    found = [_scored(number, None if number < mute else 1 + number % 5) for number in range(100)]
    trust = score_agreement.trust(score_agreement.agreement(people, found), 0.4, 30)
    assert trust.state == state
    assert state == "yes" or f"{mute} replies of 100 are unusable" in trust.why


def test_every_line_that_lacks_a_criterion_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    line = {"prompt": "Which?", "response": "this"}
    made.lines(path, [{**line, "scores": {"clear": 3}}, {**line, "scores": {"right": 1}}, {**line, "scores": {}}])
    with pytest.raises(DataError) as caught:
        score_agreement.read(path, ["clear"])
    assert "scores.jsonl:2: scores: there is none for clear" in caught.value.message
    assert "scores.jsonl:3: scores: there is none for clear" in caught.value.message
