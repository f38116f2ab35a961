"""Answers from any OpenAI-compatible server: an ``Engine`` that retries, keeps to limits and pays for nothing twice."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from honed.errors import EndpointError, HonedError
from honed.models import wire
from honed.models.endpoint import EndpointConfig
from honed.models.engine import Completion, Reasoning, Sampling
from honed.models.http import Http, PassingError
from honed.models.pace import Budget, HaltedWaitError, Pace, sleep
from honed.models.replies import Replies
from honed.models.wire import Reply, Request
from honed.records import Message, Record

_LONGEST_BACKOFF = 60.0
_LONGEST_REST = 600.0
_TRIES_UNREACHED = 3
_POLL_SECONDS = 0.1
_TOLD = 20


class Spent(Record):
    """What an engine has done. ``cost`` and ``lost_cost`` are those of the whole work, earlier attempts included.

    ``cached`` requests were answered from the disk; ``lost_cost`` is the most that answers may have cost which never
    arrived whole; ``guessed`` requests came without token counts, which are estimated then.
    """

    requests: int = 0
    cached: int = 0
    retries: int = 0
    guessed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    lost_cost: float = 0.0


class Estimate(Record):
    """What requests would take: those not cached yet, tokens at most, money at most (None without prices)."""

    requests: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    minutes: float


class RemoteEngine:
    """An ``Engine`` on a server; close it, or use it in a ``with``.

    ``replies`` is the file of paid replies (``honed.models.replies.path(workspace)``); without it they last as long as
    the engine. ``work`` names what is paid for, a job's id for example: ``max_cost`` holds for it over all attempts.
    ``say`` is told once of each kind of trouble that passes. Any thread may call any method; from a coroutine, await
    ``asyncio.wrap_future(engine.submit(request))``. Raises ``ConfigError`` if the key isn't there.
    """

    def __init__(
        self,
        config: EndpointConfig,
        replies: Path | None = None,
        work: str = "",
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.config = config
        self._http, self._replies = Http(config), Replies(replies or Path(":memory:"))
        self._work, self._say, self._said = work, say, set[str]()
        self._pace, self._budget = Pace(config), Budget(config.max_cost, *self._replies.spent(work))
        self._pool = ThreadPoolExecutor(config.concurrency, thread_name_prefix="endpoint")
        self._flying: dict[str, Future[Reply]] = {}
        self._lock, self._closed, self._reached = threading.Lock(), threading.Event(), False
        self._counts = dict.fromkeys(
            ("requests", "cached", "retries", "guessed", "prompt_tokens", "completion_tokens"), 0
        )
        self._jitter = random.Random()

    @property
    def spent(self) -> Spent:
        """What was done and paid so far."""
        with self._lock:
            return Spent(**self._counts, cost=self._budget.paid, lost_cost=self._budget.lost)

    def estimate(self, requests: Iterable[Request]) -> Estimate:
        """Return what requests would take at most, without sending any."""
        count = cached = prompt = made = 0
        for request in requests:
            if self._replies.get(wire.key(self.config, request)):
                cached += 1
                continue
            count += 1
            prompt += wire.prompt_tokens(request.messages)
            made += request.sampling.max_tokens
        config = self.config
        rates = [count / config.requests_per_minute if config.requests_per_minute else 0.0]
        rates.append((prompt + made) / config.tokens_per_minute if config.tokens_per_minute else 0.0)
        cost = None if config.prompt_price is None else config.cost(prompt, made)
        return Estimate(
            requests=count, cached=cached, prompt_tokens=prompt, completion_tokens=made, cost=cost, minutes=max(rates)
        )

    def complete(self, request: Request) -> Reply:
        """Return the reply to one request. Raises ``EndpointError``, or ``BudgetError`` if the money is spent."""
        return self.submit(request).result()

    def submit(self, request: Request, halted: Callable[[], bool] = lambda: False) -> Future[Reply]:
        """Queue a request and return its future; a request that is under way already is not sent again."""
        key = wire.key(self.config, request)
        with self._lock:
            assert not self._closed.is_set(), "the engine is closed"
            if found := self._flying.get(key):
                return found
            future = self._pool.submit(self._answer, key, request, lambda: halted() or self._closed.is_set())
            self._flying[key] = future
        future.add_done_callback(lambda _done: self._landed(key))
        return future

    def each(
        self, requests: Iterable[Request], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Reply | EndpointError]]:
        """Yield the place of each request and its reply as they come; the iterable is read as there is room.

        A request that fails for a reason of its own gives its error. One that is ``lasting``, or the limit in money,
        ends the rest: nothing more is sent, the replies under way are yielded, then it is raised. When the caller stops
        reading, or ``stopping`` is true, what is under way is awaited and kept, and nothing more is yielded.
        """
        halt, failed = threading.Event(), list[HonedError]()
        flying: dict[Future[Reply], list[int]] = {}
        source = enumerate(requests)
        try:
            while not stopping():
                while not failed and len(flying) < 2 * self.config.concurrency:
                    if (following := next(source, None)) is None:
                        break
                    flying.setdefault(self.submit(following[1], halt.is_set), []).append(following[0])
                if not flying:
                    break
                for future in wait(flying, _POLL_SECONDS, FIRST_COMPLETED).done:
                    places, outcome = flying.pop(future), _outcome(future, failed)
                    yield from ((place, outcome) for place in places if outcome)
                if failed:
                    _call_off(flying, halt)
        finally:
            _call_off(flying, halt)
            wait(flying)
        if failed:
            raise failed[0]

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Return one completion a prompt, in their order (see ``Engine.generate``).

        Raises ``EndpointError`` for the first that can't be had; ``on_done`` runs on the caller's thread, and may raise
        to stop. What is under way then is awaited and kept.
        """
        done: dict[int, Completion] = {}
        for place, reply in self.each(Request(messages=tuple(prompt), sampling=sampling) for prompt in prompts):
            if isinstance(reply, EndpointError):
                raise reply
            done[place] = reply.completion
            if on_done:
                on_done(place, done[place])
        return [done[place] for place in range(len(prompts))]

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        """Yield the answer's text as it comes (see ``Engine.stream``); one that was paid for before comes at once."""
        request = Request(messages=tuple(prompt), sampling=sampling)
        key = wire.key(self.config, request)
        if found := self._found(key):
            if found.reasoning:
                yield Reasoning(found.reasoning)
            yield found.text
            return
        try:
            with self._paying(key, request, self._closed.is_set) as paying:
                yield from self._arriving(request, paying)
        except HaltedWaitError as error:
            raise self._stopped() from error

    def close(self) -> None:
        """Send nothing more, wait for what is under way, and close the connections and the file."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._http.close()
        self._replies.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _answer(self, key: str, request: Request, halted: Callable[[], bool]) -> Reply:
        """Return the reply, from the disk or from the server with as many tries as are allowed; on a pool's thread."""
        if found := self._found(key):
            return found
        try:
            for attempt in itertools.count():
                try:
                    with self._paying(key, request, halted) as paying:
                        paying.reply = self._once(request, paying)
                    return paying.reply
                except PassingError as failure:
                    self._rest(failure, attempt, halted)
        except HaltedWaitError as error:
            raise self._stopped() from error
        raise AssertionError("the last try ends with a reply or an error")

    def _once(self, request: Request, paying: _Paying) -> Reply:
        try:
            data = self._http.post(wire.body(self.config, request))
            self._reached = True
            try:
                return wire.read(data, request)
            except ValueError as error:
                raise self._http.broken(str(error)) from error
        except PassingError as failure:
            self._reached, paying.lost = self._reached or failure.reached, failure.paid
            raise

    def _arriving(self, request: Request, paying: _Paying) -> Iterator[str | Reasoning]:
        body = wire.body(self.config, request) | {"stream": True, "stream_options": {"include_usage": True}}
        arriving = wire.Arriving()
        try:
            for event in self._http.events(body):
                paying.lost = True  # until the end is there: whoever stops reading has paid all the same
                yield from arriving.pieces(event)
            yield from arriving.end()
        except PassingError as failure:
            raise failure.error from failure
        except ValueError as error:
            raise self._http.broken(str(error)).error from error
        paying.reply, paying.lost = arriving.reply(request), False

    def _stopped(self) -> EndpointError:
        return EndpointError(f"{self.config.url}: stopped before the answer was there", "Start again to go on.")

    def _rest(self, failure: PassingError, attempt: int, halted: Callable[[], bool]) -> None:
        """Wait before the next try, or raise the error if there is to be none.

        Exponential back-off with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015); what the server
        asks to wait is waited by all requests.
        """
        config, after = self.config, failure.after or 0.0
        allowed = config.retries if self._reached else min(config.retries, _TRIES_UNREACHED - 1)
        if attempt >= allowed or after > _LONGEST_REST:
            raise _given_up(failure, attempt + 1, after) from failure
        with self._lock:
            self._counts["retries"] += 1
            news = failure.error.message not in self._said and len(self._said) < _TOLD
            self._said.add(failure.error.message)
            jitter = self._jitter.uniform(0, min(_LONGEST_BACKOFF, config.backoff_seconds * 2**attempt))
        if news:
            self._say(f"{failure.error.message}; tried again" + (f" in {after:.0f} s, as it asks" if after else ""))
        if after:
            self._pace.rest(after)
        sleep(after + jitter, halted)

    def _found(self, key: str) -> Reply | None:
        found = self._replies.get(key)
        if found:
            with self._lock:
                self._counts["cached"] += 1
        return found.parted if found else None  # it may have been kept with its reasoning in the text

    @contextmanager
    def _paying(self, key: str, request: Request, halted: Callable[[], bool]) -> Iterator[_Paying]:
        """Set money aside for one try, wait for its turn; then count and keep what came of it."""
        config, expected = self.config, wire.prompt_tokens(request.messages) + request.sampling.max_tokens
        most = config.cost(expected - request.sampling.max_tokens, request.sampling.max_tokens)
        self._budget.take(most, halted)
        paying = _Paying()
        try:
            self._pace.wait(expected, halted)
            yield paying
        finally:
            try:
                self._book(key, paying, most, expected)
            finally:
                cost = paying.reply.cost if paying.reply else 0.0
                self._budget.settle(most, cost, most if paying.lost else 0.0)

    def _book(self, key: str, paying: _Paying, most: float, expected: int) -> None:
        if paying.lost and most:
            self._replies.lost(self._work, key, most)
        if not (reply := paying.reply):
            return
        cost = self.config.cost(reply.prompt_tokens, reply.completion_tokens)
        paying.reply = reply = reply.model_copy(update={"cost": cost})
        self._replies.keep(self._work, key, self.config.model, reply)
        self._pace.correct(reply.prompt_tokens + reply.completion_tokens - expected)
        with self._lock:
            self._counts["requests"] += 1
            self._counts["guessed"] += reply.guessed
            self._counts["prompt_tokens"] += reply.prompt_tokens
            self._counts["completion_tokens"] += reply.completion_tokens

    def _landed(self, key: str) -> None:
        with self._lock:
            self._flying.pop(key, None)


@dataclass
class _Paying:
    """What came of one try: a reply, or that one may have been made and got lost."""

    reply: Reply | None = None
    lost: bool = False


def _outcome(future: Future[Reply], failed: list[HonedError]) -> Reply | EndpointError | None:
    """Return what came of a request; what ends all of them is added to ``failed``, and None returned."""
    try:
        return None if future.cancelled() else future.result()
    except HonedError as error:
        if isinstance(error, EndpointError) and not error.lasting:
            return error
        failed.append(error)
        return None


def _call_off(flying: Iterable[Future[Reply]], halt: threading.Event) -> None:
    """Let nothing more be sent; what is under way goes on."""
    halt.set()
    for future in flying:
        future.cancel()


def _given_up(failure: PassingError, tries: int, after: float) -> EndpointError:
    error = failure.error
    if after > _LONGEST_REST:
        hint = f"It asks to wait {after / 60:.0f} minutes; start again then: what is there is kept."
        return EndpointError(error.message, hint, status=error.status)
    tried = f"{error.message} ({tries} tries)" if tries > 1 else error.message
    return EndpointError(tried, error.hint, status=error.status)
