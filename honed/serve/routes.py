"""OpenAI's routes: chat completions, streamed and not, the list of models, and health.

Reasoning stands in ``reasoning_content``, beside the answer, as DeepSeek's API and vLLM have it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from honed.errors import HonedError
from honed.models.engine import Reasoning
from honed.records import Interaction
from honed.serve.answer import Answer, Answers, Asked
from honed.serve.config import ServeConfig
from honed.serve.faults import body as error_body
from honed.serve.faults import status_of
from honed.serve.pool import Pool
from honed.serve.schema import ChatRequest, stated
from honed.store.tokens import SUBJECT_COOKIE, Signer, subject_of_cookie

_QUIET = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def router(pool: Pool, answers: Answers, signer: Signer, config: ServeConfig) -> APIRouter:
    """Answer with the models of ``pool``; every answer is stored before its last byte is sent."""
    routes = APIRouter(tags=["serve"])
    started = int(time.time())

    @routes.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        asked = Asked(
            model=body.model,
            prompt=body.prompt,
            sampling=body.sampling(config, secrets.randbits(31)),
            subject=_subject(signer, body.user, request.cookies.get(SUBJECT_COOKIE)),
            stated=stated(body.metadata or {}, config.segments),
        )
        answer = await answers.ask(asked)
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return StreamingResponse(_stream(answer, signer, usage), media_type="text/event-stream", headers=_QUIET)
        return await _whole(answer, signer, request)

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(entry["id"], entry["ref"], started) for entry in pool.names()]}

    @routes.get("/v1/models/{name:path}")
    def model(name: str) -> dict[str, Any]:
        return _model(name, pool.get(name).ref, started)

    @routes.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "models": [entry["ref"] for entry in pool.names()]}

    return routes


async def _whole(answer: Answer, signer: Signer, request: Request) -> Response:
    """Return the answer in one piece; a client that leaves before cancels it."""
    watcher = asyncio.create_task(_cancel_when_left(answer, request))
    try:
        interaction = await answer.whole()
    finally:
        watcher.cancel()
        answer.cancel()
    message = {"role": "assistant", "content": interaction.answer, "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": interaction.finish}
    head = {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(interaction)}
    return Response(orjson.dumps({**head, "honed": _ours(interaction, signer)}), media_type="application/json")


async def _cancel_when_left(answer: Answer, request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answer.cancel()


async def _stream(answer: Answer, signer: Signer, usage: bool) -> AsyncIterator[bytes]:
    """Yield the answer as server-sent events; a client that leaves ends the generator, which cancels the answer."""
    head = {**_head(answer, "chat.completion.chunk"), **({"usage": None} if usage else {})}
    try:
        yield _event({**head, "choices": [_delta({"role": "assistant", "content": ""})]})
        async for piece in answer.pieces():
            if isinstance(piece, Reasoning):
                yield _event({**head, "choices": [_delta({"reasoning_content": piece.text})]})
            elif piece:
                yield _event({**head, "choices": [_delta({"content": piece})]})
        interaction = answer.interaction
        assert interaction is not None
        tail = [{**head, "choices": [_delta({}, interaction.finish)]}]
        if usage:
            tail.append({**head, "choices": [], "usage": _usage(interaction)})
        tail[-1]["honed"] = _ours(interaction, signer)
        for chunk in tail:
            yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except HonedError as error:  # the status is sent already: OpenAI's clients read errors from the stream as well
        yield _event(error_body(f"{error.message}. {error.hint}".strip(), status=status_of(error)))
    finally:
        answer.cancel()


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": answer.id, "object": kind, "created": int(answer.created), "model": answer.served.ref}


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(interaction: Interaction) -> dict[str, int]:
    prompt, made = interaction.prompt_tokens, interaction.tokens
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _ours(interaction: Interaction, signer: Signer) -> dict[str, str]:
    """What OpenAI's answers lack: what was stored, by which exact model, and the token for saying what it is worth."""
    token = signer.issue(interaction.id, interaction.subject)
    return {"interaction": interaction.id, "feedback_token": token, "model": interaction.model}


def _event(document: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(document)


def _model(id_: str, ref: str, created: int) -> dict[str, Any]:
    return {"id": id_, "object": "model", "created": created, "owned_by": "honed", "honed": {"model": ref}}


def _subject(signer: Signer, user: str | None, cookie: str | None) -> str:
    """Return the pseudonym of who asks: whom the request names, else the browser, else somebody never seen again."""
    if user is not None:
        return signer.subject(f"user:{user}")
    return subject_of_cookie(signer, cookie) if cookie else signer.subject(f"once:{secrets.token_hex(16)}")
