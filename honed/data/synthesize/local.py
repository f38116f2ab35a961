"""A model in this process as a writer: requests in a running batch, its replies kept like those of a server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import orjson

from honed.errors import EndpointError, ModelError
from honed.models import replies, thought, wire
from honed.models.batch import batch
from honed.models.chat import Unusable
from honed.models.load import load
from honed.models.local import in_order
from honed.models.remote import Estimate, Spent
from honed.models.replies import Replies
from honed.models.row import Row, make_row
from honed.models.wire import Reply, Request
from honed.store.workspace import Workspace

_BATCH = 32


class LocalWriter:
    """Answers requests with a model that it loads. It costs nothing but time."""

    def __init__(self, model: str, workspace: Workspace, work: str) -> None:
        self._loaded, self._replies, self._work = load(model, workspace), Replies(replies.path(workspace)), work
        self.spent = Spent()

    def each(
        self, requests: Iterable[Request], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Reply | EndpointError]]:
        """Yield each reply as it ends (see ``RemoteEngine.each``); equal requests are answered once."""
        waiting: dict[Row, tuple[Request, list[int]]] = {}
        rows: dict[str, Row] = {}
        refused: list[tuple[int, EndpointError]] = []  # told last: if it came first, the writer would look gone
        for place, request in enumerate(requests):
            key = self._key(request)
            if found := self._replies.get(key):
                self._count(found)
                yield place, found
            elif key in rows:
                waiting[rows[key]][1].append(place)
            else:
                try:
                    rows[key] = make_row(self._loaded, request.messages, request.sampling)
                    waiting[rows[key]] = (request, [place])
                except (ModelError, Unusable) as error:
                    refused.append((place, EndpointError(error.message, lasting=False)))
        running = batch(self._loaded, min(_BATCH, max(1, len(waiting))))
        running.add(in_order(list(waiting)))
        while not running.over and not stopping():
            for row, _ in running.step():
                if row.finish:
                    request, places = waiting.pop(row)
                    reply = self._kept(request, row)
                    yield from ((place, reply) for place in places)
        yield from refused

    def estimate(self, requests: Iterable[Request]) -> Estimate:
        """Return how many tokens requests would take at most."""
        count = cached = prompt = made = 0
        for request in requests:
            if self._replies.get(self._key(request)):
                cached += 1
                continue
            count, made = count + 1, made + request.sampling.max_tokens
            prompt += wire.prompt_tokens(request.messages)
        return Estimate(
            requests=count, cached=cached, prompt_tokens=prompt, completion_tokens=made, cost=None, minutes=0.0
        )

    def close(self) -> None:
        """Close the file of replies."""
        self._replies.close()

    def _kept(self, request: Request, row: Row) -> Reply:
        done = row.completion
        reply = Reply(
            text=done.text,
            reasoning=done.reasoning,
            finish="length" if done.finish == "length" else "stop",
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.tokens,
        )
        self._replies.keep(self._work, self._key(request), self._loaded.ref, reply)
        self._count(reply)
        return reply

    def _count(self, reply: Reply) -> None:
        spent = self.spent
        if reply.cached:
            self.spent = spent.model_copy(update={"cached": spent.cached + 1})
            return
        update = {
            "requests": spent.requests + 1,
            "prompt_tokens": spent.prompt_tokens + reply.prompt_tokens,
            "completion_tokens": spent.completion_tokens + reply.completion_tokens,
        }
        self.spent = spent.model_copy(update=update)

    def _key(self, request: Request) -> str:
        turns = [turn.model_dump(mode="json") for turn in request.messages]
        marks = thought.rule(self._loaded.chat.thought)
        parts = ["local", self._loaded.hash, turns, request.sampling.model_dump(), *marks]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
