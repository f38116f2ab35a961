"""Conversations as OASST trees: those with the same first turn, tags and check grow into one tree.

What rows begin with in common stands in a tree once. A tree's rows are its paths to a last answer, so a row that
another one goes on from is no row of its own; an answer on several paths is learned in the first of them
(``shapes.tree``). All trees are held in memory: which rows share turns is known at the end only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from honed.data.forms.held import Form, Record, Row, Tally, UnheldError, conversation, lost, more, opening, spoken
from honed.records import Conversation, digest

_DEEPEST = 100
"""Turns of a path: each nests JSON two levels deeper, and writers and readers of it stop at some 250."""
_ROLES = {"user": "prompter"}
_BEGUN = "that another row goes on from, or repeats"


@dataclass(slots=True)
class _Node:
    """A message, what was replied to it, and the row that ends with it."""

    role: str
    text: str
    replies: dict[tuple[str, str], _Node] = field(default_factory=dict)
    row: Conversation | None = None


@dataclass
class _Tree:
    """The fields that a tree has besides its messages, and the first of these. ``learned``: answers met on a path."""

    id: str
    own: Row
    root: _Node
    learned: set[int] = field(default_factory=set)

    def grown(self, node: _Node, path: tuple[_Node, ...], tally: Tally) -> Row:
        """Return a message with all that is below it; count the rows that end there."""
        path = (*path, node)
        if node.row and node.replies:
            tally.leave(node.row, _BEGUN)
        elif node.row:
            tally.written += 1
            tally.lost.update(lost(node.row) + (() if self._weighed(node.row, path) else ("weights",)))
        id_ = digest([self.id, *((one.role, one.text) for one in path)])
        replies = [self.grown(reply, path, tally) for reply in node.replies.values()]
        return {"message_id": id_, "text": node.text, "role": _ROLES.get(node.role, node.role), "replies": replies}

    def _weighed(self, row: Conversation, path: tuple[_Node, ...]) -> bool:
        """Tell whether the row's weights are those that its path will be read with."""
        read = [0.0 if id(node) in self.learned else 1.0 for node in path]
        self.learned.update(id(node) for node in path if node.role == "assistant")
        return [turn.weight for turn in row.messages] == [1.0] * (len(row.messages) - len(path)) + read


def _rows(records: Iterable[Record], tally: Tally) -> Iterator[Row]:
    trees: dict[str, _Tree] = {}
    for record in records:
        try:
            _plant(trees, record)
        except UnheldError as error:
            tally.leave(record, error.reason)
    for tree in trees.values():
        prompt = tree.grown(tree.root, (), tally)
        yield {"message_tree_id": tree.id, "tree_state": "ready_for_export", "prompt": prompt, **tree.own}


def _plant(trees: dict[str, _Tree], record: Record) -> None:
    row = conversation(record)
    system, turns = opening(row.messages)
    spoken(turns)
    if len(turns) > _DEEPEST:
        raise UnheldError(f"of more than {_DEEPEST} turns")
    own = {**system, **more(row, "tags", "check")}
    id_ = digest([own, turns[0].content])
    node = trees.setdefault(id_, _Tree(id_, own, _Node("user", turns[0].content))).root
    for turn in turns[1:]:
        node = node.replies.setdefault((turn.role, turn.content), _Node(turn.role, turn.content))
    if node.row or node.replies:
        raise UnheldError(_BEGUN)
    node.row = row


OASST = Form(_rows)
