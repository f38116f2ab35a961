"""Files of rows for the tests, and what honed says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from honed.data.config import DataConfig
from honed.data.intake import Refused, Taken
from honed.data.shapes.drawn import Drawn
from honed.data.sources.row import Meter
from honed.data.survey import Survey, Wanted, surveying
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Conversation, Fault, Preference, Rating
from honed.store.workspace import Workspace


def alpaca(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"question {number}", "input": "", "output": f"answer {number}", **more}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class Good(NamedTuple):
    """A usable row: its line, its records, its warnings."""

    line: int
    records: list[Conversation | Preference | Rating]
    warnings: tuple[Fault, ...]

    @property
    def row(self) -> Conversation:
        """The only record, a conversation."""
        (record,) = self.records
        assert isinstance(record, Conversation)
        return record


def taken(path: Path, **wanted: Any) -> tuple[Survey, list[Good], list[Fault]]:
    """The counts, the usable rows and the faults of a file, read through both doors: blocks, and row by row."""
    with surveying(str(path), Wanted(**wanted), Meter()) as survey:
        found = list(survey.rows())
    with surveying(str(path), Wanted(**wanted), Meter()) as survey:
        reads = list(survey.reads(keep=True))
    object.__setattr__(survey.manner, "file", path.name)
    wrong = [fault for read in reads for refused in read.refused for fault in refused.faults]
    assert wrong[: len(wrong)] == [f for one in found if isinstance(one, Refused) for f in one.faults] or not found
    good = [
        Good(
            one.source.line,
            [record.record() if isinstance(record, Drawn) else record for record in one.records],
            one.warnings,
        )
        for one in found
        if isinstance(one, Taken)
    ]
    assert survey.counts.usable == len(good)
    return survey, good, [fault.model_copy(update={"file": path.name}) for fault in wrong]


def suspicious(path: Path, **wanted: Any) -> list[tuple[int, str, str]]:
    """Line, field and kind of each warning."""
    return [(one.line, one.field, one.kind) for good in taken(path, **wanted)[1] for one in good.warnings]


def faults(path: Path, **wanted: Any) -> list[tuple[int, str, str]]:
    """Line, field and kind of each fault."""
    return [(fault.line, fault.field, fault.kind) for fault in taken(path, **wanted)[2]]


def queued(workspace: Workspace, files: Sequence[Path], name: str = "set", **more: Any) -> Job:
    """A job that imports the files, not started."""
    return jobs.create(workspace, "data", DataConfig(name=name, files=tuple(map(str, files)), **more))
