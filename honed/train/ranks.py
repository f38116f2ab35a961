"""The processes that train together: which of them this one is, and the few words that they exchange.

torchrun or Ray starts one process a rank. Gradients go through ``placement.py``; what is said here is small, is JSON
and goes through the hosts' memory (gloo), so that a rank that has died is noticed at once, whatever the GPUs are doing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist

from honed.errors import ConfigError, HonedError

R = TypeVar("R")

_PATIENCE = timedelta(days=1)
"""How long a rank waits for the words of others, while rank 0 fetches a base of many gigabytes, say. One that has died
is noticed by its closed connection, not by this."""


@dataclass(frozen=True)
class Ranks:
    """This process is number ``number`` of ``size``; ``backend`` is what carries gradients between them."""

    number: int = 0
    size: int = 1
    backend: str = "none"
    words: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes: events, checkpoints, the model."""
        return self.number == 0

    def exchange(self, mine: Any) -> list[Any]:
        """Return what every rank gave, in the order of the ranks. Every rank must call it; JSON holds what is given."""
        if self.size == 1:
            return [mine]
        said = json.dumps(mine).encode()
        sizes = self._gather(torch.tensor([len(said)]))
        longest = max(int(size) for size in sizes)
        padded = torch.frombuffer(bytearray(said.ljust(longest)), dtype=torch.uint8)
        return [json.loads(bytes(words.tolist())) for words in self._gather(padded)]

    def total(self, mine: Mapping[str, float]) -> dict[str, float]:
        """Return the sums over the ranks, name by name; a rank may lack a name. Equal on every rank to the last bit."""
        sums: dict[str, float] = {}
        for given in self.exchange(dict(mine)):
            for name, value in given.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank."""
        return any(self.exchange(flag))

    def agreed(self, value: R) -> R:
        """Return what rank 0 gave, on every rank."""
        found: R = self.exchange(value if self.first else None)[0]
        return found

    def together(self, work: Callable[[], R]) -> R:
        """Do ``work`` on every rank; a ``HonedError`` on one of them is raised on all, so that none waits in vain."""
        fault: HonedError | None = None
        try:
            done = work()
        except HonedError as error:
            fault = error
        said = self.exchange([fault.message, fault.hint] if fault else None)
        if fault:
            raise fault
        if others := [words for words in said if words]:
            raise HonedError(*others[0])
        return done

    def _gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(found, tensor, group=self.words)
        return found


ALONE = Ranks()
"""One process, which has nobody to talk to."""


@contextmanager
def joined(device: str, *, group: bool = False) -> Iterator[Ranks]:
    """Meet the other ranks that the launcher started, and part from them in the end; ``ALONE`` if there are none.

    ``group`` asks for a process group even then, as FSDP needs one. Raises ``ConfigError`` if this machine has fewer
    GPUs than ranks, or a device whose processes can't exchange gradients.
    """
    if dist.is_initialized():  # by Ray, which will end it too
        _check_kind(device)
        yield _here()
        return
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and not group:
        yield ALONE
        return
    check(device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if size == 1:
        store = dist.TCPStore("127.0.0.1", 0, 1, is_master=True)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    else:
        dist.init_process_group(backend)
    yield _here()
    dist.destroy_process_group()  # after an error the process ends, and waits for nobody


def check(device: str, here: int) -> None:
    """Raise ``ConfigError`` if ``here`` ranks can't train on this machine's ``device``."""
    _check_kind(device)
    if device == "cuda" and here > (gpus := torch.cuda.device_count()):
        raise ConfigError(f"ranks {here}, and this machine has {gpus} GPUs", f"Set ranks {gpus}, or device cpu.")


def leave(code: int | str | None) -> NoReturn:
    """End this process at once, as ``sys.exit`` would, but with the interpreter left standing.

    torch's caches hold a group that was parted from, so gloo's threads still run when Python is taken down, and now and
    then that aborts a process which has done all its work. Nothing that honed keeps is written so late.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _here() -> Ranks:
    words = dist.new_group(backend="gloo", timeout=_PATIENCE)
    backend = "nccl" if "nccl" in str(dist.get_backend_config()) else "gloo"
    return Ranks(dist.get_rank(), dist.get_world_size(), backend, words)


def _check_kind(device: str) -> None:
    if device == "mps":
        raise ConfigError("several ranks, or shares, on mps: its processes can't exchange gradients", "Set device cpu.")
