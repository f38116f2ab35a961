"""What a training costs in memory and time, by arithmetic over what a few passes showed. No torch.

Everything a run holds at its peak: the runtime with the rows, the weights, what the optimizer keeps for each trained
weight, what the largest pass keeps for its backward pass, the logits of one chunk, and what is kept free between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

_SMALLER, _LEAST_PASS = 0.75, 128
"""A smaller pass is advised where it is this share of the largest one at most, and has so many tokens."""

_ROWS_TO_HALVE = 512
"""A stream's windows are shards of 256 rows at least."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a run, by what holds them; ``windows`` are a stream's rows, those of others ``runtime``'s.

    ``offloaded``: weights, gradients and moments in the host's memory, where that is told apart from a GPU's.
    ``gathered``: weights that FSDP puts together of all ranks' shares, and their gradients before they are divided.
    ``scores``: what plain torch keeps of attention's, where no kernel computes it.
    """

    runtime: int = 0
    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    holes: int = 0
    windows: int = 0
    offloaded: int = 0
    gathered: int = 0
    scores: int = 0

    @property
    def parts(self) -> dict[str, int]:
        """Those that there are, by name."""
        return {name: size for name, size in asdict(self).items() if size}

    @property
    def total(self) -> int:
        """The sum."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Pace:
    """Seconds of a pass: ``each`` for the pass itself and ``token`` for every token that it computes."""

    each: float
    token: float

    def seconds(self, passes: Sequence[int]) -> float:
        """Return the time of passes, given by their computed tokens."""
        return self.each * len(passes) + self.token * sum(passes)


def trained(count: int, *, wide: bool, average: bool = False) -> tuple[int, int]:
    """Return bytes of gradients, and of the optimizer's state, for ``count`` trained weights.

    AdamW keeps two fp32 moments; 16-bit weights (``wide`` is False) have an fp32 master and an fp32 gradient beside.
    With ``average`` there is their mean in fp32.
    """
    mean = 4 * count if average else 0
    return (4 * count, 8 * count + mean) if wide else (6 * count, 12 * count + mean)


def pace(seconds: Sequence[float], tokens: Sequence[int]) -> Pace:
    """Fit passes of some ``tokens`` that took some ``seconds``: a straight line, neither of its parts negative."""
    sizes = np.array(tokens, float)
    times = np.array(seconds, float)
    if len(set(tokens)) > 1:
        slope, start = np.polyfit(sizes, times, 1)
        if slope > 0 and start >= 0:
            return Pace(float(start), float(slope))
    return Pace(0.0, float(times.sum() / sizes.sum()))


def advice(memory: Memory, free: int, settings: Mapping[str, object], hidden: int = 0) -> list[str]:
    """Return what to change so that a run fits into ``free`` bytes, the largest saving first; empty if it fits.

    ``hidden`` are bytes of gradients that take the place of activations: where a pass keeps less, they come to light.
    """
    over = memory.total - free
    if over <= 0:
        return []
    found = sorted(ways(memory, over, settings, hidden), reverse=True)
    said = [f"{way} (saves about {saved / 1e9:.1f} GB)" for saved, way in found]
    return [*said, f"or use a machine with {over / 1e9:.1f} GB more, or a smaller base model"]


def ways(memory: Memory, over: int, settings: Mapping[str, object], hidden: int = 0) -> list[tuple[int, str]]:
    """Return the ways to change a run that is ``over`` bytes too large, each with the bytes that it saves."""
    gone = memory.gradients + memory.optimizer
    found: list[tuple[int, str]] = []
    part = 0.86 if settings["precision"] == "fp32" else 0.72  # of 32 or 16 bits, 4.5 are left
    if settings["weights"] == "full":
        found.append((round(0.95 * gone), "train LoRA adapters: --weights lora"))
        if over > 0.95 * gone and settings.get("shard") != "fsdp":
            found.append((round(0.95 * gone + part * memory.weights), "adapters beside 4-bit weights: --weights qlora"))
    found += _smaller_passes(memory, settings, hidden)
    if (rows := _number(settings, "window_rows")) >= _ROWS_TO_HALVE:
        found.append((memory.windows // 2, f"read fewer rows at a time: --set stream_rows={rows // 2}"))
    if settings["precision"] == "fp32":
        found.append((_halved(memory, settings), "compute in 16 bits: --set precision=bf16"))
    if not settings.get("activation_checkpointing"):
        dropped = memory.activations + memory.scores - _number(settings, "kept_if_recomputed")
        found.append((dropped - min(hidden, dropped), "keep less of a pass: --set activation_checkpointing=true"))
    if settings["weights"] == "lora" and settings.get("shard") != "fsdp":
        found.append((round(part * memory.weights), "pack the base into 4 bits: --weights qlora"))
    ranks = _number(settings, "ranks")
    if ranks > 1 and settings.get("shard") == "none" and settings["weights"] != "qlora":
        divided = round((memory.weights + gone) * (1 - 1 / ranks)) - _number(settings, "gathered")
        found.append((divided, f"let each of the {ranks} ranks hold a share of the weights: --set shard=fsdp"))
    return [(saved, way) for saved, way in found if saved > 0]


def _halved(memory: Memory, settings: Mapping[str, object]) -> int:
    """What 16 bits save: half of the weights and of what passes keep; but scores stay in fp32, and get a copy.

    Trained weights get fp32 masters, half of what two moments take (the mean of the weights is one as it is), and
    gradients half as much again, but where they are summed at once. Shares of FSDP's are masters already; of what it
    gathers, a quarter at most is gradients on their way, in fp32.
    """
    full = settings["weights"] == "full"
    if settings.get("shard") == "fsdp":
        halves = memory.gathered * 3 // 4 if full else memory.gathered + memory.weights
        return (memory.activations + halves - memory.scores) // 2
    masters = memory.optimizer // (3 if settings.get("average") else 2)
    at_once = full and settings.get("device") == "cpu"
    wider = masters + (0 if at_once else memory.gradients // 2)
    return (memory.activations + memory.weights - memory.scores) // 2 - wider


def _smaller_passes(memory: Memory, settings: Mapping[str, object], hidden: int) -> list[tuple[int, str]]:
    """The way to make the largest pass smaller, with what it saves: fewer rows in it, or shorter ones.

    A row is never cut, so no pass is smaller than the largest example by itself (``longest``, of computed tokens as a
    pass has them; its longest row has ``row``).
    """
    largest = _number(settings, "largest_pass")
    longest = min(largest, _number(settings, "longest"))
    packed = min(largest, _number(settings, "pack_tokens")) if settings.get("packing", True) else 0
    half = packed // 2
    halved = max(largest * half // packed, longest) if packed else largest  # passes may hold more than they are cut by
    if halved <= _SMALLER * largest:
        after, way = halved, f"halve a pass: --set pack_tokens={half}"
    else:
        after = packed if 0 < packed <= _SMALLER * largest else largest // 2
        way = f"leave out rows that are longer: --set max_length={_number(settings, 'row') * after // max(1, longest)}"
        way += f" --set pack_tokens={after}" if packed > after else ""
    part = after / max(1, largest)
    fewer = 1 - part**2 if "max_length" in way else 1 - part  # of the scores: they grow with the square of a row
    saved = round(memory.activations * (1 - part) + memory.scores * fewer)
    # In a second pass of a step, the gradients that took the place of activations stand beside them.
    shown = hidden if "pack_tokens" in way else min(hidden, saved)
    return [(saved - shown, way)] if after >= _LEAST_PASS else []


def _number(settings: Mapping[str, object], name: str) -> int:
    return int(str(settings.get(name) or 0))
