"""What a request may say, and what an answer looks like: the part of OpenAI's chat completions that honed honours.

Whatever is not here is refused by name: a parameter that is taken and then ignored would be a silent lie. Parameters
that ask for what happens anyway (``n=1``, no penalty, plain text) are taken, since clients send them unasked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from honed.errors import RequestError
from honed.models.engine import Sampling
from honed.records import Message
from honed.serve.config import RESERVED, ServeConfig

_SEED = 2**63
_LONGEST_STOP = 256
_PAIR = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Part(BaseModel):
    """A base of everything in a request: exact types, no unknown field."""

    model_config = ConfigDict(strict=True, extra="forbid")


def _text(content: object) -> object:
    """Join a list of text parts; anything else is left to be judged as it is."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError('only text can be read: write a string, or parts {"type": "text", "text": "..."}')
        texts.append(part["text"])
    return "".join(texts)


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("this is not Unicode text: it has half a character") from error
    return text


def _listed(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


Text = Annotated[str, AfterValidator(_unicode)]
StopText = Annotated[str, Field(min_length=1, max_length=_LONGEST_STOP), AfterValidator(_unicode)]
Count = Annotated[int, Field(ge=1, le=_SEED - 1)]


class Turn(Part):
    """One message of a request.

    Clients send back the ``reasoning_content`` of an earlier answer; chat templates leave it out, and so does honed.
    """

    role: Literal["system", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_text)]
    reasoning_content: Text | None = None


class StreamOptions(Part):
    """What a stream brings besides the text."""

    include_usage: bool = False


class TextFormat(Part):
    """The one format of an answer that there is."""

    type: Literal["text"]


class ChatRequest(Part):
    """The body of ``POST /v1/chat/completions``."""

    model: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_unicode)]
    messages: Annotated[list[Turn], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Annotated[list[StopText] | None, Field(max_length=4), BeforeValidator(_listed)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1, allow_inf_nan=False)] = None
    seed: Annotated[int | None, Field(ge=-_SEED, lt=_SEED)] = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    user: Annotated[Text | None, Field(min_length=1, max_length=512)] = None
    metadata: Annotated[dict[Text, Text] | None, Field(max_length=16)] = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    frequency_penalty: Annotated[float | None, Field(ge=0, le=0)] = None
    presence_penalty: Annotated[float | None, Field(ge=0, le=0)] = None
    logprobs: Literal[False] | None = None
    response_format: TextFormat | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages as records."""
        return tuple(Message(role=turn.role, content=turn.content) for turn in self.messages)

    def sampling(self, config: ServeConfig, seed: int) -> Sampling:
        """Return how to draw the answer; ``seed`` is used if the request has none.

        Raises ``RequestError`` if the two names of the same limit disagree.
        """
        limits = {limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None}
        if len(limits) > 1:
            raise RequestError("max_tokens and max_completion_tokens disagree", "Send one.", param="max_tokens")
        return Sampling(
            max_tokens=limits.pop() if limits else config.max_tokens,
            temperature=config.temperature if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=seed if self.seed is None else self.seed,
            stop=tuple(self.stop or ()),
        )


@dataclass(frozen=True)
class Stated:
    """What a request's metadata says of the person: declared attributes, and how the answer is shown."""

    segments: Mapping[str, str]
    pair: str
    simulated: bool


def stated(metadata: Mapping[str, str], declared: Mapping[str, tuple[str, ...]]) -> Stated:
    """Return what ``metadata`` says. Raises ``RequestError`` for a key or a value that the operator didn't declare."""
    for key, value in metadata.items():
        if key not in RESERVED and key not in declared:
            known = ", ".join(sorted([*declared, *RESERVED]))
            raise RequestError(
                f"metadata: {key!r} is not declared here",
                f"Known: {known}. More are declared by: honed serve --segment NAME=VALUE,VALUE",
                code="unknown_parameter",
                param="metadata",
            )
        if key == "pair":
            fits, rule = _PAIR.fullmatch(value) is not None, "is an id of letters, digits, '-' and '_', 64 at most"
        elif key == "simulated":
            fits, rule = value == "true", 'is "true" or left out'
        else:
            fits, rule = value in declared[key], f"has the values {', '.join(declared[key])}"
        if not fits:
            raise RequestError(f"metadata: {key} {rule}", code="invalid_value", param="metadata")
    segments = {key: value for key, value in metadata.items() if key in declared}
    return Stated(segments, metadata.get("pair", ""), "simulated" in metadata)
