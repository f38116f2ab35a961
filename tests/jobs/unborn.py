"""A worker that never begins: it sleeps where others load what they need. ``python -m tests.jobs.unborn FOLDER``."""

from __future__ import annotations

import time

if __name__ == "__main__":
    time.sleep(120)
