"""How honed's cost grows: tokens/s and peak memory against the length of rows, their number, and the number of ranks.

    python benchmarks/train_scale.py --axis length|rows|ranks [--points 256,1024,4096] [--layers 2] [--out scale.jsonl]

Prints a table for the docs and writes one JSON line a point to --out. Rows are synthetic. ``length``: rows of
exactly so many tokens, less a few. ``rows``: so many short rows in the dataset, of which a few steps are trained;
streamed from disk where honed has the setting; ``start`` is the time from the job's beginning to its first step.
``ranks``: so many processes on the same rows; memory is that of rank 0. --layers keeps only the model's first
layers: on a slow machine the shape of the growth can be had in minutes, and the numbers are then not those of the
whole model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from honed.errors import HonedError
from honed.jobs.events import Step
from honed.models import load as models
from honed.models import save as saving
from honed.models.chat import ChatFormat
from measure import data, honed_job
from measure.surroundings import say, surroundings

POINTS = {"length": "256,512,1024,2048,4096,8192", "rows": "1000,10000,100000,1000000", "ranks": "1,2"}
SHORT = (12, 24)
"""Words of prompt and answer of a row where only the number of rows matters."""

COLUMNS = ("tokens_per_second", "peak_bytes", "start_seconds", "seconds", "dataset_tokens")


def main() -> None:
    """Measure every point, a line each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=sorted(POINTS), required=True)
    parser.add_argument(
        "--points", help="comma-separated; default: " + "; ".join(f"{k} {v}" for k, v in POINTS.items())
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--weights", choices=["full", "lora"], default="full")
    parser.add_argument("--layers", type=int, help="keep only so many of the model's layers")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps a point, about")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of honed's training")
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--json", action="store_true", help="print the lines instead of the table")
    options = parser.parse_args()
    lines = []
    for line in measure(options):
        lines.append(line)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if options.json:
            print(json.dumps(line), flush=True)
    if not options.json:
        print(table(options.axis, lines))


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a document for each point; one that can't be measured says why."""
    around = surroundings()
    with tempfile.TemporaryDirectory(prefix="honed-benchmark-") as temporary:
        folder = Path(temporary)
        base = shallow(options.model, options.layers, folder / "model") if options.layers else options.model
        chat = models.load_chat(base, None)
        for text in (options.points or POINTS[options.axis]).split(","):
            point = int(text)
            try:
                found = _point(folder / text, base, chat, point, options)
            except HonedError as error:
                found = {"failed": error.message}
            said = found.get("failed") or f"{found['tokens_per_second']:.1f} tokens/s"
            say(f"{options.axis} {point}: {said}")
            yield {
                "axis": options.axis,
                "point": point,
                "layers": options.layers,
                "weights": options.weights,
                **found,
                **around,
            }


def shallow(model: str, layers: int, folder: Path) -> str:
    """Write ``model`` with only its first ``layers`` layers to ``folder`` and return the folder."""
    loaded = models.load(model, None)
    kept = loaded.model.get_decoder()
    assert layers <= len(kept.layers), f"{model} has {len(kept.layers)} layers"
    kept.layers = kept.layers[:layers]
    loaded.model.config.num_hidden_layers = layers
    if getattr(loaded.model.config, "layer_types", None):
        loaded.model.config.layer_types = loaded.model.config.layer_types[:layers]
    folder.mkdir(parents=True)
    saving.save(loaded.model, loaded.chat, folder)
    return str(folder)


def table(axis: str, lines: list[dict[str, Any]]) -> str:
    """Return the lines as a Markdown table."""
    rows = [f"| {axis} | tokens/s | peak memory | to the first step | training |", "|---|---|---|---|---|"]
    for line in lines:
        if "failed" in line:
            rows.append(f"| {line['point']:,} | {line['failed']} | | | |")
            continue
        speed, peak, start, seconds, _ = (line[column] for column in COLUMNS)
        rows.append(f"| {line['point']:,} | {speed:.0f} | {peak / 1e9:.1f} GB | {start:.0f} s | {seconds:.0f} s |")
    return "\n".join(rows)


def _point(folder: Path, base: str, chat: ChatFormat, point: int, options: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {"base": base, "weights": options.weights, "learning_rate": 1e-5}
    values |= {"batch_tokens": options.batch_tokens, **honed_job.given(options.set)}
    extra: dict[str, Any] = {}
    if options.axis == "length":
        values["batch_tokens"] = max(options.batch_tokens, point)
        count = max(1, options.steps * values["batch_tokens"] // point)
        rows: Any = data.sized(count, point, lambda row: len(chat.encode(row).ids))
    elif options.axis == "rows":
        rows = data.synthetic(point, SHORT)
        sample = [len(chat.encode(row).ids) for row in data.synthetic(50, SHORT)]
        total = point * sum(sample) / len(sample)
        values["epochs"] = min(1.0, options.steps * options.batch_tokens / total)
        values["stream"] = True
        extra["streamed"] = True
    else:
        values["ranks"] = point
        rows = data.synthetic(max(1, options.steps * options.batch_tokens // 200))
    begun = time.time()
    run = honed_job.train(folder, rows, values)
    first = next(event.time for event in run.job.events() if isinstance(event, Step))
    document = run.document()
    kept = {
        name: document[name]
        for name in ("tokens_per_second", "peak_bytes", "seconds", "dataset_tokens", "computed_tokens")
    }
    return {**kept, "start_seconds": first - run.job.status().started, "whole_seconds": time.time() - begun, **extra}


if __name__ == "__main__":
    main()
