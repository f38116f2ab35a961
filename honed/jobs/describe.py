"""All that a job's folder says, as one document: what the command line and the web page both show."""

from __future__ import annotations

from typing import Any

from honed.jobs.events import Note, Step
from honed.jobs.job import Job

_LOG_LINES = 15


def summary(job: Job) -> dict[str, Any]:
    """Return the job's id and status, as they are listed, as a mapping."""
    return {"id": job.id, **job.listed().model_dump()}


def describe(job: Job) -> dict[str, Any]:
    """Return id, path, status, settings, the last step of each stage, notes, result (or None), files and log's end."""
    seen = job.events()
    latest = {event.stage: event.model_dump() for event in seen if isinstance(event, Step)}
    log = job.path / "log.txt"
    return {
        "id": job.id,
        "path": str(job.path),
        "status": job.status().model_dump(),
        "settings": job.settings(),
        "progress": list(latest.values()),
        "notes": [event.text for event in seen if isinstance(event, Note)],
        "result": job.result() if (job.path / "result.json").exists() else None,
        "files": {
            str(path.relative_to(job.path)): path.stat().st_size
            for path in sorted(job.path.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        },
        "log": log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else [],
    }
