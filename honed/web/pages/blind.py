"""``/`` of a blind comparison: two answers side by side, and what a person says of them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from pydantic import Field

from honed.evaluate.judge.ballots import Ballots, Choice, Place
from honed.records import Record
from honed.web.render import page

_DAY = 24 * 3600


class Taken(Record):
    """What a person says of a pair, and how many seconds it took."""

    rater: str
    pair: str
    choice: Choice
    seconds: float = Field(default=0.0, ge=0, le=_DAY)


def router(ballots: Ballots, guide: str) -> APIRouter:
    """The page, the pair that is next for a rater, the one before, and the labels."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def judging() -> HTMLResponse:
        return page("blind.html", here="blind", guide=guide, total=ballots.total)

    @routes.get("/api/pairs/next")
    def following(rater: str) -> Place:
        return ballots.at(rater)

    @routes.get("/api/pairs/last")
    def before(rater: str) -> Place:
        return ballots.before(rater)

    @routes.post("/api/labels")
    def label(taken: Taken) -> Place:
        ballots.take(taken.rater, taken.pair, taken.choice, taken.seconds)
        return ballots.at(taken.rater)

    return routes
