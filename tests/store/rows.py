"""Rows and artifacts for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator

from honed.records import Check, Conversation, Message, Split
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def conversation(number: int, answer: str = "", width: int = 1) -> Conversation:
    """A row that differs from those of other numbers."""
    return Conversation(
        messages=(
            Message(role="system", content="Answer in one word."),
            Message(role="user", content=f"What is {number}? " * width),
            Message(role="assistant", content=answer or f"Number {number}.", weight=0.5),
        ),
        tags={"task": "count", "audience": "expert"},
        check=Check(verifier="extract", params={"number": number}),
    )


def some(count: int, width: int = 1) -> Iterator[tuple[Conversation, Split]]:
    """``count`` rows, every fourth held out."""
    for number in range(count):
        yield conversation(number, width=width), "heldout" if number % 4 == 3 else "train"


def publish(workspace: Workspace, name: str, content: str) -> Artifact:
    """A model artifact of one file."""
    with artifacts.draft(workspace, "models", name) as scratch:
        (scratch / "weights").write_text(content)
        return artifacts.publish(scratch, "models", parents={"base@v1": "00"}, config={"seed": 1}, facts={"rows": 2})
