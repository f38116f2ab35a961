"""MLflow: the server that MLFLOW_TRACKING_URI names, else a SQLite file in the workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from honed.jobs.job import State
from honed.jobs.trackers.tracker import PROJECT, Backend, Run

_TAG = "honed.job"
_STATES = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "interrupted": "KILLED"}
_LONGEST = 5_000
"""Characters of a tag or a parameter that MLflow takes at least."""


class MLflow:
    """A run. Texts are tags, so that they need no store of files."""

    def __init__(self, client: Any, id_: str, uri: str) -> None:
        self._client, self._id = client, id_
        self._waiting: list[Any] = []
        self.where = (
            uri if "://" in uri and not uri.startswith("sqlite") else f"{uri} (mlflow ui --backend-store-uri {uri})"
        )

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Hold the numbers back until there are enough for one request."""
        from mlflow.entities import Metric

        self._waiting += [Metric(name, value, int(1000 * when), step) for name, value in values.items()]
        if len(self._waiting) >= 200:
            self.flush()

    def text(self, name: str, text: str, step: int, when: float) -> None:  # noqa: ARG002 - a tag has no time
        """Set a tag, numbered."""
        self._client.set_tag(self._id, f"{name}.{step:04}", text[:_LONGEST])

    def close(self, state: State) -> None:
        """Send what is held back; a run whose job goes on stays open."""
        self.flush()
        if state in _STATES:
            self._client.set_terminated(self._id, _STATES[state])

    def flush(self) -> None:
        """Send what is held back."""
        if self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting)
            self._waiting = []


def begin(run: Run) -> MLflow:
    """Create the job's run in the experiment ``honed`` (MLFLOW_EXPERIMENT_NAME), or find it again."""
    client, uri, name = _client(run)
    if id_ := _found(client, name, run):
        client.update_run(id_, status="RUNNING")
        return MLflow(client, id_, uri)
    from mlflow.entities import Param

    experiment = client.get_experiment_by_name(name)
    home = experiment.experiment_id if experiment else client.create_experiment(name)
    tags = {_TAG: run.name, "honed.stage": run.stage}
    id_ = client.create_run(home, start_time=int(1000 * run.started), tags=tags, run_name=run.name).info.run_id
    client.log_batch(id_, params=[Param(key, str(value)[:_LONGEST]) for key, value in run.settings.items()])
    return MLflow(client, id_, uri)


def home(run: Run) -> str:
    """Return the id of the job's run: no other has it, whichever its server, database and experiment are called."""
    client, _, name = _client(run)
    return _found(client, name, run)


def _client(run: Run) -> tuple[Any, str, str]:
    """Return a client, its URI and the experiment's name."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # honed has no telemetry, and starts none
    from mlflow.tracking import MlflowClient

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.workspace / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri), uri, os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)


def _found(client: Any, name: str, run: Run) -> str:
    """Return the id of the run that has the job's tag, "" if there is none or it was deleted."""
    experiment = client.get_experiment_by_name(name)
    where = [experiment.experiment_id] if experiment else []
    found = client.search_runs(where, filter_string=f"tags.`{_TAG}` = '{run.name}'", max_results=1) if where else []
    return found[0].info.run_id if found else ""


backend = Backend("mlflow", begin, home)
