"""Rows, jobs and a watch for the tests of scores, selection and maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from honed.config import Config, build
from honed.data.map.config import MapConfig
from honed.data.score.config import ScoreConfig
from honed.data.score.watch import Watch
from honed.data.select.config import SelectConfig
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Conversation
from honed.store.workspace import Workspace
from tests.data.curated import said

CONFIGS: dict[str, type[Config]] = {"score": ScoreConfig, "select": SelectConfig, "map": MapConfig}
THEMES = {
    "garden": "Which roses and tulips should I plant in garden soil number {}?",
    "kitchen": "Write a recipe with flour, butter and sugar for cake number {}.",
    "engine": "Explain how piston, valve and gearbox of engine number {} work.",
}


def never() -> bool:
    """Nobody asks to stop."""
    return False


def queued(workspace: Workspace, stage: str, **settings: Any) -> Job:
    """A job that no worker has run yet."""
    return jobs.create(workspace, stage, build(CONFIGS[stage], {"dataset": "set", **settings}, "test"))


def watch(workspace: Workspace, stopping: Callable[[], bool] = never) -> Watch:
    """The watch of some job."""
    return Watch(queued(workspace, "score"), stopping)


def themed(counts: dict[str, int]) -> list[Conversation]:
    """Rows on a few themes, with a tag for an audience."""
    return [
        said(THEMES[theme].format(number), f"Answer {number} says that the {theme} is fine, as it was before.")
        for theme, count in counts.items()
        for number in range(count)
    ]
