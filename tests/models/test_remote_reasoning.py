"""The reasoning of served models: sent beside the answer or left in its text, it is no part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.models import wire
from honed.models.endpoint import EndpointConfig
from honed.models.engine import Completion, Reasoning, Sampling
from honed.models.remote import RemoteEngine
from honed.models.replies import Replies
from honed.models.wire import Reply, Request
from honed.records import Message
from tests.loopback import Answer, Endpoint, endpoint

PROMPT = (Message(role="user", content="6 x 7?"),)


def _engine(served: Endpoint, replies: Path | None = None) -> RemoteEngine:
    return RemoteEngine(EndpointConfig(base_url=served.url, model="m"), replies)


@pytest.mark.parametrize("thought", ["Sevens.\n</think>\n\n", "Sevens.</think>\n", "<think>Sevens.</think>"])
def test_the_end_of_a_thought_that_its_prompt_began_parts_a_reply(thought: str) -> None:
    made = Reply(text=f"{thought}42", finish="stop", prompt_tokens=1, completion_tokens=9).parted
    assert (made.text, made.reasoning) == ("42", "Sevens.")
    told = made.model_copy(update={"text": "Write </think> behind it.", "reasoning": ""})
    assert told.parted == told


@pytest.mark.parametrize("sent", [Answer("42", reasoning="Sevens."), Answer("<think>Sevens.</think>\n\n42")])
def test_the_reasoning_that_a_server_sends_or_leaves_in_the_text_is_no_part_of_the_answer(
    sent: Answer, tmp_path: Path
) -> None:
    expected = Completion(text="42", reasoning="Sevens.", tokens=5, prompt_tokens=10, finish="stop")
    with endpoint(lambda _n, _b: sent) as served:
        for _ in range(2):  # from the server, and from the disk
            with _engine(served, tmp_path / "r.sqlite") as engine:
                assert engine.generate([PROMPT], Sampling()) == [expected]
                assert list(engine.stream(PROMPT, Sampling())) == [Reasoning("Sevens."), "42"]
        assert len(served.asked) == 1


@pytest.mark.parametrize(
    "sent", [Answer("4 2", reasoning="Sevens."), Answer("<thi nk> Sev ens.</thi nk>\n \n4 2")], ids=["beside", "within"]
)
def test_a_stream_gives_reasoning_before_the_answer_and_no_half_mark(sent: Answer) -> None:
    with endpoint(lambda _n, _b: sent) as served, _engine(served) as engine:
        *thought, four, two = engine.stream(PROMPT, Sampling())
        assert "".join(piece.text for piece in thought if isinstance(piece, Reasoning)) == "Sevens."
        assert not any(isinstance(piece, str) for piece in thought) and (four, two) == ("4", "2")
        (made,) = engine.generate([PROMPT], Sampling())
        assert (made.text, made.reasoning) == ("42", "Sevens.")


def test_a_reply_that_was_kept_with_its_reasoning_in_the_text_is_parted_when_it_is_found(tmp_path: Path) -> None:
    request, kept = Request(messages=PROMPT), Replies(tmp_path / "r.sqlite")
    with endpoint(lambda _n, _b: Answer()) as served, _engine(served, tmp_path / "r.sqlite") as engine:
        raw = Reply(text="<think>a</think>42", finish="stop", prompt_tokens=1, completion_tokens=9)
        kept.keep("", wire.key(engine.config, request), "m", raw)
        assert (engine.complete(request).text, len(served.asked)) == ("42", 0)
    kept.close()
