"""The planning process: ``python -m honed.train.planner <job folder>``: what a training would take, before it is run.

Arithmetic first: what can't fit is said and not tried. Then the largest pass, some smaller ones and one optimizer step
are run and timed, and the memory that they took is read from the system: a run does nothing else, only more often.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed import config as settings_file
from honed.jobs import worker
from honed.jobs.job import Job
from honed.jobs.memory import peak
from honed.models import devices
from honed.train import activations, cost, footprint, heap, loss_sweeps, ranks, timing
from honed.train.config import TrainConfig
from honed.train.cost import Memory
from honed.train.defaults import averages
from honed.train.expected import Expected, expect
from honed.train.footprint import DoesNotFitError
from honed.train.optim import kept_wide
from honed.train.prepare import DTYPES, Prepared, free_memory, prepare
from honed.train.ranks import Ranks
from honed.train.setup import Setup, set_up
from honed.train.source import Stream
from honed.train.stream import Streamed

_LONGEST = 8
"""Examples of which it is looked which one computes the most by itself: those with the most tokens."""


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Return what the training that ``config.yaml`` describes would take. Nothing is trained and nothing kept.

    It runs as one process; of several ranks it tells the time of the busiest, each on a machine like this.
    """
    heap.keep_freed_memory()
    heap.keep_few_kernels()
    config = settings_file.read(TrainConfig, job.path / "config.yaml")
    device = devices.choose_for_training(config.device)[0]
    if config.ranks > 1:
        # As the run would, which is refused at its start; on Ray, ``auto`` takes the CPU where GPUs are too few.
        ranks.check(device, 1 if config.on and config.device == "auto" else config.ranks_here)
    free, host = _free(device, config), free_memory(config)
    with ranks.joined(device, group=config.shard == "fsdp") as here:
        try:
            run = prepare(job, here, stopping)
        except DoesNotFitError as found:
            return _unread(config, device, found)
        return _planned(run, here, free, host, stopping)


def _unread(config: TrainConfig, device: str, found: DoesNotFitError) -> dict[str, Any]:
    """The plan of what can't fit: the least memory, by the shapes of its weights; nothing else was found out."""
    unknown = ("rows", "left_out", "steps", "passes", "dataset_tokens", "computed_tokens", "supervised_tokens")
    return {
        "base": config.base,
        "data": config.data,
        "name": config.name,
        "objective": config.objective,
        "epochs": config.epochs,
        "ranks": max(1, config.ranks),
        "machines": config.machines,
        **dict.fromkeys(unknown),
        "heldout": None,
        "estimated": True,
        "largest_pass": None,
        "memory": {**asdict(found.memory), "total": found.memory.total, "free": found.free, "measured": None},
        "fits": False,
        "advice": found.advice,
        "disk": None,
        "time": None,
        "ran": {"device": device, "precision": found.precision, "sharing": None},
        "settings": {"weights": found.weights, "precision": found.precision},
        "reasons": [found.message, *_elsewhere(config)],
    }


def _planned(run: Prepared, here: Ranks, free: int, host: int, stopping: Callable[[], bool]) -> dict[str, Any]:
    ready = set_up(run, here, stopping, to_train=False)
    runtime = _held(run.settings.device) - _bytes(_there(run)) - _wide_held(run)
    expected = expect(run, ready)
    memory, hidden = _memory(run, ready, expected, runtime)
    beside, asked = _beside(run, ready, expected), _set(run, ready, expected, memory.activations + memory.scores)
    result = {
        **_what(run, expected),
        "memory": {**asdict(memory), "total": memory.total, "free": free, "measured": None},
        "fits": memory.total <= free and beside.total <= host,
        "advice": cost.advice(memory, free, asked, hidden) + cost.advice(beside, host, asked),
        "disk": {**asdict(ready.disk), "most": ready.disk.most},
        "time": None,
        "ran": {"device": run.settings.device, "precision": run.settings.precision, "sharing": ready.layout.shared},
        "settings": asdict(ready.layout.settings),
        "reasons": [*ready.reasons, *_of_reference(ready), *_of_host(beside, host), *_elsewhere(run.config)],
    }
    ranks_here = 1 if run.settings.device == "cuda" else run.config.ranks_here
    if result["fits"] and _alone(run, memory) > free * ranks_here:
        result["reasons"].append("time: not measured: one process can't hold what the ranks divide among them")
    elif result["fits"]:
        seconds = timing.seconds(run, ready, expected, stopping)
        result["time"] = {name: round(value, 1) for name, value in seconds.items()}
        if run.config.ranks > 1:
            result["reasons"].append(
                "time: of one rank alone; what the ranks take to add up their gradients comes on top"
            )
        if footprint.shares(run.config) == 1:
            result["memory"]["measured"] = measured = _peak(run.settings.device)
            whole = replace(memory, runtime=memory.runtime + measured + memory.windows - memory.total)
            if whole.total > free:  # more than by arithmetic
                result |= {"fits": False, "advice": cost.advice(whole, free, asked, hidden)}
        result["tokens_per_second"] = result["dataset_tokens"] / seconds["steps"]
    return result


