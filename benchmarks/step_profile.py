"""Where a training step's time goes: one step of a run under torch's profiler, in this process, and the others timed.

    python benchmarks/step_profile.py --size 1b --weights full --set compile=true --json    # on a CUDA card
    python benchmarks/step_profile.py --size tiny --device cpu                              # to see that it runs
    python benchmarks/step_profile.py --model smollm2-135m --device cpu --set batch_tokens=2048

The model is a random one of ``gpu_train.py``'s sizes, or one that is named; rows are all of one length. What is run is
what the worker runs, without held-out loss, checkpoint and the model's publishing: so an 8B is no 16 GB on the disk
again. ``kernels`` are those of the device (on a CPU torch's operations) by the time that is their own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gpu_train import make_model, rows_of
from honed.config import build
from honed.jobs import job as jobs
from honed.models.chat import Encoded
from honed.models.load import load_chat
from honed.store import datasets, workspace
from honed.store.workspace import Workspace
from honed.train import ranks
from honed.train.config import TrainConfig
from honed.train.loop import Training
from honed.train.optim import Optimizer
from honed.train.prepare import prepare
from honed.train.setup import set_up
from honed.train.steps import Planned
from measure import honed_job
from measure.surroundings import emit, say, surroundings

SHOWN = 40
"""Kernels in the document, the longest first."""


def main() -> None:
    """Profile a step and print the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model that honed can load; without it a random one of --size")
    parser.add_argument("--size", choices=["1b", "8b", "tiny"], default="1b")
    parser.add_argument("--weights", choices=["lora", "full"], default="full")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--length", type=int, default=1024, help="tokens of every row")
    parser.add_argument("--prefix", type=float, default=0.0, help="share of a row that one system prompt is")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--step", type=int, default=4, help="the step that is profiled")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of honed's training")
    parser.add_argument("--json", action="store_true", help="the document on one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="honed-profile-") as temporary:
        emit({**measure(options, Path(temporary)), **surroundings()}, compact=options.json)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the document, surroundings aside."""
    model = options.model or str(make_model(options.size, folder / "model", context=2 * options.length))
    home, tokens = _home(options, folder, model)
    values = {"base": model, "data": "rows", "name": "profiled", "weights": options.weights, "device": options.device}
    values |= {"precision": "bf16" if options.device == "cuda" else "auto", "batch_tokens": 16 * options.length}
    values |= {**honed_job.SETTINGS, "learning_rate": 1e-5, **honed_job.given(options.set)}
    job = jobs.create(home, "train", build(TrainConfig, values, "the benchmark"))
    with ranks.joined(options.device, group=False) as here:
        begun = time.perf_counter()
        run = prepare(job, here)
        prepared = time.perf_counter()
        ready = set_up(run, here, lambda: False)
        done = time.perf_counter()
        say(f"Loaded in {prepared - begun:.1f} s, set up in {done - prepared:.1f} s.")
        clock = Clock(options.step, options.device)
        training = Watched(ready.placed, ready.objective, ready.heldout, ready.steps, run.settings, job, lambda: False)
        training.clock = clock
        training.run()
    return {
        "rows": options.rows,
        "dataset_tokens": tokens,
        "load_seconds": prepared - begun,
        "set_up_seconds": done - prepared,
        "reasons": list(ready.reasons),
        "kernels_installed": ready.kernels.describe(),
        "attention": ready.layout.attention,
        "settings": {name: values[name] for name in sorted(values) if name not in ("base", "data", "name")},
        **clock.document(),
    }


class Clock:
    """Times every step, and profiles one."""

    def __init__(self, profiled: int, device: str) -> None:
        self.profiled, self.device = profiled, device
        self.seconds: list[float] = []
        self.packs: list[list[int]] = []
        self.kernels: list[dict[str, Any]] = []

    def time(self, number: int, packs: Sequence[Any], action: Callable[[], None]) -> None:
        """Run a step."""
        self._wait()
        start = time.perf_counter()
        if number == self.profiled:
            kinds = torch.profiler.ProfilerActivity
            watched = [kinds.CPU, kinds.CUDA] if self.device == "cuda" else [kinds.CPU]
            with torch.profiler.profile(activities=watched) as profile:
                action()
                self._wait()
            self.kernels = self._table(profile)
        else:
            action()
            self._wait()
        self.seconds.append(time.perf_counter() - start)
        self.packs.append([batch.tokens for batch in packs])
        say(f"Step {number}: {self.seconds[-1]:.3f} s, {self.packs[-1]} tokens")

    def document(self) -> dict[str, Any]:
        """What was seen."""
        cuda = self.device == "cuda"
        return {
            "step_seconds": self.seconds,
            "computed_tokens": self.packs,
            "profiled_step": self.profiled,
            "kernels": self.kernels[:SHOWN],
            "kernels_ms": sum(one["ms"] for one in self.kernels),
            "peak_allocated_bytes": torch.cuda.max_memory_allocated() if cuda else None,
            "peak_reserved_bytes": torch.cuda.max_memory_reserved() if cuda else None,
        }

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _table(self, profile: Any) -> list[dict[str, Any]]:
        cuda = self.device == "cuda"
        on_device = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
        time_of = "self_device_time_total" if cuda else "self_cpu_time_total"
        found = [
            {"ms": getattr(event, time_of) / 1e3, "calls": event.count, "kernel": event.key[:100]}
            for event in profile.key_averages()
            if event.device_type == on_device
            and not (cuda and event.is_user_annotation)  # it spans kernels that are counted themselves
        ]
        return sorted(found, key=lambda one: -one["ms"])


class Watched(Training[Encoded, Any]):
    """A training whose steps are timed."""

    clock: Clock

    def _step(self, step: Planned[Encoded], batches: Sequence[Any], optimizer: Optimizer, begun: float) -> None:
        self.clock.time(step.number, batches, lambda: super(Watched, self)._step(step, batches, optimizer, begun))


def _home(options: argparse.Namespace, folder: Path, model: str) -> tuple[Workspace, int]:
    """Return a workspace with the rows, and how many tokens they have."""
    chat = load_chat(model, None)
    rows = rows_of(chat, options.rows, options.length, options.prefix)
    home = workspace.init(folder / "workspace")
    datasets.write(home, "rows", ((row, "train") for row in rows), config={}, facts={}, preferences=())
    return home, sum(len(chat.encode(row).ids) for row in rows)


if __name__ == "__main__":
    main()
