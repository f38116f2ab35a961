"""The process that tracks a job from beside it: ``python -m honed.jobs.trackers.beside <job folder> <tracker>``.

Nothing waits for it, it asks for little of the machine, and whatever goes wrong in it is a note in the job's events:
the job goes on.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from honed.errors import HonedError
from honed.jobs.job import Job
from honed.jobs.trackers.reader import track
from honed.jobs.trackers.tracker import masked

_NICE = 10


def main(folder: str, name: str) -> int:
    """Track until the job ends; return 0, or 1 after a failure that was said."""
    os.nice(_NICE)
    job = Job(Path(folder).resolve())
    try:
        track(job, name, follow=True, wait=True)
    except Exception as error:  # noqa: BLE001 - whatever a tracker's package raises, the job goes on
        sys.stderr.write(masked(traceback.format_exc()))
        what = f"{error.message} {error.hint}" if isinstance(error, HonedError) else f"{type(error).__name__}: {error}"
        said = masked(" ".join(what.split()))
        job.log.note(f"tracking to {name} failed, the job goes on: {said} (honed jobs track {job.id} --to {name})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
