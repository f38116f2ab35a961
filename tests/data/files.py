"""Files of rows for the tests, and what honed says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from honed.data.config import DataConfig
from honed.data.intake import Intake, Refused, Taken, taking
from honed.data.sources.row import Meter
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Fault
from honed.store.workspace import Workspace


def alpaca(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"question {number}", "input": "", "output": f"answer {number}", **more}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def taken(path: Path) -> tuple[Intake, list[Taken], list[Fault]]:
    """The counts, the usable rows and the faults of a file."""
    with taking(path, path.name, None, Meter()) as (intake, rows):
        found = list(rows)
    good = [row for row in found if isinstance(row, Taken)]
    return intake, good, [fault for row in found if isinstance(row, Refused) for fault in row.faults]


def faults(path: Path) -> list[tuple[int, str, str]]:
    """Line, field and kind of each fault."""
    return [(fault.line, fault.field, fault.kind) for fault in taken(path)[2]]


def queued(workspace: Workspace, files: Sequence[Path], name: str = "set", **more: Any) -> Job:
    """A job that imports the files, not started."""
    return jobs.create(workspace, "data", DataConfig(name=name, files=tuple(map(str, files)), **more))
