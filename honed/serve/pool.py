"""The models that are served: by version, by name and by alias; an alias that moves takes no request with it.

A bare name means the version that was newest at the start: only aliases move while the server runs, so no model
answers anybody before a round or a person has promoted it.
"""

from __future__ import annotations

import difflib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from honed.errors import RequestError
from honed.models.engine import LiveEngine
from honed.store import aliases
from honed.store.workspace import Workspace

_log = logging.getLogger("honed.serve")

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Served:
    """A model in memory: its exact version, its content hash, its chat format's, its context in tokens."""

    ref: str
    hash: str
    template_hash: str
    context: int
    engine: LiveEngine


class Pool:
    """Loads ``specs`` at once, and an alias's new model when it moves; the old one leaves after its last answer."""

    def __init__(self, load: Callable[[str], Served], workspace: Workspace, specs: Sequence[str]) -> None:
        """Load every one of ``specs`` (see ``models.load.locate``). Raises what ``load`` raises."""
        self._load = load
        self._workspace = workspace
        self._lock = threading.RLock()
        self._names: dict[str, Served] = {}
        self._aliases: set[str] = set()
        self._users: Counter[str] = Counter()
        self._leaving: list[Served] = []
        self._failed: dict[str, str] = {}
        try:
            for spec in dict.fromkeys(specs):
                self._add(spec)
        except BaseException:
            self._end()
            raise
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="honed-aliases", daemon=True)
        self._watcher.start()

    def names(self) -> list[dict[str, Any]]:
        """Return what is served: ``id`` as a request names it, ``ref``, and ``alias`` where the id is one."""
        with self._lock:
            return [
                {"id": name, "ref": served.ref, **({"alias": name} if name != served.ref else {})}
                for name, served in self._names.items()
            ]

    def get(self, name: str) -> Served:
        """Return the model that ``name`` means now: an id of ``names``, a version or the bare name of one of them.

        Raises ``RequestError`` (404) naming the nearest if there is none.
        """
        with self._lock:
            if name in self._names:
                return self._names[name]
            refs = {served.ref: served for served in self._names.values()}
            bare = {ref.partition("@")[0]: refs[ref] for ref in sorted(refs, key=_version)}  # the newest comes last
            if (found := refs.get(name) or bare.get(name)) is not None:
                return found
            known = sorted({*self._names, *refs})
        near = difflib.get_close_matches(name, known, n=1)
        raise RequestError(
            f"the model {name!r} is not served here",
            f"Did you mean {near[0]!r}?" if near else f"Served: {', '.join(known)}.",
            status=404,
            code="model_not_found",
            param="model",
        )

    @contextmanager
    def using(self, name: str) -> Iterator[Served]:
        """``get`` a model, and keep it in memory until the block ends, wherever its alias goes meanwhile."""
        with self._lock:
            served = self.get(name)
            self._users[served.ref] += 1
        try:
            yield served
        finally:
            with self._lock:
                self._users[served.ref] -= 1

    def close(self) -> None:
        """End the engines, cancelling what still runs."""
        self._closing.set()
        self._watcher.join()
        self._end()

    def _add(self, spec: str) -> None:
        target = aliases.target(self._workspace, spec)
        served = self._of(target or spec)
        self._names[spec if target else served.ref] = served
        self._aliases |= {spec} if target else set()

    def _end(self) -> None:
        for served in self._loaded():
            served.engine.close()

    def _loaded(self) -> list[Served]:
        return list({served.ref: served for served in (*self._leaving, *self._names.values())}.values())

    def _of(self, spec: str) -> Served:
        """Return the model of ``spec``, loaded only if it isn't in memory already."""
        return next((served for served in self._loaded() if served.ref == spec), None) or self._load(spec)

    def _watch(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            try:
                for name in self._aliases:
                    target = aliases.target(self._workspace, name)
                    if target == self._names[name].ref:
                        self._failed.pop(name, None)
                    elif target and target != self._failed.get(name):
                        self._follow(name, target)
                self._release()
            except Exception:  # noqa: BLE001 - out of file handles, say: the next look may succeed
                _log.exception("the aliases can't be followed now")

    def _follow(self, name: str, target: str) -> None:
        """Load an alias's new model beside the old one, then let the name mean it."""
        try:
            fresh = self._of(target)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new model, the old one goes on answering
            self._failed[name] = target  # not tried again until the alias moves once more
            _log.exception("%s stays %s: %s can't be loaded", name, self._names[name].ref, target, exc_info=error)
            return
        self._failed.pop(name, None)
        with self._lock:
            old, self._names[name] = self._names[name], fresh
            self._leaving.append(old)
        _log.warning("%s is now %s, it was %s", name, fresh.ref, old.ref)

    def _release(self) -> None:
        """Close the engines that no name means any more and no request uses."""
        with self._lock:
            named = {served.ref for served in self._names.values()}
            done = [s for s in self._leaving if s.ref not in named and not self._users[s.ref]]
            self._leaving = [s for s in self._leaving if s.ref not in named and self._users[s.ref]]
        for served in done:
            served.engine.close()


def _version(ref: str) -> tuple[str, int]:
    name, _, version = ref.partition("@v")
    return name, int(version) if version.isdecimal() else 0
