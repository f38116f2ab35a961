"""All that a job's folder says, as one document: what the command line and the web page both show."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from honed.jobs import events
from honed.jobs.events import Note, Step
from honed.jobs.job import Job

_LOG_LINES = 15
_LOG_BYTES = 65_536


def summary(job: Job) -> dict[str, Any]:
    """Return the job's id and status, as they are listed, as a mapping."""
    return {"id": job.id, **job.listed().model_dump()}


def describe(job: Job) -> dict[str, Any]:
    """Return id, path, status, settings, the last step of each stage, notes, result (or None), files and log's end."""
    status = job.status()  # first: it says what is wrong with a folder that can't be looked into
    latest: dict[str, Step] = {}
    notes: list[str] = []
    for event, _ in events.read(job.path / "events.jsonl"):
        if isinstance(event, Step):
            latest[event.stage] = event
        elif isinstance(event, Note):
            notes.append(event.text)
    return {
        "id": job.id,
        "path": str(job.path),
        "status": status.model_dump(),
        "settings": job.settings(),
        "progress": [event.model_dump() for event in latest.values()],
        "notes": notes,
        "result": job.result() if (job.path / "result.json").exists() else None,
        "files": _files(job.path),
        "log": _end(job.path / "log.txt"),
    }


def _files(folder: Path) -> dict[str, int]:
    """The sizes of the job's files; what goes while they are looked at, as an old checkpoint does, is left out."""
    found: dict[str, int] = {}
    for within, _, names in os.walk(folder):
        for name in names:
            path = Path(within) / name
            with suppress(FileNotFoundError):
                if not name.startswith(".") and stat.S_ISREG((about := path.stat()).st_mode):
                    found[str(path.relative_to(folder))] = about.st_size
    return dict(sorted(found.items()))


def _end(log: Path) -> list[str]:
    """The log's last lines, of its last bytes alone. What a bar draws anew, behind a carriage return, is a line too."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES)
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    return (lines[1:] if start and len(lines) > 1 else lines)[-_LOG_LINES:]  # the first was cut
