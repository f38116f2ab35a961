"""A process that has loaded what workers load, and forks one for each that a test starts.

``python zygote.py SOCKET OWNER`` serves until the process OWNER (pytest) is gone; the first worker of a test run starts
it. It never computes anything and has one thread, so that a fork is as good as a new process.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import os
import re
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

WARM = re.compile(r"honed\..*\.(worker|planner)|tests\.rounds\..*|tests\.numerics\.trained|torch\.distributed\.run")
"""The modules that are run this way, unless ``HONED_TESTS_COLD`` is set: ranks then have torchrun for their parent."""

LOADED = (
    "honed.evaluate.answers",
    "honed.evaluate.loss",
    "honed.models.local",
    "honed.train.loop",
    "honed.train.prepare",
    "honed.train.publish",
    "honed.train.setup",
    "torch.distributed.launcher",
    "transformers.models.llama.modeling_llama",
)

_READ_AT_IMPORT = ("CUDA", "GOMP_CPU", "HF_", "MKL", "OMP_", "TOKENIZERS_", "TORCH_", "TRANSFORMERS_", "XDG_")
_READ_LATER = ("TORCH_ELASTIC_", "TORCH_NCCL_")
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_WAIT_SECONDS = 120.0


def wanted(argv: Sequence[str]) -> bool:
    """Whether ``argv`` (``sys.orig_argv``) starts a worker in the way that honed does."""
    started = list(argv[1:3]) == ["-P", "-m"] or _is_rank(argv)
    return started and len(argv) > 3 and bool(WARM.fullmatch(argv[3])) and "HONED_TESTS_COLD" not in os.environ


def _is_rank(argv: Sequence[str]) -> bool:
    return list(argv[1:3]) == ["-u", "-m"] and sys.platform == "linux"  # by torchrun; elsewhere there is no prctl


def hand_over(path: str) -> None:
    """Have the zygote run this process's program, pass signals on, and end as it ends.

    Returns at once if the environment differs in something that libraries read when they are imported.
    """
    with socket.socket(socket.AF_UNIX) as there:
        _connect(there, path)
        bound = _is_rank(sys.orig_argv)
        if bound:
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)  # it ends with torchrun, and what it stands for too
        environment = dict(os.environ)
        program = {"argv": sys.orig_argv[3:], "folder": str(Path.cwd()), "environment": environment, "bound": bound}
        message = json.dumps(program).encode()
        socket.send_fds(there, [len(message).to_bytes(4, "big")], [0, 1, 2])
        there.sendall(message)
        pid = _number(there)
        if not pid:
            if bound:
                ctypes.CDLL(None).prctl(_DEATH_SIGNAL, 0)
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        _end(_number(there))


def _end(code: int) -> NoReturn:
    if code < 0:  # killed: this process ends in the same way
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _connect(there: socket.socket, path: str) -> None:
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not Path(path).exists():
            _start(path)
    there.connect(path)


def _start(path: str) -> None:
    owner = path.rpartition("-")[2]
    with Path(f"{path}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, path, owner],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _WAIT_SECONDS
    while not Path(path).exists():
        assert process.poll() is None and time.monotonic() < deadline, Path(f"{path}.log").read_text()
        time.sleep(0.05)


def serve(path: str, owner: int) -> None:
    """Load everything, then fork for each that asks; return in every child, which is then to run its program."""
    for module in LOADED:
        importlib.import_module(module)
    gc.freeze()  # no collection touches, and so copies, what all share
    waiting: dict[int, socket.socket] = {}
    bound: set[int] = set()
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as selector:
        door.bind(f"{path}.new")
        door.listen(64)
        Path(f"{path}.new").rename(path)  # it is there only when it answers
        selector.register(door, selectors.EVENT_READ)
        while _alive(owner):
            if selector.select(timeout=0.05 if waiting else 1.0):
                one, _ = door.accept()
                program, streams = _asked(one)
                if program is None:
                    one.sendall((0).to_bytes(4, "big"))
                    one.close()
                    continue
                pid = os.fork()
                if not pid:
                    for other in (one, *waiting.values()):
                        other.close()
                    _become(program, streams)
                    return
                for stream in streams:
                    os.close(stream)
                one.sendall(pid.to_bytes(4, "big"))
                waiting[pid] = one
                if program["bound"]:
                    bound.add(pid)
            _tell_ended(waiting)
            bound &= waiting.keys()
            _end_orphans({pid: waiting[pid] for pid in bound})
    for left in (path, f"{path}.lock", f"{path}.log"):
        Path(left).unlink(missing_ok=True)
    sys.exit()


def _asked(one: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return what is to be run, and its streams; no program if its environment needs a start of its own."""
    head, streams, _, _ = socket.recv_fds(one, 4, 3)
    length = int.from_bytes(head, "big")
    message = b""
    while len(message) < length:
        message += one.recv(length - len(message))
    program = json.loads(message)
    if _relevant(program["environment"]) != _relevant(os.environ):
        for stream in streams:
            os.close(stream)
        return None, []
    return program, streams


def _relevant(environment: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_IMPORT) and not name.startswith(_READ_LATER)
    }


def _become(program: dict[str, Any], streams: Sequence[int]) -> None:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(program["folder"])
    os.environ.clear()
    os.environ.update(program["environment"])
    sys.argv = list(program["argv"])


def _tell_ended(waiting: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            one = waiting.pop(ended[0])
            with suppress(OSError):  # who asked may have been killed
                one.sendall(os.waitstatus_to_exitcode(ended[1]).to_bytes(4, "big", signed=True))
            one.close()


def _end_orphans(bound: dict[int, socket.socket]) -> None:
    for pid, one in bound.items():
        try:
            gone = not one.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        except ConnectionError:
            gone = True
        if gone:
            os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _number(there: socket.socket) -> int:
    got = there.recv(4, socket.MSG_WAITALL)
    assert len(got) == 4, "the zygote is gone"
    return int.from_bytes(got, "big", signed=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
    if not sys.flags.safe_path:
        del sys.path[0]  # a program that is run with -P finds no modules beside this one
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
