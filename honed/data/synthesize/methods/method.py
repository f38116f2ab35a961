"""What a method of synthesis is: units of work, what is asked for each, and the rows that come of the answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from honed import registry
from honed.data.shapes.turns import Turn
from honed.data.suspect import suspicions
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.repair import parsed
from honed.errors import HonedError
from honed.models.engine import Sampling
from honed.models.wire import Reply, Request
from honed.records import Check, Conversation, Message, digest

_SERIOUS = frozenset({"placeholder", "refusal", "prompt in answer", "cut answer", "mojibake"})


class Made(NamedTuple):
    """A row, what of it must be new among all rows, and which repairs its JSON needed.

    ``turns`` are instructions that no held-out row may have; among made rows they may be alike.
    """

    row: Conversation
    novel: str = ""
    mended: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


class Rejected(NamedTuple):
    """Why there is no row: a kind to count, a sentence, and what the writer wrote."""

    kind: str
    message: str
    text: str


class RejectedError(Exception):
    """An answer that makes no row."""

    def __init__(self, kind: str, message: str, text: str = "") -> None:
        super().__init__(message)
        self.rejected = Rejected(kind, message, text)


class Method(Protocol):
    """A way to make rows, a unit at a time. What is asked depends on the unit's number and the replies to it alone.

    So an interrupted job asks for the same again, and finds it paid for.
    """

    def first(self, unit: int, /) -> Request:
        """Return what is asked first for a unit (0, 1, ...)."""
        ...

    def then(self, unit: int, reply: Reply, /) -> Sequence[Request]:
        """Return what is asked once the first reply is there. Raises ``RejectedError`` if that makes no row."""
        ...

    def made(self, unit: int, reply: Reply, later: Sequence[Reply], /) -> Made:
        """Return the row of a unit. Raises ``RejectedError``."""
        ...

    def guess(self, unit: int, /) -> Sequence[Request]:
        """Return requests of about the size of those that ``then`` gives, for an estimate."""
        ...


class Shape(BaseModel):
    """A base of what writers are asked to answer as JSON; fields that weren't asked for are no harm."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)


S = TypeVar("S", bound=Shape)


def template(name: str, **values: object) -> str:
    """Return the prompt in ``prompts/NAME.txt`` with its ``$words`` filled in."""
    text = (files("honed.data.synthesize") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values).strip()


def draws(config: SynthesizeConfig, unit: int) -> Random:
    """Return the chance of one unit: the same whenever it is asked for."""
    return Random(int(digest([config.seed, config.method, unit]), 16))


def asked(config: SynthesizeConfig, text: str, shape: type[Shape] | None = None, seed: int = 0) -> Request:
    """Return a request of one turn, for JSON of a shape if that is wanted."""
    schema = closed(shape.model_json_schema()) if shape else None
    turn = Message(role="user", content=text)
    return Request(messages=(turn,), sampling=sampling(config, seed), answer_schema=schema)


def answering(config: SynthesizeConfig, turns: Sequence[Message], seed: int = 0) -> Request:
    """Return a request for the answer to turns as a user would have said them."""
    said = tuple(turn.model_copy(update={"weight": 1.0}) for turn in turns)
    return Request(messages=said, sampling=sampling(config, seed))


def sampling(config: SynthesizeConfig, seed: int) -> Sampling:
    """Return how the writer draws."""
    return Sampling(
        max_tokens=config.max_tokens, temperature=config.temperature, top_p=config.top_p, seed=config.seed + seed
    )


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose objects hold nothing else, as strict endpoints want it."""
    plain = {
        key: [_closed(one) for one in value] if isinstance(value, list) else _closed(value)
        for key, value in schema.items()
    }
    return {**plain, "additionalProperties": False} if plain.get("type") == "object" else plain


def _closed(value: Any) -> Any:
    return closed(value) if isinstance(value, Mapping) else value


def read(reply: Reply, shape: type[S]) -> tuple[S, tuple[str, ...]]:
    """Return a reply's JSON as ``shape``, and what had to be mended. Raises ``RejectedError``."""
    whole(reply, cut=False)
    try:
        found = parsed(reply.text)
    except ValueError as error:
        raise RejectedError("no JSON", f"the reply can't be read as JSON: {error}", reply.text) from error
    value = found.value[0] if isinstance(found.value, list) and len(found.value) == 1 else found.value
    try:
        return shape.model_validate(value), found.mended
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the reply"
        message = f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise RejectedError("wrong JSON", message, reply.text) from error


def whole(reply: Reply, *, cut: bool = True) -> str:
    """Return a reply's text, stripped. Raises ``RejectedError`` if it is empty, filtered or, with ``cut``, cut."""
    text = reply.text.strip()
    if reply.finish == "filter":
        raise RejectedError("filtered", "the endpoint's filter cut the answer", text)
    if not text and reply.finish == "length":
        where = "inside its reasoning" if reply.reasoning else "before its text"
        raise RejectedError("cut", f"the reply ended {where}: raise max_tokens", reply.reasoning[-200:])
    if not text:
        raise RejectedError("empty", "the reply is empty", "")
    if cut and reply.finish == "length":
        raise RejectedError("cut", "the answer is longer than max_tokens", text)
    return text


def sound(messages: Sequence[Message]) -> None:
    """Raise ``RejectedError`` if an answer refuses, holds a placeholder or a prompt, or ends in the middle.

    A prompt may hold what looks like a placeholder: it quotes documents, and code.
    """
    turns = [Turn(one.role, one.content, (one.role,)) for one in messages]
    for problem in suspicions(turns):
        if problem.kind in _SERIOUS and (problem.kind != "placeholder" or problem.path == ("assistant",)):
            raise RejectedError(problem.kind, problem.message, messages[-1].content)


def verified(check: Check | None, prompt: Sequence[Message], text: str) -> None:
    """Raise ``RejectedError`` if a row's verifier doesn't pass an answer, or can't judge it."""
    if check is None:
        return
    try:
        score = registry.get("verifiers", check.verifier)(check.params, prompt, text)
    except HonedError as error:
        raise RejectedError("can't be verified", error.message, text) from error
    if not score.passed:
        raise RejectedError("fails its verifier", score.why, text)


def instruction(text: str, reply: Reply) -> str:
    """Return an instruction that a writer made. Raises ``RejectedError`` if it is too short, or only speaks of one."""
    if len(text.split()) < 3:
        raise RejectedError("too short", f"the instruction {text!r} has fewer than three words", reply.text)
    if re.match(r"(?:new|rewritten|evolved) (?:task|instruction|prompt)\b", text, re.IGNORECASE):
        raise RejectedError("not an instruction", "the instruction speaks of itself as one", reply.text)
    return text
