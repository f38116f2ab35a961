"""The curve's own worker, whose jobs are the quick stages beside this file."""

from __future__ import annotations

from honed.jobs import launch
from honed.jobs.worker import main
from honed.rounds.curve.worker import work

if __name__ == "__main__":
    launch.WORKER = "tests.rounds.curve.fakes.{stage}"
    main(work)
