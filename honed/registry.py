"""Named plug-ins: one lookup for ours and for those of other packages, through entry points.

A plug-in is declared in a ``pyproject.toml``::

    [project.entry-points."honed.verifiers"]
    my_rule = "my_package.rules:my_rule"

and used by its name. Ours are declared in the same way: there is no second, hand-kept list. The group ``instructions``
holds families of instructions (``honed.evaluate.verifiers.families``), each also a verifier of the same name, which
judge instruction by instruction and draw constraints for training data.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from honed.errors import ConfigError
from honed.records import Message, Score

Group = Literal["verifiers", "instructions", "trackers"]

Verifier = Callable[[Mapping[str, Any], Sequence[Message], str], Score]
"""``verify(params, prompt, answer) -> Score``: deterministic, offline, never raises on any answer."""


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"honed.{group}")}


def names(group: Group) -> list[str]:
    """Return the registered names of a group, sorted."""
    return sorted(_points(group))


@cache
def get(group: Group, name: str) -> Any:
    """Return the plug-in ``name`` of ``group``; an unknown name raises ``ConfigError`` naming the nearest."""
    points = _points(group)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(points)) or 'none'}."
        raise ConfigError(f"there is no {group.removesuffix('s')} named {name!r}", hint)
    return points[name].load()
