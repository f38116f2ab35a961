"""A judge that isn't one: a server on loopback that says what a script returns for the answers it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.loopback import Answer, Body, Endpoint, endpoint, error


class Seen(NamedTuple):
    """A question as the script gets it: both answers as they are shown (or one), and whether it is asked again."""

    prompt: str
    first: str
    second: str
    again: bool


Script = Callable[[int, Seen], str | int | Answer]
"""Returns the reply's text, or an HTTP status to fail with, of a request's number and what it asks."""


def verdict(name: str, reason: str = "Because.") -> str:
    return json.dumps({"reason": reason, "verdict": name})


def longer(_: int, seen: Seen) -> str:
    """Prefer the longer answer, whatever it says."""
    if len(seen.first) == len(seen.second):
        return verdict("tie")
    return verdict("A" if len(seen.first) > len(seen.second) else "B")


@contextmanager
def serving(script: Script) -> Iterator[Endpoint]:
    def answer(number: int, body: Body) -> Answer:
        said = script(number, _seen(body))
        if isinstance(said, Answer):
            return said
        return error(said, "gone") if isinstance(said, int) else Answer(said, usage=(100, 10))

    with endpoint(answer) as served:
        yield served


def _seen(body: Body) -> Seen:
    messages = body["messages"]
    blocks = dict(re.findall(r"\[([\w ]+?) [0-9a-f]{8}\]\n(.*?)\n\[end of \1", messages[1]["content"], re.DOTALL))
    first = blocks.get("answer A", blocks.get("answer", ""))
    return Seen(blocks["conversation"], first, blocks.get("answer B", ""), len(messages) > 2)
