"""The door to importing: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from pathlib import Path

from honed.data.config import BUILTIN, DataConfig
from honed.errors import DataError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: DataConfig) -> Job:
    """Start the import as a job and return it: its result names the dataset. A missing file raises ``DataError``."""
    absolute = config.model_copy(
        update={
            "files": tuple(name if name == BUILTIN else _found(name) for name in config.files),
            "heldout_file": config.heldout_file and _found(config.heldout_file),
        }
    )
    job = jobs.create(workspace, "data", absolute)
    launch.start(job)
    return job


def _found(name: str) -> str:
    """A job may be resumed from another folder: paths are kept whole. A missing file needs no job to be told."""
    path = Path(name).absolute()
    if not path.exists():
        raise DataError(f"{name}: no such file", "Check the path; it is read from the current folder.")
    return str(path)
