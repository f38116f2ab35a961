"""The suites that a person names: one, several, or a group of them, read as one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from honed.errors import ConfigError, DataError
from honed.evaluate.harness.names import harness
from honed.evaluate.rates import SUITE as TAG
from honed.evaluate.suites import suite
from honed.evaluate.suites.suite import EMBEDDED, Manifest, Row, Suite
from honed.records import digest

GROUPS: Mapping[str, tuple[str, ...]] = {
    "benefits": (
        "precision", "specificity", "context", "paraphrases", "twins", "audience", "knowledge", "formats", "safety",
        "sycophancy",
    ),
}  # fmt: skip
"""Names that stand for several embedded suites."""


def pinned(names: Sequence[str]) -> tuple[str, ...]:
    """Return what a job keeps of suites: groups become their members, paths absolute. Raises as ``read`` does."""
    found = tuple(suite.pinned(name) for name in _members(names))
    if twice := [name for place, name in enumerate(found) if name in found[:place]]:
        raise ConfigError(f"the suite {twice[0]!r} is asked for twice", "Name each suite once.")
    return found


def max_tokens(names: Sequence[str]) -> int | None:
    """Return the longest answer that any of the suites asks for; None if one of them doesn't say."""
    asked = [suite.manifest(name).max_tokens for name in _members(names)]
    known = [most for most in asked if most is not None]
    return max(known) if len(known) == len(asked) else None


def in_full(data: str) -> str:
    """Return what an evaluation says that it measured, a group of suites by the names of all: each has a text."""
    kind, _, name = data.partition(" ")
    return f"{kind} {', '.join(GROUPS[name])}" if kind == TAG and name in GROUPS else data


def read(names: Sequence[str]) -> Suite:
    """Read the suites as one whose rows say which they are of, by the tag ``suite``; a whole group has its own name.

    Raises ``ConfigError`` for a name that stands for nothing, ``DataError`` as ``suite.read`` does, and if two of them
    ask the same.
    """
    suites = [_tagged(suite.read(name)) for name in pinned(names)]
    if len(suites) == 1:
        return suites[0]
    rows = [row.model_copy(update={"id": f"{row.tags[TAG]}/{row.id}"}) for one in suites for row in one.rows]
    seen: dict[str, str] = {}
    for row in rows:
        if (other := seen.setdefault(row.key, row.id)) != row.id:
            raise DataError(f"the rows {other} and {row.id} have one prompt", "Measure these suites one by one.")
    group = next((name for name, members in GROUPS.items() if members == pinned(names)), None)
    manifest = Manifest(
        name=group or ", ".join(one.manifest.name for one in suites),
        source=_joined(one.manifest.source for one in suites),
        licence=_joined(one.manifest.licence for one in suites),
    )
    return Suite(manifest, tuple(rows), digest([one.hash for one in suites]))


def _members(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        if harness([name]):
            raise ConfigError(f"{name} is run by its own harness: it has no rows here", "honed evaluate MODEL runs it.")
        near = difflib.get_close_matches(name, [*EMBEDDED, *GROUPS], n=1)
        if near and near[0] in GROUPS and near[0] != name and not Path(name).is_dir():
            raise ConfigError(f"there is no suite {name!r}", f"Did you mean {near[0]!r}?")
        found += GROUPS.get(name, (name,))
    return found


def _tagged(found: Suite) -> Suite:
    name = found.manifest.name
    rows: Iterable[Row] = (row.model_copy(update={"tags": {**row.tags, TAG: name}}) for row in found.rows)
    return replace(found, rows=tuple(rows))


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))
