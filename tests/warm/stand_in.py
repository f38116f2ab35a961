"""What a worker's own process does when the zygote runs its program: it hands it over, and ends as that ends.

Every Python that a test starts reads this, so it imports little before it knows that it is one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket

WARM = (
    r"honed\..*\.(worker|planner)|tests\.jobs\.counting|tests\.rounds\..*|tests\.numerics\.trained|tests\.serve\.served|"
    r"torch\.distributed\.run"
)
"""The modules that are run this way, unless ``HONED_TESTS_COLD`` is set: ranks then have torchrun for their parent."""

_COLD_RANK = "tests.jobs.counting"
"""Whose ranks are torchrun's own children, as a test of what a kill leaves behind needs them."""

_BOUND = "tests.serve.served"
"""What ends when its stand-in is killed, as ranks do: a test that kills a server means the server."""

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_WAIT_SECONDS = 120.0


def wanted(argv: Sequence[str]) -> bool:
    """Whether ``argv`` (``sys.orig_argv``) starts a worker in the way that honed does."""
    if len(argv) < 4 or not (list(argv[1:3]) == ["-P", "-m"] or _is_rank(argv)) or "HONED_TESTS_COLD" in os.environ:
        return False
    import re

    if _is_rank(argv) and argv[3] == _COLD_RANK:
        return False
    return bool(re.fullmatch(WARM, argv[3]))


def _is_rank(argv: Sequence[str]) -> bool:
    return list(argv[1:3]) == ["-u", "-m"] and sys.platform == "linux"  # by torchrun; elsewhere there is no prctl


def hand_over(path: str) -> None:
    """Have the zygote run this process's program, pass signals on, and end as it ends.

    Returns at once if the environment differs in something that libraries read when they are imported.
    """
    import ctypes
    import json
    import signal
    import socket

    with socket.socket(socket.AF_UNIX) as there:
        _connect(there, path)
        rank = _is_rank(sys.orig_argv)
        if rank:
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)  # it ends with torchrun, and what it stands for too
        environment = dict(os.environ)
        program = {"argv": sys.orig_argv[3:], "folder": os.getcwd(), "environment": environment}  # noqa: PTH109
        program["bound"] = rank or sys.orig_argv[3] == _BOUND
        message = json.dumps(program).encode()
        socket.send_fds(there, [len(message).to_bytes(4, "big")], [0, 1, 2])
        there.sendall(message)
        pid = _number(there)
        if not pid:
            if rank:
                ctypes.CDLL(None).prctl(_DEATH_SIGNAL, 0)
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        _end(_number(there))


def _end(code: int) -> NoReturn:
    import signal

    if code < 0:  # killed: this process ends in the same way
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _connect(there: socket.socket, path: str) -> None:
    import fcntl

    with open(f"{path}.lock", "w") as lock:  # noqa: PTH123 - pathlib is long to load
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):  # noqa: PTH110
            _start(path)
    there.connect(path)


def _start(path: str) -> None:
    import subprocess
    import time
    from pathlib import Path

    owner = path.rpartition("-")[2]
    with Path(f"{path}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py")), path, owner],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _WAIT_SECONDS
    while not Path(path).exists():
        assert process.poll() is None and time.monotonic() < deadline, Path(f"{path}.log").read_text()
        time.sleep(0.05)


def _number(there: socket.socket) -> int:
    import socket

    got = there.recv(4, socket.MSG_WAITALL)
    assert len(got) == 4, "the zygote is gone"
    return int.from_bytes(got, "big", signed=True)
