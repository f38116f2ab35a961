"""A judge on this machine: what is too long for it, or not in the form, is unusable, and the rest goes its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.evaluate.judge.outcome import Pairwise
from honed.models import load
from honed.store.workspace import Workspace
from tests.evaluate.judge import made
from tests.tiny import tiny_folder


def test_a_model_on_this_machine_is_asked_in_both_orders_and_again_for_the_form(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = str(tiny_folder(tmp_path / "tiny", context=2048))
    prompts = ("Short?", "Long?")
    base = made.answers(tmp_path / "base.jsonl", {"Short?": "one", "Long?": "one" * 700})
    tuned = made.answers(tmp_path / "tuned.jsonl", dict.fromkeys(prompts, "two"))
    found = made.done(made.job_of(workspace, answers=(base, tuned), model=model, max_tokens=16, batch_size=2))
    assert isinstance(found, Pairwise)
    assert (found.judge.name, found.judge.where, found.overall) == (model, "this machine", None)
    assert (found.asked, found.unusable, found.usage.cost) == (2, 2, None)
    assert (found.usage.replies, found.usage.again) == (6, 2), "what doesn't fit isn't asked again"
    assert found.usage.tokens > 0
    assert found.trust.state == "not measured"


def test_a_model_on_this_machine_is_not_asked_again_what_another_job_asked(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(tiny_folder(tmp_path / "tiny", context=2048))
    sides = [made.answers(tmp_path / f"{name}.jsonl", {"Short?": name}) for name in ("base", "tuned")]
    settings = {"answers": tuple(sides), "model": model, "max_tokens": 16}
    first = made.done(made.job_of(workspace, **settings))
    monkeypatch.setattr(load, "weights", lambda *_, **__: pytest.fail("the model was loaded"))
    again = made.done(made.job_of(workspace, **settings))
    assert isinstance(first, Pairwise) and isinstance(again, Pairwise)
    assert (first.usage.cached, again.usage.cached) == (0, again.usage.replies)
    assert again.model_copy(update={"usage": first.usage}) == first
