"""honed: the whole instruction fine-tuning loop in one tool.

The public names are loaded when they are used, and none of them loads torch: work runs in jobs of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from honed.version import __version__

if TYPE_CHECKING:
    from honed.data.config import DataConfig
    from honed.data.run import run as start_import
    from honed.errors import HonedError
    from honed.evaluate.compare import compare_jobs
    from honed.evaluate.config import EvaluateConfig
    from honed.evaluate.run import run as start_evaluation
    from honed.jobs.job import Job
    from honed.jobs.launch import wait
    from honed.records import Check, Conversation, Message, Preference, Score
    from honed.rounds.config import RoundConfig
    from honed.rounds.lineage import explain
    from honed.rounds.promote import promote, rollback
    from honed.rounds.run import run as start_round
    from honed.store.workspace import Workspace
    from honed.store.workspace import init as init_workspace
    from honed.store.workspace import open_at as open_workspace
    from honed.train.config import TrainConfig
    from honed.train.run import run as start_training

_HOMES = {
    "Check": "honed.records:Check",
    "Conversation": "honed.records:Conversation",
    "DataConfig": "honed.data.config:DataConfig",
    "EvaluateConfig": "honed.evaluate.config:EvaluateConfig",
    "HonedError": "honed.errors:HonedError",
    "Job": "honed.jobs.job:Job",
    "Message": "honed.records:Message",
    "Preference": "honed.records:Preference",
    "RoundConfig": "honed.rounds.config:RoundConfig",
    "Score": "honed.records:Score",
    "TrainConfig": "honed.train.config:TrainConfig",
    "Workspace": "honed.store.workspace:Workspace",
    "compare_jobs": "honed.evaluate.compare:compare_jobs",
    "explain": "honed.rounds.lineage:explain",
    "init_workspace": "honed.store.workspace:init",
    "open_workspace": "honed.store.workspace:open_at",
    "promote": "honed.rounds.promote:promote",
    "rollback": "honed.rounds.promote:rollback",
    "start_evaluation": "honed.evaluate.run:run",
    "start_import": "honed.data.run:run",
    "start_round": "honed.rounds.run:run",
    "start_training": "honed.train.run:run",
    "wait": "honed.jobs.launch:wait",
}

__all__ = [  # noqa: RUF022 - in the order of the loop
    "__version__",
    "init_workspace",
    "open_workspace",
    "Workspace",
    "DataConfig",
    "start_import",
    "TrainConfig",
    "start_training",
    "EvaluateConfig",
    "start_evaluation",
    "compare_jobs",
    "RoundConfig",
    "start_round",
    "promote",
    "rollback",
    "explain",
    "wait",
    "Job",
    "Message",
    "Check",
    "Conversation",
    "Preference",
    "Score",
    "HonedError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'honed' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)
