"""Training speed of honed and of TRL, one after the other, on the same rows and the same machine.

    python benchmarks/train_speed.py --case sft|lora --data alpaca_en_demo.json --rows 96 --peer-python PYTHON --json

FILE is a list of Alpaca rows (LLaMA-Factory's ``data/alpaca_en_demo.json``, say). PYTHON is an interpreter that has
trl, peft and datasets; without it only honed runs. Dataset tokens count every token of every row once.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from honed.config import build
from honed.jobs import launch
from honed.jobs.events import Step
from honed.models.devices import hardware
from honed.models.load import load_chat, locate
from honed.records import Conversation, Message
from honed.store import datasets, workspace
from honed.train.config import TrainConfig
from honed.train.run import run

MODEL = "smollm2-135m"


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["sft", "lora"], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-precisions", default="fp32,bf16", help="which to try; the peer's best counts")
    parser.add_argument("--json", action="store_true", help="print the document alone, without progress")
    options = parser.parse_args()
    pairs = [
        [row["instruction"] + ("\n" + row["input"] if row.get("input") else ""), row["output"]]
        for row in json.loads(options.data.read_text())[: options.rows]
    ]
    weights = "lora" if options.case == "lora" else "full"
    rows = [
        Conversation(messages=(Message(role="user", content=user), Message(role="assistant", content=answer)))
        for user, answer in pairs
    ]
    chat = load_chat(MODEL, None)
    tokens = sum(len(chat.encode(row).ids) for row in rows)
    gemm = gemm_rate()
    with tempfile.TemporaryDirectory() as folder:
        honed = _honed(Path(folder), rows, weights, options.batch_tokens)
        peers = {}
        if options.peer_python:
            (Path(folder) / "rows.json").write_text(json.dumps(pairs))
            for precision in options.peer_precisions.split(","):
                peers[precision] = _peer(Path(folder) / "rows.json", weights, precision, options)
    best = min(peers.values(), key=lambda peer: peer["seconds"], default=None)
    machine = hardware(Path.cwd())
    document: dict[str, Any] = {
        "case": options.case,
        "rows": len(rows),
        "dataset_tokens": tokens,
        "honed": {**honed, "tokens_per_second": tokens / honed["seconds"]},
        "peer": best and {**best, "tokens_per_second": tokens / best["seconds"]},
        "peers": peers,
        "ratio": best and best["seconds"] / honed["seconds"],
        "gemm_flops": gemm,
        "gemm_share": _flops(tokens, honed["supervised_tokens"], weights) / honed["seconds"] / gemm,
        "machine": f"{machine.cpu}, {machine.cores} cores, {' '.join(machine.flags)}",
        "python": platform.python_version(),
    }
    print(json.dumps(document, indent=None if options.json else 2))


def _honed(folder: Path, rows: list[Conversation], weights: str, batch_tokens: int) -> dict[str, Any]:
    """Train one epoch through the job, as a user would; the seconds are those of the steps."""
    home = workspace.init(folder / "ws")
    datasets.write(home, "rows", [(row, "train") for row in rows], config={}, facts={})
    values = {"base": MODEL, "data": "rows", "weights": weights, "epochs": 1, "batch_tokens": batch_tokens}
    job = run(home, build(TrainConfig, {**values, "learning_rate": 1e-5, "eval_rows": 0}, "benchmark"))
    steps = [event for event in launch.follow(job) if isinstance(event, Step)]
    result = job.result()
    return {
        "seconds": result["dataset_tokens"] / result["tokens_per_second"],
        "peak_rss_bytes": result["peak_rss_bytes"],
        "supervised_tokens": result["supervised_tokens"],
        "ran": result["ran"],
        "losses": [step.values["loss"] for step in steps],
    }


def _peer(rows: Path, weights: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    script = Path(__file__).parent / "peers" / "trl_sft.py"
    command = [options.peer_python, str(script), "--model", str(locate(MODEL, None).folder), "--rows", str(rows)]
    command += ["--weights", weights, "--precision", precision, "--batch-tokens", str(options.batch_tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def gemm_rate() -> float:
    """The machine's ceiling: FLOP/s of a large fp32 matrix product through torch."""
    import torch

    left, right = torch.ones(2048, 2048), torch.ones(2048, 2048)
    left @ right
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1:
        left @ right
        count += 1
    return 2 * 2048**3 * count / (time.perf_counter() - start)


def _flops(tokens: int, supervised: int, weights: str) -> float:
    """6 FLOP per weight and token of the decoder (4 for LoRA), the same of the head at supervised tokens only.

    Attention's own products are left out: they are under 3 % at these lengths.
    """
    decoder, head = 106_200_000, 28_311_552
    each = 6 if weights == "full" else 4
    return float(each * (decoder * tokens + head * supervised))


if __name__ == "__main__":
    main()
