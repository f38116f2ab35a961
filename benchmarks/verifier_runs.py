"""Instruction verifiers on stored answers: agreement with the official verdicts, repeated runs, fuzzed answers.

    python benchmarks/verifier_runs.py ifeval.jsonl ifbench.jsonl --out benchmarks/results/verifiers.json

The files hold answers with the verdicts of the benchmarks' own checkers, a row each: prompt, response,
instruction_id_list, strict, loose (.gz is read too); without any, those of the tests are taken. Every answer is judged
--repeats times, and all runs must give the same; then --fuzz answers made of any characters and of what the rules look
for are judged by instructions drawn at random, none of which may raise.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from honed.evaluate.suites import scores, suite
from honed.evaluate.suites.suite import Row
from honed.evaluate.verifiers.instruction import Instruction
from honed.evaluate.verifiers.table import IFBENCH, IFEVAL
from measure.surroundings import emit, say, surroundings

STORED = Path(__file__).parents[1] / "tests" / "evaluate" / "golden"
LEAST = 50
"""Characters of a prompt that must be those of a suite's for a row whose prompt was mended since."""


def main() -> None:
    """Judge, judge again, fuzz, and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="answers with official verdicts")
    parser.add_argument("--repeats", type=int, default=100, help="runs over all answers (default: 100)")
    parser.add_argument("--fuzz", type=int, default=20_000, help="fuzzed answers (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the document on one line")
    parser.add_argument("--out", type=Path, help="write the document there as well")
    options = parser.parse_args()
    files = options.files or sorted(STORED.glob("*.jsonl.gz"))
    document = {
        "files": {path.name: compared(path, options.repeats) for path in files},
        "fuzz": fuzzed(options.fuzz, options.seed),
        **surroundings(),
    }
    if options.out:
        options.out.write_text(json.dumps(document) + "\n")
    emit(document, compact=options.json)


def compared(path: Path, repeats: int) -> dict[str, Any]:
    """Return how many verdicts agree, those that don't, and whether all runs gave the same."""
    data = path.read_bytes()
    text = gzip.decompress(data).decode() if path.suffix == ".gz" else data.decode()
    lines = [json.loads(line) for line in text.splitlines()]
    rows = {row.key.strip(): row for name in ("ifeval", "ifbench") for row in suite.read(name).rows}
    pairs = [(line, row) for line in lines if (row := _row(line, rows)) is not None]
    agree: Counter[str] = Counter()
    differ = []
    for line, row in pairs:
        for one, *official in zip(scores.judge(row, line["response"]), line["strict"], line["loose"], strict=True):
            ours = [one.strict.passed, one.loose.passed]
            agree["instructions"] += 1
            agree["strict"] += ours[0] == official[0]
            agree["loose"] += ours[1] == official[1]
            if ours != official:
                found = {"instruction": one.id, "answer": line["response"][:40], "official": official, "ours": ours}
                differ.append({**found, "why": one.strict.why})
    start = time.process_time()
    runs = {tuple(tuple(scores.judge(row, line["response"])) for line, row in pairs) for _ in range(repeats)}
    seconds = time.process_time() - start
    say(f"{path.name}: {dict(agree)}, {len(runs)} different of {repeats} runs")
    return {
        "answers": len(lines),
        "answers_of_a_suite": len(pairs),
        **agree,
        "differ": differ,
        "runs": repeats,
        "different_runs": len(runs),
        "cpu_seconds_a_run": seconds / repeats,
    }


def _row(line: Mapping[str, Any], rows: Mapping[str, Row]) -> Row | None:
    """Return the suite's row for a stored answer, None if there is none; a mended full stop makes no difference."""
    prompt = str(line["prompt"]).strip()
    return rows.get(prompt) or rows.get(prompt.replace("times..", "times."))


def fuzzed(count: int, seed: int) -> dict[str, Any]:
    """Judge drawn answers by drawn instructions; return what raised."""
    every = [*IFEVAL.values(), *IFBENCH.values()]
    draw = Random(seed)
    raised: Counter[str] = Counter()
    passed = 0
    for number in range(count):
        instruction = every[number % len(every)]
        try:
            passed += _passes(instruction, draw)
        except Exception as error:  # noqa: BLE001 - that any may come is what is measured
            raised[f"{instruction.id}: {type(error).__name__}: {error}"] += 1
    return {"answers": count, "instructions": len(every), "passed": passed, "raised": dict(raised)}


def _passes(instruction: Instruction[Any], draw: Random) -> bool:
    request = _text(draw).encode(errors="ignore").decode()  # no import lets half a surrogate into a prompt
    params = instruction.draw(draw, request)
    answer = _text(draw)
    strict = instruction.verify(params, (), answer)
    loose = instruction.verify_loosely(params, (), answer)
    assert loose.passed or not strict.passed, f"{instruction.id}: loose is stricter"
    return strict.passed


_PARTS: Sequence[str] = (
    *("# Title", "**bold**", "* item", "- item", "1. one", "```json", '{"a": 1}', "[x]", "<<title>>", "P.S.", "***"),
    *("\n", "\n\n", " ", "\t", ".", "!", "?", ",", ";", '"', "'", "SECTION 1", "Paragraph 2", "word", "Word", "WORD"),
    *("\u00e9", "\u4e2d", "\u0627", "\U0001f600", "\u200b", "\ud800", "\x00", "\u2028", "\u212a", "\u0661", "\u0345"),
    *(
        "the",
        "and",
        "yes",
        "no",
        "maybe",
        "answer:",
        "A)",
        "1,000",
        "3.5",
        "http://a.b",
        "(",
        ")",
        "<a>",
        "\\",
        "%s",
        "{}",
    ),
)


def _text(draw: Random) -> str:
    """Return characters of any kind, or what the rules look for, mixed."""
    parts: Iterator[str] = (
        draw.choice(_PARTS) if draw.random() < 0.7 else chr(draw.randrange(0x110000)) for _ in range(draw.randrange(60))
    )
    return draw.choice(["", " "]).join(parts)


if __name__ == "__main__":
    main()
