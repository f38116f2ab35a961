"""A process that has loaded what workers load, and forks one for each that a test starts.

``python zygote.py SOCKET OWNER`` serves until the process OWNER (pytest) is gone; the first worker of a test run starts
it. It never computes anything and has one thread, so that a fork is as good as a new process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

LOADED = (
    "honed.evaluate.answers",
    "honed.evaluate.loss",
    "honed.models.live",
    "honed.models.local",
    "honed.serve.opened",
    "honed.store.interactions",
    "honed.train.loop",
    "honed.train.prepare",
    "honed.train.publish",
    "honed.train.setup",
    "honed.web.app",
    "scipy.optimize",
    "torch.distributed.launcher",
    "transformers.convert_slow_tokenizer",
    "transformers.integrations.mistral",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers",
)

_READ_AT_IMPORT = ("CUDA", "GOMP_CPU", "HF_", "MKL", "OMP_", "TOKENIZERS_", "TORCH_", "TRANSFORMERS_", "XDG_")
_READ_LATER = ("TORCH_ELASTIC_", "TORCH_NCCL_")


def serve(path: str, owner: int) -> None:
    """Load everything, then fork for each that asks; return in every child, which is then to run its program."""
    for module in LOADED:
        importlib.import_module(module)
    with suppress(ImportError):  # what every load of a model builds first: some 900 patterns
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("llama")
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


def _run(module: str) -> NoReturn:
    """Run a module as ``python -m`` does, and end without taking the interpreter down, which would touch all it shares.

    What a program leaves to be done at its end is done: threads that are waited for, ``atexit``, streams.
    """
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201 - as Python does
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
    if not sys.flags.safe_path:
        del sys.path[0]  # a program that is run with -P finds no modules beside this one
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _run(sys.argv[0])
