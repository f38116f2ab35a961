"""Groups of rows inside of groups, one level after another: how many rows each can give, and how many it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.data.mix import allot
from honed.data.mix.allot import Group
from honed.data.mix.recipe import Level
from honed.errors import ConfigError


class Tree:
    """Groups inside of groups, one level after another."""

    def __init__(self, levels: Sequence[Level], sizes: Mapping[tuple[str, ...], int], *, strict: bool) -> None:
        self._levels, self._sizes, self._strict = levels, sizes, strict
        self._inside: dict[tuple[str, ...], dict[str, int]] = {}
        for path, size in sizes.items():
            for depth, name in enumerate(path):
                inside = self._inside.setdefault(path[:depth], {})
                inside[name] = inside.get(name, 0) + size
        self.asked: dict[tuple[str, ...], float] = {}
        self.taken: dict[tuple[str, ...], int] = {}

    def room(self, path: tuple[str, ...] = ()) -> int:
        """Return the most rows of a group: all, or if ``strict`` as many as keep all shares inside of it."""
        if len(path) == len(self._levels):
            return self._sizes[path]
        _, groups, level = self._groups(path)
        if self._strict:
            return allot.largest(groups, level.temperature)
        return sum(group.room if group.fixed is None else min(group.fixed, group.room) for group in groups)

    def deal(self, total: int, path: tuple[str, ...] = (), asked: float | None = None) -> None:
        """Deal ``total`` rows to a group and those inside of it; ``asked`` is its share, were there rows enough."""
        asked = float(total) if asked is None else asked
        if len(path) == len(self._levels):
            self.taken[path], self.asked[path] = total, asked
            return
        names, groups, level = self._groups(path)
        fixed = sum(group.fixed or 0 for group in groups)
        if fixed > total:
            where = f" of {' / '.join(path)}" if path else ""
            raise ConfigError(
                f"level by {level.by}: {fixed:,} rows are asked for by number, and {total:,}{where} are to be had",
                "Ask for fewer there, or for more in all (rows).",
            )
        shares = allot.wanted(groups, level.temperature)
        for name, group, share, count in zip(
            names, groups, shares, allot.deal(total, groups, level.temperature), strict=True
        ):
            wanted = float(group.fixed) if group.fixed is not None else share * max(0.0, asked - fixed)
            self.deal(count, (*path, name), wanted)

    def _groups(self, path: tuple[str, ...]) -> tuple[list[str], list[Group], Level]:
        level = self._levels[len(path)]
        sizes = self._inside.get(path, {})
        groups = []
        for name, size in sizes.items():
            fixed = level.rows.get(name)
            room = self.room((*path, name))
            if fixed is not None and fixed > room:
                raise ConfigError(
                    f"level by {level.by}: {fixed:,} rows of {' / '.join((*path, name))} are asked for, "
                    f"and {room:,} can be used",
                    f"Ask for {room:,} or fewer; no row is taken twice.",
                )
            weight = level.weights.get(name, 1.0) if level.weights else float(size)
            groups.append(Group(weight, room, fixed))
        return list(sizes), groups, level
