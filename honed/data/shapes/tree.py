"""OASST trees: a prompt with replies, each with replies of its own; every path to a leaf, or the best-ranked one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from honed.data.shapes.reading import Reading
from honed.data.shapes.turns import ROLES, Turn
from honed.data.sources.decode import kind_of
from honed.data.sources.where import Path

FIELDS = frozenset({"prompt", "message_tree_id", "tree_state", "origin", "message_id"})
_UNRANKED = 2**31


def read(reading: Reading) -> None:
    """Make a record of each path from the prompt to an answer that no answer follows; a deleted message ends a path.

    An answer that several paths pass through carries its loss in the first of them only, so that each is learned once.
    """
    reading.fields = ("prompt",)
    root = reading.value.get("prompt")
    if not isinstance(root, dict):
        reading.wrong(("prompt",), "wrong type", "a message with 'text' and 'replies' is needed here", "Write a tree.")
        return
    system = reading.system()
    said: list[list[Turn]] = []
    learned: set[Path] = set()
    for path in _paths(reading, root, ("prompt",), best=reading.paths == "best"):
        turns = [turn._replace(weight=0.0) if turn.path in learned else turn for turn in path]
        learned.update(turn.path for turn in path if turn.role == "assistant")
        said.append([*system, *turns])
    if not said and not reading.problems:
        reading.wrong(("prompt", "replies"), "no answer", "nobody answered this prompt", "Remove the tree.")
    reading.conversations(*said)


def _paths(reading: Reading, node: Mapping[str, Any], path: Path, *, best: bool) -> Iterator[list[Turn]]:
    """Yield each path below a message, the message included, that ends in an answer."""
    turn = _turn(reading, node, path)
    if turn is None:
        return
    listed = node.get("replies") or []
    if not isinstance(listed, list):
        what = f"a list of replies is needed here, not {kind_of(listed)}"
        reading.wrong((*path, "replies"), "wrong type", what, "Write the message as OASST does.")
        return
    replies = [
        (place, reply) for place, reply in enumerate(listed) if isinstance(reply, dict) and not reply.get("deleted")
    ]
    replies.sort(key=lambda one: _rank(one[1]))
    any_below = False
    for place, reply in replies[:1] if best else replies:
        for below in _paths(reading, reply, (*path, "replies", place), best=best):
            any_below = True
            yield [turn, *below]
    if not any_below and turn.role == "assistant":
        yield [turn]


def _turn(reading: Reading, node: Mapping[str, Any], path: Path) -> Turn | None:
    text, role = node.get("text"), node.get("role")
    known = ROLES.get(role) if isinstance(role, str) else None
    if not isinstance(text, str) or known is None:
        what = "a message has a text 'text' and a role 'prompter' or 'assistant'"
        reading.wrong(path, "wrong type", what, "Write the message as OASST does.")
        return None
    return Turn(known, text, (*path, "text"))


def _rank(node: Mapping[str, Any]) -> int:
    rank = node.get("rank")
    return rank if isinstance(rank, int) else _UNRANKED
