"""Loss curves of one training in several ways: does a faster way learn the same?

    python benchmarks/loss_curves.py --rows 200 --json

The same rows in the same steps, with honed's defaults: in the plain way (fp32, each row by itself, nothing shared), in
fp32, and in bf16. Every tenth row is held out. ``apart`` compares each way with the plain one: the mean and the largest
difference of a step's loss, beside the mean change from one step to the next, and the held-out losses.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from measure import data, honed_job
from measure.surroundings import emit, say, surroundings

WAYS: dict[str, dict[str, Any]] = {
    "plain fp32": dict(honed_job.PLAIN),
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
}


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--data", type=Path, help="Alpaca rows; else alpaca_en_demo.json, else synthetic ones")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--weights", choices=["full", "lora"], default="full")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every training")
    parser.add_argument("--out", type=Path, help="write the document to this file too")
    parser.add_argument("--json", action="store_true", help="the document on one line")
    options = parser.parse_args()
    document = measured(options)
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    emit(document, compact=options.json)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return the document."""
    rows, source = data.conversations(options.rows, options.data)
    train = [row for index, row in enumerate(rows) if index % 10]
    heldout = rows[::10]
    values = {"base": options.model, "weights": options.weights, "eval_rows": len(heldout)}
    found: dict[str, Any] = {}
    for way in options.ways.split(","):
        say(f"{way} ...")
        with tempfile.TemporaryDirectory(prefix="honed-benchmark-") as folder:
            settings = {**values, "name": "curve", **WAYS[way], **honed_job.given(options.set)}
            trained = honed_job.train(Path(folder) / "work", train, settings, heldout=heldout)
            held = [loss for _, loss in honed_job.curve(trained.job.events())]
        found[way] = {"seconds": round(trained.seconds, 1), "losses": list(trained.losses), "heldout": held}
        found[way]["ran"] = trained.result["ran"]
    first = next(iter(found))
    return {
        **surroundings(),
        "data": source,
        "rows": len(train),
        "heldout_rows": len(heldout),
        "weights": options.weights,
        "ways": found,
        "apart": {way: apart(found[first], found[way]) for way in list(found)[1:]},
    }


def apart(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """How far two runs' losses are from one another, step by step, and their held-out losses at the end."""
    differences = [b - a for a, b in zip(one["losses"], other["losses"], strict=True)]
    return {
        "mean": mean(differences),
        "mean_absolute": mean(map(abs, differences)),
        "largest": max(map(abs, differences)),
        "from_step_to_step": mean(abs(b - a) for a, b in pairwise(one["losses"])),
        "heldout": other["heldout"][-1] - one["heldout"][-1],
        "heldout_learned": one["heldout"][0] - one["heldout"][-1],
    }


if __name__ == "__main__":
    main()
