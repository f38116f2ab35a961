"""``dropped.jsonl``: what an import, a curation or a mix left out, each row with its reason, beside the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from honed.records import Fault

FILE = "dropped.jsonl"


class Left(NamedTuple):
    """A row that was left out: why (the first fault is the one it is counted by), and how it stands in its source."""

    faults: tuple[Fault, ...]
    row: str


def line(fault: Fault, text: str, more: Sequence[Fault] = ()) -> bytes:
    """Return a line of the file: a row as it stands in its source, with its fault, and perhaps ``more`` of them."""
    row = text.encode(errors="backslashreplace").decode()  # a row may be left out because it isn't UTF-8
    faults = [one.model_dump() for one in (fault, *more)]
    return orjson.dumps({"faults": faults, "row": row}, option=orjson.OPT_APPEND_NEWLINE)


def read(folder: Path) -> Iterator[tuple[Fault, str]]:
    """Yield each fault with its row's text from the file in ``folder``, which may have none."""
    yield from ((fault, left.row) for left in rows(folder) for fault in left.faults)


def rows(folder: Path) -> Iterator[Left]:
    """Yield each row that was left out, once, from the file in ``folder``, which may have none."""
    path = folder / FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        for data in file:
            plain = orjson.loads(data)
            yield Left(tuple(Fault(**fault) for fault in plain["faults"]), plain["row"])
