"""Interactions and feedback for tests."""

from __future__ import annotations

from typing import Any

from honed.records import Consent, FeedbackEvent, Interaction, Message

PROMPT = (
    Message(role="system", content="Be short."),
    Message(role="user", content="What does it cost?"),
    Message(role="assistant", content="What does what cost?"),
    Message(role="user", content="The red chair."),
)


def answer(id_: str = "answer-1", **values: Any) -> Interaction:
    """An answer of ``desk@v1`` to the person ``ann``."""
    plain: dict[str, Any] = {
        "created": 100.0,
        "prompt": PROMPT,
        "answer": "It is 12 euros.",
        "finish": "stop",
        "prompt_tokens": 21,
        "tokens": 6,
        "model": "desk@v1",
        "model_hash": "0123456789abcdef",
        "template_hash": "fedcba9876543210",
        "sampling": {"max_tokens": 256, "temperature": 0.7, "top_p": 1.0, "seed": 3, "stop": ["\n\n"]},
        "subject": "ann",
        "segments": {"audience": "expert"},
    }
    return Interaction(id=id_, **{**plain, **values})


def thumb(id_: str = "said-1", about: str = "answer-1", *, good: bool = True, **values: Any) -> FeedbackEvent:
    """A thumb of ``ann``, up or down."""
    plain = {"created": 200.0, "subject": "ann", **values}
    return FeedbackEvent(id=id_, kind="thumb", interaction=about, good=good, **plain)


def edit(id_: str = "said-1", about: str = "answer-1", text: str = "12.00 euros.", **values: Any) -> FeedbackEvent:
    """An edit of ``ann``."""
    plain = {"created": 200.0, "subject": "ann", **values}
    return FeedbackEvent(id=id_, kind="edit", interaction=about, text=text, **plain)


def choice(id_: str = "said-1", about: str = "answer-1", over: str = "answer-2", **values: Any) -> FeedbackEvent:
    """A choice of ``ann``."""
    plain = {"created": 200.0, "subject": "ann", **values}
    return FeedbackEvent(id=id_, kind="choice", interaction=about, rejected=over, **plain)


def consent(subject: str = "ann", *, granted: bool = True, created: float = 50.0) -> Consent:
    """A word on training."""
    return Consent(subject=subject, purpose="train", granted=granted, created=created)
