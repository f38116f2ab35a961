"""``honed serve`` in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serve.site import WAIT

ROOT = Path(__file__).parents[2]


class Server:
    """A running ``honed serve``: where it is, and its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        line = process.stdout.readline()
        assert line, self.ended()
        self.url = str(json.loads(line)["url"])

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was said on stderr."""
        _, said = self.process.communicate(timeout=WAIT)
        return self.process.returncode, said


@contextmanager
def honed_serve(*args: object, **env: str) -> Iterator[Server]:
    """Start ``honed serve ARGS`` on a free port and wait until it is ready; kill it if it is still there after."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.serve.served", "serve", *map(str, args), "--port", "0", "--json"],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()
