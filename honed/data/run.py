"""The door to importing: settings in, a running job out. Loads no data and no model."""

from __future__ import annotations

from honed.data.config import BUILTIN, DataConfig
from honed.data.sources.find import found
from honed.errors import DataError
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.store.workspace import Workspace


def run(workspace: Workspace, config: DataConfig) -> Job:
    """Start the import as a job and return it: its result names the dataset.

    Folders and patterns become the files they stand for now, paths absolute: a job may be resumed from another folder.
    Raises ``DataError`` if a name stands for no file.
    """
    files = (BUILTIN,) if BUILTIN in config.files else tuple(found(config.files))
    heldout = found([config.heldout_file]) if config.heldout_file else []
    if len(heldout) > 1:
        raise DataError(f"{config.heldout_file}: {len(heldout)} files, and held-out rows come from one", "Name one.")
    update = {"files": tuple(one for one in files if one not in heldout), "heldout_file": next(iter(heldout), None)}
    job = jobs.create(workspace, "data", config.model_copy(update=update))
    launch.start(job)
    return job
