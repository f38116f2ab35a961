"""Answers that were made before, in a file of the workspace's cache: the same question isn't computed twice."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from honed.errors import StoreError
from honed.models.engine import Completion, Engine, Reasoning, Sampling
from honed.models.thought import rule
from honed.records import Message, digest
from honed.store.workspace import Workspace, writing

if TYPE_CHECKING:
    from honed.models.load import Prepared

MOST = 100_000
"""Answers that are kept; those that were asked for the longest ago go first."""

_WAIT_SECONDS = 30.0
_WHOLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
)
"""Faults of the machine and not of the file, which may be open elsewhere."""
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, max_tokens INTEGER NOT NULL, answer TEXT NOT NULL,
    used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used);
"""


def opened(file: Path, table: str) -> sqlite3.Connection:
    """Return the database in a file of the cache, with its ``table``; one that can't be read is begun anew."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connected(file, table)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _WHOLE:
            hint = "Mend that, or do without what it keeps: move the file away where nothing else runs."
            raise StoreError(f"{file}: can't be opened: {error}", hint) from error
        file.unlink()
        return _connected(file, table)


def _connected(file: Path, table: str) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=_WAIT_SECONDS)
    try:
        base.executescript(table)
    except sqlite3.DatabaseError:
        base.close()
        raise
    return base


def trim(base: sqlite3.Connection, table: str, most: int) -> None:
    """Let go of all lines but the ``most`` that were asked for last."""
    old = f"SELECT key FROM {table} ORDER BY used DESC LIMIT -1 OFFSET ?"
    with base:
        base.execute(f"DELETE FROM {table} WHERE key IN ({old})", (most,))


class AnswerCache:
    """The answers of one way to ask (``cache_of``). Several processes may share the file.

    What is kept can be made again, so a file that can't be read is begun anew.
    """

    def __init__(self, workspace: Workspace, *who: str, most: int = MOST) -> None:
        self._who, self._most = who, most
        self._file = workspace.cache / "answers.sqlite"
        self._base = opened(self._file, _TABLE)

    def holds(self, prompt: Sequence[Message], sampling: Sampling) -> bool:
        """Tell whether ``get`` would return an answer, without counting it as asked for."""
        return self._find(self._key(prompt, sampling), sampling) is not None

    def get(self, prompt: Sequence[Message], sampling: Sampling) -> Completion | None:
        """Return the answer that would be made, or None.

        One that ended by itself is the same whatever it might have had in length; one that was cut is the answer to
        ``max_tokens`` as they were only.
        """
        key = self._key(prompt, sampling)
        found = self._find(key, sampling)
        if found:
            with self._base:
                self._base.execute("UPDATE answers SET used = ? WHERE key = ?", (time.time(), key))
        return found

    def keep(self, prompt: Sequence[Message], sampling: Sampling, answer: Completion) -> None:
        """Keep an answer, in the place of one that was made with other ``max_tokens``."""
        if answer.finish == "cancelled":
            return
        line = (self._key(prompt, sampling), sampling.max_tokens, answer.model_dump_json(), time.time())
        with self._base:
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", line)

    def close(self) -> None:
        """Let go of what is too much, and close the file."""
        trim(self._base, "answers", self._most)
        self._base.close()

    def _find(self, key: str, sampling: Sampling) -> Completion | None:
        line = self._base.execute("SELECT max_tokens, answer FROM answers WHERE key = ?", (key,)).fetchone()
        if line is None:
            return None
        found = Completion.model_validate_json(line[1])
        whole = found.finish == "stop" and found.tokens <= sampling.max_tokens
        return found if whole or line[0] == sampling.max_tokens else None

    def _key(self, prompt: Sequence[Message], sampling: Sampling) -> str:
        asked = [message.model_dump(mode="json") for message in prompt]
        return digest([list(self._who), asked, sampling.model_dump(mode="json", exclude={"max_tokens"})])


def cache_of(workspace: Workspace, model: Prepared, precision: str) -> AnswerCache:
    """Return the answers of a model by its chat template, with its marks of reasoning, in a precision."""
    chat = model.chat
    return AnswerCache(workspace, model.place.hash, chat.hash, precision, *rule(chat.thought))


class LazyEngine:
    """An ``Engine`` that is made when the first prompt comes: with every answer in a cache none is."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._engine = cache(make)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Return one completion a prompt, in their order (see ``Engine.generate``)."""
        return self._engine().generate(prompts, sampling, on_done) if prompts else []

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        """Yield the answer in pieces (see ``Engine.stream``)."""
        return self._engine().stream(prompt, sampling)


class CachedEngine:
    """An ``Engine`` that asks the cache first. ``found`` counts the answers that came from it."""

    def __init__(self, engine: Engine, cache: AnswerCache) -> None:
        self._engine, self._cache = engine, cache
        self.found = 0

    def holds(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> bool:
        """Tell whether the cache has all these answers."""
        return all(self._cache.holds(prompt, sampling) for prompt in prompts)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Return one completion a prompt, in their order (see ``Engine.generate``)."""
        done: dict[int, Completion] = {}
        for place, prompt in enumerate(prompts):
            if known := self._cache.get(prompt, sampling):
                done[place] = known
                self.found += 1
                if on_done:
                    on_done(place, known)
        missing = [place for place in range(len(prompts)) if place not in done]

        def keep(number: int, answer: Completion) -> None:
            self._cache.keep(prompts[missing[number]], sampling, answer)
            if on_done:
                on_done(missing[number], answer)

        made = self._engine.generate([prompts[place] for place in missing], sampling, keep)
        done.update(zip(missing, made, strict=True))
        return [done[place] for place in range(len(prompts))]

    def stream(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str | Reasoning]:
        """Yield the answer in pieces (see ``Engine.stream``), without the cache."""
        return self._engine.stream(prompt, sampling)
