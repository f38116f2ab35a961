"""The nouns that travel between stages: frozen records, without torch and without behaviour.

Message        one turn: who says what
Check          which verifier judges an answer, and with what parameters
Conversation   turns whose assistant messages are the ideal responses; one training or held-out row
Sample         one answer that a model gave to a conversation's prompt
Score          what a verifier said of an answer, and why
Fault          what is wrong with a row, and where
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "heldout"]


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str
    weight: float = Field(default=1.0, ge=0, description="loss weight of this turn; read for assistant turns only")


class Check(Record):
    """How an answer is judged: a verifier's registered name and its parameters (JSON values only)."""

    verifier: str
    params: Mapping[str, Any] = {}


class Conversation(Record):
    """One instruction row: turns that end in an assistant message, which is the ideal response.

    ``tags`` say what the row is (``task``, ``benefit``, ``audience``, ``source`` ...); metrics are grouped by them.
    """

    messages: tuple[Message, ...]
    tags: Mapping[str, str] = {}
    check: Check | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the final answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The ideal final response."""
        return self.messages[-1].content

    @property
    def id(self) -> str:
        """Content hash of the turns (16 hex digits): equal rows have equal ids, whatever their tags."""
        return digest([[m.role, m.content] for m in self.messages])

    @property
    def prompt_id(self) -> str:
        """Content hash of the prompt: rows that differ only in their answer share it."""
        return digest([[m.role, m.content] for m in self.prompt])


class Score(Record):
    """A verifier's verdict: ``passed`` and the reason, as a sentence a person can act on."""

    passed: bool
    why: str


class Fault(Record):
    """What is wrong with one row of a file. Printed as ``file:line: field: message``."""

    file: str
    line: int
    field: str
    kind: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


def digest(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of ``value`` as compact JSON in UTF-8 with sorted keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
