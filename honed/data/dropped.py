"""``dropped.jsonl``: what an import, a curation or a mix left out, each row with its reason, beside the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from honed.records import Fault

FILE = "dropped.jsonl"


def line(fault: Fault, text: str) -> bytes:
    """Return a line of the file: the fault, and the row as it stands in its source."""
    row = text.encode(errors="backslashreplace").decode()  # a row may be left out because it isn't UTF-8
    return orjson.dumps({"fault": fault.model_dump(), "row": row}, option=orjson.OPT_APPEND_NEWLINE)


def read(folder: Path) -> Iterator[tuple[Fault, str]]:
    """Yield each fault and its row's text from the file in ``folder``, which may have none."""
    path = folder / FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        for data in file:
            plain = orjson.loads(data)
            yield Fault(**plain["fault"]), plain["row"]
