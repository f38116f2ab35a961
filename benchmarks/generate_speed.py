"""How fast greedy answers are made on a CPU: honed's engine and transformers' generate, the same prompts, one run.

    python benchmarks/generate_speed.py [--suite ifeval] [--rows 128] [--max-tokens 256] [--batch 96] [--peer-batch 32]
                                        [--no-peer] [--guesses] [--json] [--out FILE]

Prompts are the first of an embedded suite, IFEval or IFBench. transformers gets batches of ``--peer-batch`` rows sorted
by length, padded on the left, with its own default cache and attention, and stops a batch when all its rows have ended.
Each side warms up on two short answers first. Processor time is told beside wall time: on a machine that does other
work too, it is the one that can be compared. ``equal`` counts answers with the same ids; a pair that differs is told
with the gap between the two likeliest tokens' logits at the place where they part. ``ceiling`` is what a step of
``--batch`` tokens would take if it were its matrix products alone, and the tokens a second that this would give.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from honed.evaluate.suites import suite
from honed.models import load, local
from honed.models.batch import batch
from honed.models.engine import Sampling
from honed.models.load import LoadedModel
from honed.models.row import Row, make_row
from measure.gemm import rate
from measure.surroundings import emit, say, surroundings

_WARM_TOKENS = 4


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=["ifeval", "ifbench"], default="ifeval", help="whose prompts")
    parser.add_argument("--rows", type=int, default=128, help="prompts")
    parser.add_argument("--max-tokens", type=int, default=256, help="longest answer")
    parser.add_argument("--batch", type=int, default=96, help="answers that honed makes together")
    parser.add_argument("--peer-batch", type=int, default=32, help="answers that generate makes together")
    parser.add_argument("--guesses", action="store_true", help="measure honed without its guesses as well")
    parser.add_argument("--model", default="smollm2-135m", help="any model that honed loads")
    parser.add_argument("--no-peer", action="store_true", help="leave transformers' generate out")
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    parser.add_argument("--out", type=Path, help="write the document to this file too")
    options = parser.parse_args()
    document = measured(options, load.load(options.model, None), prompts(options.suite, options.rows))
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    emit(document, compact=options.json)


def prompts(name: str, count: int) -> list[Any]:
    """Return the turns of a suite's first prompts."""
    return [row.conversation.prompt for row in suite.read(name).rows[:count]]


def measured(options: argparse.Namespace, loaded: LoadedModel, asked: Sequence[Any]) -> dict[str, Any]:
    """Return the document: each way's speed, and whether the answers are equal."""
    ways: dict[str, Any] = {}
    answers: dict[str, list[list[int]]] = {}
    for name, guess in (("honed", True), *((("honed, no guesses", False),) if options.guesses else ())):
        say(f"{name} ...")
        answers[name], ways[name] = _timed(lambda guess=guess: honed(loaded, asked, options, guess=guess), loaded)
    if not options.no_peer:
        say("transformers ...")
        answers["transformers"], ways["transformers"] = _timed(lambda: transformers(loaded, asked, options), loaded)
        for name in answers.keys() - {"transformers"}:
            ways[name]["against_transformers"] = {
                clock: round(ways["transformers"][clock] / ways[name][clock], 2)
                for clock in ("seconds", "processor_seconds")
            }
            ways[name]["equal"] = _equal(loaded, asked, answers[name], answers["transformers"])
    return {
        **surroundings(),
        "model": options.model,
        "suite": options.suite,
        "rows": len(asked),
        "max_tokens": options.max_tokens,
        "batch": options.batch,
        "peer_batch": options.peer_batch,
        "prompt_tokens": sum(len(loaded.chat.prompt_ids(prompt)) for prompt in asked),
        "answers_that_ended": sum(ids[-1] in loaded.chat.stop_ids for ids in answers["honed"]),
        "ceiling": ceiling(loaded, options.batch),
        "ways": ways,
    }


