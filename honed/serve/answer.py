"""One answer on its way from the engine's thread to the client: stored before it is acknowledged, come what may.

The task that follows an answer belongs to the server, not to the request: when the client leaves, the engine is told
to stop, and what had come is stored as ``cancelled`` by the same lines that store a whole answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from honed.errors import HonedError, ModelError, RequestError
from honed.models.engine import Completion, Reasoning, Sampling
from honed.records import Interaction, Message
from honed.serve.faults import UnavailableError
from honed.serve.pool import Pool, Served
from honed.serve.schema import Stated
from honed.store.interactions import Interactions

_log = logging.getLogger("honed.serve")


@dataclass(frozen=True)
class Asked:
    """What a request asks: of which model, with what prompt, drawn how, by whom (a pseudonym)."""

    model: str
    prompt: tuple[Message, ...]
    sampling: Sampling
    subject: str
    stated: Stated


class Answer:
    """An answer that began: read ``pieces`` to their end, then ``interaction`` is what was stored.

    ``reasoning`` is what the model thought before it, which isn't stored.
    """

    def __init__(self, served: Served) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = time.time()
        self.served = served
        self.interaction: Interaction | None = None
        self.reasoning = ""
        self._news: asyncio.Queue[str | Reasoning | Interaction | HonedError] = asyncio.Queue()
        self._stop: Callable[[], None] | None = None
        self._left = False

    async def begun(self) -> None:
        """Wait until the engine has taken the request. Raises ``RequestError`` if it can't be answered."""
        if isinstance(news := await self._news.get(), HonedError):
            raise news

    async def pieces(self) -> AsyncIterator[str | Reasoning]:
        """Yield reasoning and text as they come; the end of it means that the answer is in the database.

        Raises ``UnavailableError`` if the engine failed, the answer can't be stored, or the server ends meanwhile.
        """
        while isinstance(news := await self._news.get(), str | Reasoning):
            if isinstance(news, Reasoning):
                self.reasoning += news.text
            yield news
        if isinstance(news, HonedError):
            raise news
        self.interaction = news

    async def whole(self) -> Interaction:
        """Read to the end and return what was stored; raises as ``pieces`` does."""
        async for _ in self.pieces():
            pass
        assert self.interaction is not None
        return self.interaction

    def cancel(self) -> None:
        """Stop the engine's work on this answer; nothing happens if it has ended."""
        self._left = True
        if self._stop:
            self._stop()

    def tell(self, news: str | Reasoning | Interaction | HonedError) -> None:
        """Hand on a piece of text, or how the answer ended."""
        self._news.put_nowait(news)

    def take(self, stop: Callable[[], None]) -> None:
        """Note that the engine has the request, and how to stop it."""
        self._stop = stop
        if self._left:
            stop()
        self.tell("")


class Answers:
    """Starts answers and follows each one until it is stored."""

    def __init__(self, pool: Pool, store: Interactions) -> None:
        self._pool = pool
        self._store = store
        self._running: dict[asyncio.Task[None], Answer] = {}

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer as soon as the engine has taken the request.

        Raises ``RequestError`` if there is no such model, or the prompt can't be asked of it.
        """
        answer = Answer(self._pool.get(asked.model))
        task = asyncio.create_task(self._follow(answer, asked))
        self._running[task] = answer
        task.add_done_callback(self._running.pop)
        try:
            await answer.begun()
        except asyncio.CancelledError:
            answer.cancel()
            raise
        return answer

    async def close(self) -> None:
        """Cancel what runs and wait until it is stored."""
        for answer in self._running.values():
            answer.cancel()
        await asyncio.gather(*self._running)

    async def _follow(self, answer: Answer, asked: Asked) -> None:
        try:
            with self._pool.using(asked.model) as served:
                answer.served = served
                completion = await _complete(answer, asked)
            if completion.tokens:
                interaction = _interaction(answer, asked, completion)
                await asyncio.to_thread(self._store.add, interaction)
            if completion.finish == "cancelled":
                raise UnavailableError("the answer was cancelled because the server ends", "Ask again later.")
            answer.tell(interaction)
        except (RequestError, UnavailableError) as error:
            answer.tell(error)
        except HonedError as error:
            _log.error("%s: %s", answer.id, error)
            answer.tell(UnavailableError(error.message, error.hint))
        except Exception:  # noqa: BLE001 - the edge of a task that nobody awaits: the client must be told
            _log.exception("%s failed", answer.id)
            answer.tell(UnavailableError(f"honed failed; the log says why, under {answer.id}"))


async def _complete(answer: Answer, asked: Asked) -> Completion:
    """Let the engine answer; hand on its text, and return how it ended."""
    news: asyncio.Queue[str | Reasoning | Completion | HonedError] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def deliver(item: str | Reasoning | Completion | HonedError) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server was ended by force
            loop.call_soon_threadsafe(news.put_nowait, item)

    submit = answer.served.engine.submit
    try:
        answer.take(await asyncio.to_thread(submit, asked.prompt, asked.sampling, deliver))
    except ModelError as error:
        raise RequestError(error.message, error.hint, code="context_length_exceeded", param="messages") from error
    except HonedError as error:
        raise RequestError(error.message, error.hint, code="invalid_value", param="messages") from error
    while isinstance(item := await news.get(), str | Reasoning):
        answer.tell(item)
    if isinstance(item, HonedError):
        raise item
    return item


def _interaction(answer: Answer, asked: Asked, completion: Completion) -> Interaction:
    return Interaction(
        id=answer.id,
        created=answer.created,
        prompt=asked.prompt,
        answer=completion.text,
        finish=completion.finish,
        prompt_tokens=completion.prompt_tokens,
        tokens=completion.tokens,
        model=answer.served.ref,
        model_hash=answer.served.hash,
        template_hash=answer.served.template_hash,
        sampling=asked.sampling.model_dump(mode="json"),
        subject=asked.subject,
        segments=asked.stated.segments,
        pair=asked.stated.pair,
        simulated=asked.stated.simulated,
    )