def _set(run: Prepared, ready: Setup, expected: Expected, kept: int) -> dict[str, object]:
    """The settings that advice goes by, and what the rows make of them."""
    config = run.config
    train = run.train.sample if isinstance(run.train, Stream) else run.train
    tokens = train.lengths
    most = heapq.nlargest(_LONGEST, range(len(tokens)), key=tokens.__getitem__)
    longest, largest = max((expected.make((index,)).tokens, index) for index in most)
    return {
        **asdict(ready.layout.settings),
        "activation_checkpointing": config.activation_checkpointing,
        "shard": config.shard,
        "average": averages(config, run.settings.weights),  # as its memory is counted
        "ranks": config.ranks,
        "packing": ready.layout.packed,
        "largest_pass": expected.counted["largest_pass"],
        "longest": longest,
        "row": max(len(row.ids) for row in train.encoded[largest].rows),
        "window_rows": _window_rows(run, ready),
        "gathered": _gathered(run),
        "kept_if_recomputed": _kept_if_recomputed(run.base.model, kept, expected.counted["largest_pass"]),
    }


def _kept_if_recomputed(model: PreTrainedModel, kept: int, tokens: int) -> int:
    """Bytes of those ``kept`` that stay with activation checkpointing: what goes into each layer, and one layer.

    All of them where the model can't, or doesn't say how many layers it has, and how wide they are.
    """
    if not model.supports_gradient_checkpointing:
        return kept
    text = model.config.get_text_config()
    layers, width = int(getattr(text, "num_hidden_layers", 1)), int(getattr(text, "hidden_size", 0))
    into: int = layers * tokens * width * model.dtype.itemsize
    return min(kept, kept // layers + into)


def _window_rows(run: Prepared, ready: Setup) -> int:
    """Rows of a stream's window, of two that are held; half of them where a single one is."""
    if not isinstance(ready.steps, Streamed) or not isinstance(run.train, Stream):
        return 0
    rows = min(ready.steps.window_rows, run.train.rows)
    return rows if len(list(ready.steps.windows())) > 1 else rows // 2


def _there(run: Prepared) -> list[Tensor]:
    """Parameters and buffers on the device (4-bit weights are buffers): with ``cpu_offload`` none are on a GPU."""
    model, device = run.base.model, torch.device(run.settings.device).type
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.device.type == device]


def _wide_held(run: Prepared) -> int:
    """Bytes of the fp32 weights that masters begin at, where they are held already and not mapped from a file only."""
    wide = _bytes(kept_wide(run.base.model))
    return wide if run.settings.device != "cpu" or _own() >= _bytes(_there(run)) + wide else 0


def _alone(run: Prepared, memory: Memory) -> int:
    """Bytes that this process needs to time what the ranks divide among them."""
    return memory.total + (footprint.shares(run.config) - 1) * (memory.weights + memory.gradients + memory.optimizer)


