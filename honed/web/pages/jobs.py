"""``/jobs`` and ``/jobs/{id}``: what runs and ran, with a curve that grows while one looks on."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from plotly.offline import get_plotlyjs_version

from honed.jobs import describe
from honed.store.workspace import Workspace
from honed.web.api import jobs
from honed.web.guard import POLICY
from honed.web.render import page


def router(workspace: Workspace) -> APIRouter:
    """The list, which follows the jobs by itself, and a job's own page."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/jobs")
    def all_jobs() -> HTMLResponse:
        return page("jobs.html", here="jobs", jobs=jobs.listing(workspace))

    @routes.get("/jobs/{id_}")
    def one(id_: str) -> HTMLResponse:
        job = describe.describe(jobs.find(workspace, id_))
        response = page("job.html", here="jobs", job=job, plotly_version=get_plotlyjs_version())
        response.headers["Content-Security-Policy"] = f"{POLICY}; style-src 'self' 'unsafe-inline'"  # plotly's own
        return response

    return routes