def honed(loaded: LoadedModel, asked: Sequence[Any], options: argparse.Namespace, *, guess: bool) -> list[list[int]]:
    """Return the ids of honed's answers, stop token included."""
    rows: list[Row] = [make_row(loaded, prompt, Sampling(max_tokens=options.max_tokens)) for prompt in asked]
    running = batch(loaded, min(options.batch, len(rows)), guess=guess)
    running.add(local.in_order(rows))
    while not running.over:
        running.step()
    return [row.sequence[len(row.ids) :] for row in rows]


def transformers(loaded: LoadedModel, asked: Sequence[Any], options: argparse.Namespace) -> list[list[int]]:
    """Return the ids of ``generate``'s answers, stop token included, in batches of about the same prompt length."""
    model: Any = loaded.model
    ids = [loaded.chat.prompt_ids(prompt) for prompt in asked]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    found: dict[int, list[int]] = {}
    for start in range(0, len(order), options.peer_batch):
        places = order[start : start + options.peer_batch]
        width = max(len(ids[at]) for at in places)
        padded = torch.tensor([[loaded.chat.pad_id] * (width - len(ids[at])) + ids[at] for at in places])
        seen = torch.tensor([[0] * (width - len(ids[at])) + [1] * len(ids[at]) for at in places])
        made = model.generate(
            padded,
            attention_mask=seen,
            max_new_tokens=options.max_tokens,
            do_sample=False,
            eos_token_id=sorted(loaded.chat.stop_ids),
            pad_token_id=loaded.chat.pad_id,
        )
        for at, line in zip(places, made[:, width:].tolist(), strict=True):
            end = next((i + 1 for i, token in enumerate(line) if token in loaded.chat.stop_ids), len(line))
            found[at] = line[:end]
    return [found[at] for at in range(len(ids))]


def ceiling(loaded: LoadedModel, rows: int) -> dict[str, float]:
    """Seconds of a step's matrix products at ``rows`` tokens, and at one: bytes of weights a second as well."""
    shapes = [tuple(module.weight.shape) for module in loaded.model.modules() if isinstance(module, torch.nn.Linear)]
    times = {}
    for tokens in (rows, 1):
        each = {
            shape: 2.0 * tokens * shape[0] * shape[1] / rate(tokens, shape[1], shape[0], seconds=0.2)
            for shape in sorted(set(shapes))
        }
        times[tokens] = sum(each[shape] for shape in shapes)
    weights = 4 * sum(out * into for out, into in shapes)
    return {
        "products_seconds": round(times[rows], 4),
        "tokens_per_second": round(rows / times[rows], 1),
        "one_row_tokens_per_second": round(1 / times[1], 1),
        "one_row_weight_bytes_per_second": round(weights / times[1]),
    }


def _timed(work: Callable[[], list[list[int]]], loaded: LoadedModel) -> tuple[list[list[int]], dict[str, Any]]:
    with torch.inference_mode():
        loaded.model(torch.zeros(1, _WARM_TOKENS, dtype=torch.long))
        wall, processor = time.perf_counter(), time.process_time()
        answers = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    tokens = sum(map(len, answers))
    return answers, {
        "seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "tokens": tokens,
        "tokens_per_second": round(tokens / wall, 1),
        "tokens_per_processor_second": round(tokens / processor, 1),
        "answers_per_minute": round(60 * len(answers) / wall, 1),
    }


def _equal(
    loaded: LoadedModel, asked: Sequence[Any], ours: Sequence[list[int]], theirs: Sequence[list[int]]
) -> dict[str, Any]:
    """Count equal answers; of the others tell how near the two likeliest tokens were where they part."""
    gaps = []
    for prompt, one, other in zip(asked, ours, theirs, strict=True):
        if one != other:
            at = next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
            )
            with torch.inference_mode():
                logits = loaded.model(torch.tensor([loaded.chat.prompt_ids(prompt) + one[:at]])).logits[0, -1]
            best = logits.topk(2).values
            gaps.append(round(float(best[0] - best[1]), 6))
    return {"rows": len(ours) - len(gaps), "gaps_where_they_part": sorted(gaps)}


if __name__ == "__main__":
    main()
