"""``/api/jobs``: the workspace's jobs as JSON, and a job's events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import orjson
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from honed.errors import JobError, RequestError
from honed.jobs import describe, events
from honed.jobs import job as jobs
from honed.jobs.job import GOING, Job
from honed.store.workspace import Workspace

_POLL_SECONDS = 0.25
_BATCH = 500  # events in one message: a long job's past arrives in few


def router(workspace: Workspace) -> APIRouter:
    """List jobs, show one, and stream one's events."""
    routes = APIRouter(prefix="/api/jobs", tags=["jobs"])

    @routes.get("")
    def all_jobs() -> dict[str, Any]:
        return {"jobs": listing(workspace)}

    @routes.get("/{id_}")
    def one(id_: str) -> dict[str, Any]:
        return describe.describe(find(workspace, id_))

    @routes.get("/{id_}/events")
    async def live(id_: str, request: Request, last_event_id: str = Header(default="0")) -> StreamingResponse:
        if not last_event_id.isdecimal() or len(last_event_id) > 18:
            raise RequestError("Last-Event-ID isn't a position in events.jsonl", param="Last-Event-ID")
        job = await asyncio.to_thread(find, workspace, id_)
        await asyncio.to_thread(job.status)  # what is wrong with it is said before the stream has begun
        quiet = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _stream(job, int(last_event_id), request), media_type="text/event-stream", headers=quiet
        )

    return routes


def listing(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the id and status of every job, newest first."""
    return [describe.summary(job) for job in reversed(jobs.listing(workspace))]


def find(workspace: Workspace, id_: str) -> Job:
    """Return the job named ``id_``. Raises ``RequestError`` (404) if there is none."""
    try:
        return jobs.find(workspace, id_)
    except JobError as error:
        raise RequestError(error.message, error.hint, status=404, code="job_not_found") from error


async def _stream(job: Job, start: int, request: Request) -> AsyncIterator[bytes]:
    """Yield server-sent events: lists of the job's events, each with the byte behind it as its id, then ``end``.

    A browser that lost the connection names the last id it saw, and goes on from there.
    """
    while not await request.is_disconnected():
        ended = (await asyncio.to_thread(job.status)).state not in GOING
        batch, start = await asyncio.to_thread(_read, job, start)
        if batch:
            yield b"id: %d\ndata: %s\n\n" % (start, orjson.dumps(batch))
        elif ended:
            yield b"event: end\ndata: {}\n\n"
            return
        else:
            await asyncio.sleep(_POLL_SECONDS)


def _read(job: Job, start: int) -> tuple[list[dict[str, Any]], int]:
    found = list(islice(events.read(job.path / "events.jsonl", start), _BATCH))
    return [event.model_dump() for event, _ in found], found[-1][1] if found else start