def _beside(run: Prepared, ready: Setup, expected: Expected) -> Memory:
    """What each rank holds in the host's memory beside a GPU's: a stream's windows, and weights that lie there."""
    if run.settings.device != "cuda":
        return Memory()
    if not run.config.cpu_offload:
        return Memory(windows=expected.windows)
    shares = footprint.shares(run.config)
    _, moments = cost.trained(ready.trainable, wide=True, average=run.settings.average)
    pinned = 0
    for one in run.base.model.parameters():
        pinned += _block(one.nbytes // shares) + (_block(4 * one.numel() // shares) if one.requires_grad else 0)
    return Memory(offloaded=pinned + moments // shares, windows=expected.windows)


def _block(size: int) -> int:
    """Bytes of the block in which torch pins so many of them: a power of two (``CachingHostAllocator``)."""
    return 1 << (size - 1).bit_length() if size else 0


def _of_host(beside: Memory, host: int) -> list[str]:
    """What is to be said of that."""
    said, over = [], f"{beside.total / 1e9:.1f} GB in the host's memory, of which {host / 1e9:.1f} GB are free"
    if beside.offloaded:
        size = f"{beside.offloaded / 1e9:.1f} GB of weights, gradients and moments"
        said.append(f"cpu_offload: each rank holds {size} in the host's memory")
    return [*said, *([f"it does not fit: each rank holds {over}"] if beside.total > host else [])]


def _of_reference(ready: Setup) -> list[str]:
    """What is to be said of likelihoods that needn't be computed again."""
    return ["reference: the base model's likelihoods of these answers are kept from before"] if ready.referred else []


def _elsewhere(config: TrainConfig) -> list[str]:
    """What is to be said of a Ray whose machines nobody sees from here."""
    if config.on is None or "://" not in config.on:
        return []
    return [f"on {config.on}: each rank is taken to have a machine like this one to itself; a cost is that of all"]


def _free(device: str, config: TrainConfig) -> int:
    """Bytes that are free for each rank, or will be once this process has ended.

    What it holds already is in what a run is said to take (``Memory.runtime``), and mustn't count twice.
    """
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return free_memory(config) + _own() // config.ranks_here


def _own() -> int:
    """Bytes of memory that this process holds by itself; what it has mapped from files it may share with others."""
    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def _what(run: Prepared, expected: Expected) -> dict[str, Any]:
    return {
        "base": run.base.ref,
        "data": run.dataset.ref,
        "name": run.config.name,
        "objective": run.config.objective,
        "epochs": run.settings.epochs,
        "ranks": max(1, run.config.ranks),
        "machines": run.config.machines,
        **expected.counted,
        "heldout": {
            "rows": len(run.heldout.encoded),
            "of": run.dataset.manifest.facts.get("heldout"),
            "measured": timing.measurements(expected.total, run.settings.eval_every),
        },
    }


def _memory(run: Prepared, ready: Setup, expected: Expected, runtime: int) -> tuple[Memory, int]:
    """Return the run's memory, and how many bytes of gradients aren't in it for they take the place of activations."""
    model = run.base.model
    settings = run.settings
    gradients, optimizer = footprint.kept(
        ready.trainable, run.config, settings.weights, settings.device, settings.precision
    )
    largest, small = expected.spread(2)
    head = model.get_output_embeddings()
    logits = loss_sweeps.CHUNK_BYTES
    if head is not None:
        logits = min(logits, 4 * largest.tokens * head.weight.shape[0])
        if head.weight.requires_grad and settings.device == "cpu" and not _at_once(run, ready):
            there = DTYPES[settings.precision].itemsize if run.config.shard == "fsdp" else 0  # in what is gathered
            logits += (4 - there) * head.weight.numel()  # its gradient is summed apart, in fp32
    kept = activations.find(run, ready, small)
    most = max((largest, expected.make(expected.longest)), key=kept.of)
    by_token, scores = round(kept.token * most.tokens), kept.scores(most)
    hidden = 0
    if expected.single and footprint.summed_at_once(run.config, settings.weights, settings.device):
        # What the backward pass is done with makes room for them; the head's comes before any of that goes.
        first = 4 * head.weight.numel() if head is not None and _at_once(run, ready) else 0
        hidden = gradients - max(first, gradients - by_token - scores)
    needed = Memory(
        runtime=runtime,
        weights=_bytes(_there(run)) // footprint.shares(run.config),
        gradients=gradients - hidden,
        optimizer=optimizer,
        activations=by_token,
        scores=scores,
        logits=logits,
        gathered=_gathered(run) if run.config.shard == "fsdp" else 0,
    )
    if settings.device == "cpu":  # passes of many sizes leave them; a run gives them back when they have grown so far
        needed = replace(needed, holes=round((heap.GROWN - 1) * (needed.total - runtime)))
    if settings.device != "cuda":  # else they lie beside (`_beside`)
        needed = replace(needed, windows=expected.windows)
    return needed, hidden


def _gathered(run: Prepared) -> int:
    return footprint.gathered(run.base.model, run.settings.weights, run.settings.precision)


def _at_once(run: Prepared, ready: Setup) -> bool:
    """Whether the head's gradient goes straight to where it is summed (``token_loss``, ``kernels.room``)."""
    summed = footprint.summed_at_once(run.config, run.settings.weights, run.settings.device)
    return summed and ready.layout.head.fused and run.config.objective == "sft"


def _held(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_reserved())
    return peak()


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


if __name__ == "__main__":
    worker.main(work)
