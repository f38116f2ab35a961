"""What answers prompts: the contract that evaluation, chat and serving share. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from honed.errors import HonedError
from honed.records import Message, Record


class Sampling(Record):
    """How an answer is drawn. ``temperature`` 0 is greedy; ``stop`` texts end an answer and are left out of it."""

    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    stop: tuple[str, ...] = ()


class Completion(Record):
    """One answer: its text, the tokens made for it (the stop token counts) and why it ended.

    ``reasoning`` is what the model thought before it, in marks that its chat template knows; it is no part of the text,
    and its tokens count.
    """

    text: str
    tokens: int
    finish: Literal["stop", "length", "cancelled"]
    prompt_tokens: int = 0
    reasoning: str = ""


class Reasoning(NamedTuple):
    """A piece of a completion's reasoning, as it comes: before the answer's pieces, which are plain text."""

    text: str


class Engine(Protocol):
    """Answers prompts, many at once or one piece by piece."""

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Return one completion a prompt, in their order; ``on_done(row, completion)`` is told as each one ends."""
        ...

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        """Yield reasoning and answer in pieces of whole characters; joined, they are what ``generate`` returns."""
        ...


Deliver = Callable[[str | Reasoning | Completion | HonedError], None]
"""Takes what becomes of a request, on the engine's own thread: pieces of text, then one ``Completion`` or an error.

Pieces of reasoning come before those of the answer.
"""


class LiveEngine(Protocol):
    """Answers requests that come and go at any time, batched together."""

    def submit(self, prompt: Sequence[Message], sampling: Sampling, deliver: Deliver) -> Callable[[], None]:
        """Queue a request and return at once, with a function that cancels it.

        ``deliver`` gets reasoning and text in pieces of whole characters, then exactly one ``Completion`` (which has
        all of them; ``cancelled`` if it was) or ``HonedError``. Raises ``ModelError`` if the prompt leaves no room in
        the context, before anything is queued.
        """
        ...

    def close(self) -> None:
        """Cancel what is running and end the engine's thread."""
        ...
