"""Run ``honed`` as a user does: in a process of its own, at a terminal of its own where it matters."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

# The launcher is told of the tests' own stage; all else is what the entry point runs.
_ENTRY = "from honed.jobs import launch; launch.WORKER = 'tests.jobs.{stage}'; from honed.cli.main import main; main()"
ROOT = Path(__file__).parents[2]


def honed(*args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``honed ARGS`` to its end, with pipes for stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-c", _ENTRY, *map(str, args)],
        cwd=cwd or ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Terminal:
    """``honed ARGS`` at a terminal: what it shows is read, keys can be pressed."""

    def __init__(self, *args: object) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENTRY, *map(str, args)],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)

    def until(self, seen: Callable[[str], bool], seconds: float = 60.0) -> None:
        """Read until ``seen(shown)``; fail the test when that doesn't come within ``seconds``."""
        deadline = time.monotonic() + seconds
        while not seen(self.shown):
            if time.monotonic() > deadline or not self._read():
                self._give_up("not seen")

    def press(self, keys: bytes) -> None:
        """Type ``keys``; ``b"\\x03"`` is Ctrl-C."""
        os.write(self._master, keys)

    def idle(self) -> None:
        """Wait until the process has slept for a while: a Ctrl-C just before it reads would wait for the next key."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        states: list[str] = []

        def asleep(_: str) -> bool:
            states.append(stat.read_text().rpartition(")")[2].split()[0])
            return states[-3:] == ["S"] * 3

        self.until(asleep)

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end and return the exit code; fail the test when the end doesn't come within ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._read():
            if time.monotonic() > deadline:
                self._give_up("not ended")
        os.close(self._master)
        return self._process.wait(timeout=seconds)

    def _give_up(self, what: str) -> NoReturn:
        self._process.kill()
        self._process.wait()
        os.close(self._master)
        pytest.fail(f"{what}: {self.shown!r}")

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # how a terminal says that its last process is gone
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
