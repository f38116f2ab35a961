"""OASST messages as the hub has them, one a row: joined to the trees that they are replies in, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from honed.data.shapes.turns import ROLES
from honed.data.sources.row import Block, CutError, Known, Row, unreadable

_NAMES = frozenset({"message_id", "parent_id", "text", "role"})
_DEEPEST = 100
"""Messages on one path, at most: reading a tree goes down it."""
_TOGETHER = 64
"""Trees in a block."""
_TRUE = ("true", "1")
"""How a table without types writes that a message was deleted."""


def joined(blocks: Iterator[Block], file: str) -> tuple[bool, Iterator[Block]]:
    """Tell whether the first row is such a message; if so, return blocks of trees, else the blocks as they are."""
    first = next(blocks, None)
    if first is None:
        return False, iter(())
    row = next((row for row in first.rows(file) if row.value is not None), None)
    every = chain([first], blocks)
    if row is None or row.value is None or not row.value.keys() >= _NAMES:
        return False, every
    return True, _Threads(file).trees(every)


class _Threads:
    """The messages of a source, by their ids, and the replies to each."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._rows: dict[str, Row] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._replies: dict[str, list[str]] = {}

    def trees(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield what is no message, then the trees in the order of their first messages, then what is in none."""
        for block in blocks:
            wrong = tuple(row for row in map(self._taken, block.rows(self._file)) if row is not None)
            if wrong:
                yield Known(wrong)
        roots = self._replies.pop("", [])
        for start in range(0, len(roots), _TOGETHER):
            yield Known(tuple(self._tree(root) for root in roots[start : start + _TOGETHER]))
        if self._nodes:
            yield Known(tuple(self._lost(id_) for id_ in self._nodes))

    def _taken(self, row: Row) -> Row | None:
        """Keep a message; return a row that is none, with its fault."""
        if row.value is None:
            return row
        value = row.value
        id_, parent, text, role = (value.get(name) for name in ("message_id", "parent_id", "text", "role"))
        known = ROLES.get(role) if isinstance(role, str) else None
        if not isinstance(id_, str) or not id_ or not isinstance(text, str) or known is None:
            return self._fault(row, "text", "wrong type", "a message has 'message_id', 'text' and a known 'role'")
        if id_ in self._rows:
            return self._fault(row, "message_id", "duplicate id", f"the message {id_!r} stands in the file twice")
        self._rows[id_] = row
        self._nodes[id_] = {"text": text, "role": role, "deleted": _true(value.get("deleted")), "replies": []}
        if (rank := _whole(value.get("rank"))) is not None:
            self._nodes[id_]["rank"] = rank
        self._replies.setdefault(parent if isinstance(parent, str) else "", []).append(id_)
        return None

    def _tree(self, root: str) -> Row:
        """Return the tree below a first message as a row that stands where this does; its messages are used up."""
        tree = self._nodes.pop(root)
        level, depth = [(root, tree)], 0
        while level:
            depth += 1
            below = []
            for id_, node in level:
                for reply in self._replies.pop(id_, []):
                    node["replies"].append(self._nodes.pop(reply))
                    below.append((reply, node["replies"][-1]))
            level = below
        row = self._rows[root]
        if depth > _DEEPEST:
            return self._fault(row, "message_id", "too deep", f"a path of {depth:,} messages begins here")
        return Row(row.line, None, {"message_tree_id": root, "prompt": tree}, number=row.number)

    def _lost(self, id_: str) -> Row:
        row = self._rows[id_]
        assert row.value is not None
        what = f"no first message leads to it: {row.value['parent_id']!r} isn't in the file, or in no thread itself"
        return self._fault(row, "parent_id", "no thread", what)

    def _fault(self, row: Row, field: str, kind: str, what: str) -> Row:
        problem = CutError(kind, what, "Write the message as OASST does, or remove it.")
        return unreadable(self._file, (row.line, field), problem, row.written()).numbered(row.number)


def _true(value: Any) -> bool:
    return value.lower() in _TRUE if isinstance(value, str) else bool(value)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isdecimal() else None
    return int(value) if isinstance(value, int | float) and value == value // 1 else None
