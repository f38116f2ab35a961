"""Requests and replies of an OpenAI-compatible server, as records and as they go over the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import Field

from honed.models.endpoint import EndpointConfig
from honed.models.engine import Completion, Reasoning, Sampling
from honed.models.thought import WRITTEN, Splitter, split
from honed.records import Message, Record

_BYTES_A_TOKEN = 3
_TOKENS_A_TURN = 8


class Request(Record):
    """One prompt, how its answer is drawn, and the JSON schema that the answer should follow, if any."""

    messages: tuple[Message, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    answer_schema: Mapping[str, Any] | None = None


class Reply(Record):
    """What came of a request. ``cost`` is in the prices' currency, 0 without prices; ``cached``: nothing was paid now.

    ``guessed`` says that the server told no token counts: they are estimated from the texts. ``reasoning`` is what came
    before the answer, where the server tells it or leaves it in the text.
    """

    text: str
    finish: Literal["stop", "length", "filter"]
    prompt_tokens: int
    completion_tokens: int
    cost: float = 0.0
    cached: bool = False
    guessed: bool = False
    reasoning: str = ""

    @property
    def completion(self) -> Completion:
        """The reply as engines give it; an answer that the server's filter cut counts as ended."""
        finish: Literal["stop", "length"] = "length" if self.finish == "length" else "stop"
        return Completion(
            text=self.text,
            tokens=self.completion_tokens,
            finish=finish,
            prompt_tokens=self.prompt_tokens,
            reasoning=self.reasoning,
        )

    @property
    def parted(self) -> Reply:
        """The reply with the reasoning that its text begins with, if any, apart.

        A text with nothing but the end of a thought, on a line's end, began inside of it: its prompt had the mark.
        """
        (opening,), (closing,) = WRITTEN.opening, WRITTEN.closing
        before, _, behind = self.text.partition(closing)
        opened = opening not in before and (before.endswith("\n") or behind.startswith("\n"))
        reasoning, text = split(self.text, WRITTEN, opened=closing in self.text and opened)
        return self.model_copy(update={"text": text, "reasoning": self.reasoning + reasoning})


def body(config: EndpointConfig, request: Request) -> dict[str, Any]:
    """Return the request's JSON. What is as it is anyway is left out: servers differ in what they know."""
    sampling = request.sampling
    plain: dict[str, Any] = {
        "model": config.model,
        "messages": [_turn(message) for message in request.messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    }
    if sampling.temperature:
        plain["seed"] = sampling.seed
    if sampling.top_p < 1:
        plain["top_p"] = sampling.top_p
    if sampling.stop:
        plain["stop"] = list(sampling.stop)
    if tools := request.messages[0].tools:
        plain["tools"] = [{"type": "function", "function": dict(tool)} for tool in tools]
    if request.answer_schema is not None and config.structured != "none":
        plain["response_format"] = _format(config, request.answer_schema)
    plain.update(config.extra)
    return {key: value for key, value in plain.items() if value is not None}


def _format(config: EndpointConfig, schema: Mapping[str, Any]) -> dict[str, Any]:
    if config.structured == "json":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)}}


def _turn(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id or f"call{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for place, call in enumerate(message.tool_calls)
        ]
    if message.role == "tool":
        plain["tool_call_id"] = message.tool_call_id or "call0"
    return plain


def key(config: EndpointConfig, request: Request) -> str:
    """Return the SHA-256 of all that a reply depends on: address, body, schema, and the seed even if it isn't sent."""
    parts = [config.url, body(config, request), request.answer_schema, request.sampling.seed]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read(data: bytes, request: Request) -> Reply:
    """Return the reply that a server's body holds. Raises ``ValueError`` saying what is wrong with it."""
    try:
        plain = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        what = "half a JSON document" if data.lstrip()[:1] in (b"{", b"[") else "no JSON"
        raise ValueError(f"{what} ({len(data):,} bytes)") from error
    if isinstance(plain, dict) and "choices" not in plain and "error" in plain:
        raise ValueError(f"an error: {plain['error']}")
    try:
        choice = plain["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, reasoning = message.get("content") or "", _reasoning(message)
        usage = plain.get("usage") or {}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("JSON without choices[0].message") from error
    if not isinstance(text, str) or not isinstance(usage, Mapping):
        raise ValueError("JSON whose message is no text")
    return counted(text, reasoning, finish, usage, request)


def _reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning of a message: what DeepSeek, vLLM and others send beside its content, by either name."""
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def counted(text: str, reasoning: str, finish: object, usage: Mapping[str, Any], request: Request) -> Reply:
    """Return a reply with the server's token counts, or estimated ones where it tells none."""
    prompt, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    told = isinstance(prompt, int) and isinstance(made, int) and prompt >= 0 and made >= 0
    if not told:
        prompt, made = prompt_tokens(request.messages), text_tokens(reasoning + text)
    ended: Literal["stop", "length", "filter"] = "stop"
    if finish in ("length", "content_filter"):
        ended = "length" if finish == "length" else "filter"
    return Reply(
        text=text,
        finish=ended,
        prompt_tokens=int(prompt or 0),
        completion_tokens=int(made or 0),
        guessed=not told,
        reasoning=reasoning,
    ).parted


class Arriving:
    """An answer that arrives in pieces, each a server-sent event."""

    def __init__(self) -> None:
        self._text, self._reasoning = "", ""
        self._splitter = Splitter(WRITTEN, opened=False)
        self._finish: object = "stop"
        self._usage: Mapping[str, Any] = {}

    def pieces(self, data: bytes) -> Iterator[str | Reasoning]:
        """Yield the text that an event brings. Raises ``ValueError`` if it is none of a stream's."""
        try:
            plain = orjson.loads(data)
            self._usage = plain.get("usage") or self._usage
            choice = next(iter(plain["choices"]), None)
            if choice is None:
                return
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta", {})
            text, reasoning = str(delta.get("content") or ""), _reasoning(delta)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError("a stream with an event that can't be read") from error
        self._text += text
        self._reasoning += reasoning
        within, answer = self._splitter.add(text)
        yield from _pieces(reasoning + within, answer)

    def end(self) -> Iterator[str | Reasoning]:
        """Yield the text that was held back; no more events come."""
        yield from _pieces(*self._splitter.end())

    def reply(self, request: Request) -> Reply:
        """Return all that arrived."""
        return counted(self._text, self._reasoning, self._finish, self._usage, request)


def _pieces(reasoning: str, answer: str) -> Iterator[str | Reasoning]:
    if reasoning:
        yield Reasoning(reasoning)
    if answer:
        yield answer


def prompt_tokens(messages: Sequence[Message]) -> int:
    """Return about how many tokens a prompt has; rather too many: three bytes of UTF-8 each, eight for each turn."""
    tools = sum(len(orjson.dumps(dict(tool))) for tool in messages[0].tools) // _BYTES_A_TOKEN
    return tools + sum(text_tokens(message.content) + _TOKENS_A_TURN for message in messages)


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has; rather too many."""
    return -(-len(text.encode(errors="replace")) // _BYTES_A_TOKEN)
