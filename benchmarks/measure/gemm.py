"""The machine's ceiling: FLOP/s of matrix products through torch, on big squares and in a model's own shapes."""

from __future__ import annotations

import time
from typing import Any

from measure.flops import Shape

SQUARE = {"cpu": 2048, "cuda": 8192}
SECONDS = 1.0


def ceilings(shape: Shape, *, precision: str, tokens: int, device: str = "cpu") -> dict[str, Any]:
    """FLOP/s of squares, of each product of a layer for ``tokens`` rows, and of all a layer's products together."""
    side = SQUARE[device]
    each = {
        (out, into): rate(tokens, into, out, precision=precision, device=device, seconds=SECONDS / 4)
        for out, into in sorted(set(shape.matrices))
    }
    work = sum(out * into for out, into in shape.matrices)
    return {
        "precision": precision,
        "square": rate(side, side, side, precision=precision, device=device),
        "model": work / sum(out * into / each[out, into] for out, into in shape.matrices),
        "model_shapes": {f"{tokens}x{into}x{out}": found for (out, into), found in each.items()},
    }


def rate(
    rows: int, inner: int, columns: int, *, precision: str = "fp32", device: str = "cpu", seconds: float = SECONDS
) -> float:
    """FLOP/s of (rows x inner) times (inner x columns), repeated for ``seconds``."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(columns, inner, device=device).to(dtype)
    wait = torch.cuda.synchronize if device == "cuda" else _nothing
    with torch.inference_mode():
        torch.nn.functional.linear(left, right)  # picks the kernel
        wait()
        start, count = time.perf_counter(), 0
        while count < 2 or time.perf_counter() - start < seconds:
            torch.nn.functional.linear(left, right)
            count += 1
            if device == "cpu" or count % 32 == 0:
                wait()
        wait()
    return 2.0 * rows * inner * columns * count / (time.perf_counter() - start)


def _nothing() -> None:
    """A CPU's products are done when the call returns."""
