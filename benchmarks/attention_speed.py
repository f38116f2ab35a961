"""Attention over packed rows on a CPU: honed's kernel in C beside torch's fused one, one layer, forward and backward.

    python benchmarks/attention_speed.py [--rounds 8] [--json] [--out FILE]

Heads as SmolLM2-135M has them (9, of 64; 3 for keys and values). Cases: rows as long as some of alpaca_en_demo's; rows
of 150 tokens; eleven of these under a prefix of 300, computed once; one row of 2,048. The best of some rounds, the two
kernels in turns. FLOP: 4 a unit of width and pair of tokens that see one another forward, 10 backward, times heads.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from honed.train import attention, attention_native
from honed.train.attention import Segments
from honed.train.kernels import native
from measure.surroundings import emit, say, surroundings

HEADS, GROUPS, WIDTH = 9, 3, 64
CASES: dict[str, Segments] = {
    "lengths of alpaca": Segments((489, 418, 392, 120, 90, 60, 30)),
    "13 rows of 150": Segments((150,) * 13),
    "11 rows of 150 under a prefix of 300": Segments((300, *(150,) * 11), (-1, *(0,) * 11)),
    "one row of 2,048": Segments((2048,)),
}
KERNELS = {"native": attention_native.by_native, "fused": attention.by_fused}


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="the document on one line")
    parser.add_argument("--out", type=Path, help="write the document to this file too")
    options = parser.parse_args()
    if why := native.why_not():
        raise SystemExit(f"no kernel to measure: {why}")
    found = {
        precision: {case: measured(segments, dtype, options.rounds) for case, segments in CASES.items()}
        for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    }
    document = {**surroundings(), "heads": [HEADS, GROUPS, WIDTH], "rounds": options.rounds, "found": found}
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    emit(document, compact=options.json)


def measured(segments: Segments, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Milliseconds and GFLOP/s of both kernels, forward and backward, and how much faster ours is."""
    torch.manual_seed(0)
    tokens = sum(segments.lengths)
    q, grad = (torch.randn(1, tokens, HEADS, WIDTH).transpose(1, 2).to(dtype) for _ in range(2))
    k, v = (torch.randn(1, GROUPS, tokens, WIDTH).to(dtype).requires_grad_() for _ in range(2))
    q.requires_grad_()
    best = {name: [float("inf")] * 2 for name in KERNELS}
    for _ in range(rounds):
        for name, path in KERNELS.items():
            start = time.perf_counter()
            out = path(q, k, v, segments, WIDTH**-0.5)
            middle = time.perf_counter()
            out.backward(grad)
            best[name] = [min(best[name][0], middle - start), min(best[name][1], time.perf_counter() - middle)]
    work = [flop * pairs(segments) * HEADS * WIDTH for flop in (4, 10)]
    say(f"{dtype}, {tokens} tokens: " + ", ".join(f"{name} {1e3 * sum(both):.1f} ms" for name, both in best.items()))
    return {
        **{
            name: {
                "milliseconds": [round(1e3 * one, 3) for one in both],
                "gflop_per_second": [round(done / one / 1e9, 1) for done, one in zip(work, both, strict=True)],
            }
            for name, both in best.items()
        },
        "ratio": [round(theirs / ours, 2) for ours, theirs in zip(best["native"], best["fused"], strict=True)],
    }


def pairs(segments: Segments) -> int:
    """How many pairs of tokens see one another."""
    above: list[int] = []
    total = 0
    for index, length in enumerate(segments.lengths):
        parent = segments.parents[index] if segments.parents else -1
        above.append(above[parent] + segments.lengths[parent] if parent >= 0 else 0)
        total += length * above[-1] + length * (length + 1) // 2
    return total


if __name__ == "__main__":
    main()
