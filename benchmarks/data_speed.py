"""How fast data is checked, imported and curated, in how much memory, and how much of what was planted is found.

    python benchmarks/data_speed.py [--rows 10000] [--no-curate] [--no-peer] [--datatrove PYTHON] [--json] [--out FILE]

Rows are put together from sentences of public sets (``measure.sentences``; where they are not here, of the embedded
set), with planted faults (0.2 %, each kind of ``measure.faults`` in its turn; more below 9,000 rows), exact (2 %), near
(5 %) duplicates, runs of 8 and 13 words of a made-up evaluation set (1 %), rows that are suspicious in a known way
(3 %), personal data (3 %) and what only looks like it (1 %). Everything runs as a user would run it, in processes of
its own whose peak memory (of the main one, and of the largest that it started) and processor time are read. ``near``:
recall over the planted pairs that are near duplicates by the step's own definition, worked out here a second time;
precision over the dropped rows. Beside it run datasketch, where it is installed, and a script in the manner of
text-dedup (``peers``), with the same runs of words and threshold and 128 (125) permutations, in this process; and
datatrove's MinHash pipeline, where an interpreter that has it is named. ``--no-curate`` leaves out curation, and the
peers. ``personal``: what the patterns find in single sentences, 1,000 with each kind and 250 with what looks like it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

from honed.config import build
from honed.data import dropped
from honed.data.config import DataConfig
from honed.data.curate.personal.patterns import spans
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.run import run as curate
from honed.data.run import run as import_
from honed.jobs import launch
from honed.jobs.job import Job
from honed.records import Message, turns_id
from honed.store import artifacts, workspace
from honed.store.workspace import Workspace
from measure import beside
from measure.faults import FAULTS
from measure.found import decontaminated, exact, masked, near, suspicions
from measure.personal import DECOYS, PERSONAL, look_alikes, personal
from measure.planted import Planted, drawn, evaluation_prompts
from measure.sentences import sentences
from measure.surroundings import say, surroundings
from measure.truth import row_id

STEPS = (
    "decontaminate",
    "exact",
    "near",
    "pii",
    "secrets",
    "toxicity",
    "contradictions",
    "triggers",
    "languages",
    "length",
)
_EVALUATION = 500
_FAULTY = 500
"""One faulty row is written to so many others."""
_PERSONAL = 1000
_LOOK_ALIKES = 250
_CHECKING = """
import json, pathlib, resource, sys
from honed.cli.main import run
*given, out = sys.argv[1:]
code = run(given)
peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
pathlib.Path(out).write_text(json.dumps(peaks))
sys.exit(code)
"""
"""The command, and afterwards the peak memory of its process and of the largest that this started, into a file."""


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="rows to make, 10,000 to 1,000,000")
    parser.add_argument("--no-curate", action="store_true", help="check and import only")
    parser.add_argument("--no-peer", action="store_true", help="leave the other tools out")
    parser.add_argument(
        "--datatrove", metavar="PYTHON", help="an interpreter that has datatrove[io,processing] and spacy"
    )
    parser.add_argument("--data-juicer", metavar="PYTHON", help="one that has py-data-juicer, aiohttp and ray")
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    parser.add_argument("--out", type=Path, help="write the document to this file too")
    options = parser.parse_args()
    elsewhere = {name: getattr(options, name) for name in ELSEWHERE}
    document = measure(options.rows, elsewhere, curation=not options.no_curate, peer=not options.no_peer)
    text = json.dumps(document, indent=None if options.json else 1)
    if options.out:
        options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(text)


ELSEWHERE = {"datatrove": beside.datatrove, "data_juicer": beside.data_juicer}
"""Tools that run in an interpreter of their own."""


def measure(
    rows: int, elsewhere: Mapping[str, str | None] | None = None, *, curation: bool = True, peer: bool = True
) -> dict[str, Any]:
    """Return the document: speeds, memory, recall and precision; ``elsewhere`` has the interpreters of other tools."""
    prompts = evaluation_prompts(_EVALUATION)
    say(f"making {rows:,} rows")
    pool = sentences()
    planted = drawn(rows, prompts, pool)
    with tempfile.TemporaryDirectory() as folder:
        home = workspace.init(Path(folder) / "workspace")
        file, asked = Path(folder) / "rows.jsonl", Path(folder) / "asked.jsonl"
        lines, faulty = _write(file, planted)
        asked.write_text("".join(json.dumps({"prompt": one, "response": "-"}) + "\n" for one in prompts))
        say("check, import, curate")
        document = {
            "rows": rows,
            "rows_of": pool.source,
            "check": _check(file, planted, lines, faulty),
            "import": _import(home, file, rows),
            "curate": _curate(home, asked, planted) if curation else {"missing": "not asked for"},
            "personal": _personal(),
        }
    peer = peer and curation
    missing = "not asked for" if not peer else "" if find_spec("datasketch") else "not installed"
    say("datasketch" if not missing else f"datasketch: {missing}")
    document["datasketch"] = {"missing": missing} if missing else beside.datasketch(planted)
    document["text_dedup_style"] = beside.text_dedup_style(planted) if peer else {"missing": "not asked for"}
    for name, measured in ELSEWHERE.items():
        python = (elsewhere or {}).get(name)
        say(name if python else f"{name}: no interpreter given")
        document[name] = measured(planted, python) if python else {"missing": "no interpreter given"}
    return {**document, **surroundings(), "load_average": os.getloadavg()}


def _write(file: Path, planted: Planted) -> tuple[list[int], dict[int, str]]:
    """Write the rows as JSON lines, with faulty ones between; return their lines, and what is wrong on the others."""
    lines: list[int] = []
    faulty: dict[int, str] = {}
    each = min(_FAULTY, len(planted.rows) // len(FAULTS))
    ways = cycle(FAULTS)
    with file.open("wb") as out:
        line = 0
        for place, (prompt, answer) in enumerate(planted.rows):
            line += 1
            lines.append(line)
            out.write(json.dumps({"prompt": prompt, "response": answer}).encode() + b"\n")
            if place % each == 0:
                line += 1
                faulty[line] = next(ways)
                out.write(FAULTS[faulty[line]][1](f"{prompt} {place}", answer) + b"\n")
    return lines, faulty


def _check(file: Path, planted: Planted, lines: Sequence[int], faulty: Mapping[int, str]) -> dict[str, Any]:
    peaks = file.with_name("peaks.json")
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-c", _CHECKING, "data", "check", str(file), "--json", str(peaks)]
        process = subprocess.Popen(command, stdout=out)
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = 0  # it was waited for here
        out.seek(0)
        found = json.loads(out.read())
    own, largest = json.loads(peaks.read_text())
    told = {(fault["line"], fault["kind"]) for fault in found["faults"] if fault["severity"] == "fault"}
    struck = {line for line, _ in told}
    return {
        "rows_per_second": found["rows"] / seconds,
        "rows_per_cpu_second": found["rows"] / (usage.ru_utime + usage.ru_stime),
        "seconds": seconds,
        "peak_bytes": own,
        "largest_child_bytes": largest,
        "planted_faults": len(faulty),
        "found_at_their_line": len(struck & set(faulty)),
        "others": len(struck - set(faulty)),
        "by_kind": {
            way: _found([line for line in faulty if faulty[line] == way], FAULTS[way][0], told) for way in FAULTS
        },
        "suspicions": suspicions(found["faults"], planted, lines),
    }


def _found(planted: Sequence[int], kind: str, told: Set[tuple[int, str]]) -> dict[str, int]:
    """Count the lines of one way to be faulty: in all, those with a fault, and those whose fault has the right name."""
    return {
        "planted": len(planted),
        "found_at_their_line": len({line for line, _ in told} & set(planted)),
        "called_right": sum((line, kind) in told for line in planted),
    }


def _import(home: Workspace, file: Path, rows: int) -> dict[str, Any]:
    config = {"name": "rows", "files": [str(file)], "shape": "prompt-response", "heldout": 0, "allow_faults": True}
    job = import_(home, build(DataConfig, config, "data"))
    result = launch.wait(job)
    rates = {"rows_per_second": rows / result["seconds"], "rows_per_cpu_second": rows / result["cpu_seconds"]}
    return {**rates, **_cost(result)}


def _curate(home: Workspace, asked: Path, planted: Planted) -> dict[str, Any]:
    config = {"dataset": "rows", "name": "clean", "steps": STEPS, "decontaminate": {"against": [str(asked)]}}
    job: Job = curate(home, build(CurateConfig, config, "curate"))
    result = launch.wait(job)
    folder = artifacts.resolve(home, "datasets", result["dataset"]).path
    out = {one["id"]: (one["kind"], one["what"]) for one in _left_out(folder)}
    told = [json.loads(line) for line in (folder / "findings.jsonl").read_bytes().splitlines()]
    ids = [row_id(row) for row in planted.rows]
    steps = {
        step["step"]: {
            "rows_per_second": step["rows_in"] / result["step_seconds"][step["step"]],
            "rows_per_cpu_second": step["rows_in"] / max(0.01, result["step_cpu_seconds"][step["step"]]),
            "seconds": result["step_seconds"][step["step"]],
            "dropped": step["dropped"],
            "reported": step["reported"],
        }
        for step in result["curation"]
    }
    return {
        **_cost(result),
        "steps": steps,
        "near": near(planted, ids, out),
        "exact": exact(planted, ids, out),
        "decontaminate": decontaminated(planted, ids, out, told),
        "personal": masked(planted, ids, out, told, folder),
    }


def _cost(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "seconds": result["seconds"],
        "cpu_seconds": result["cpu_seconds"],
        "peak_bytes": result["peak_rss_bytes"],
        "largest_child_bytes": result["largest_child_bytes"],
    }


def _left_out(folder: Path) -> Iterable[dict[str, str]]:
    for fault, text in dropped.read(folder):
        messages = [Message(**turn) for turn in json.loads(text)["messages"]]
        yield {"id": turns_id(messages), "kind": fault.kind, "what": fault.message}


def _personal() -> dict[str, Any]:
    """Count what is found in single sentences; a find is right if it is what was planted, and nothing more or less."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for kind in PERSONAL:
        for text, value in personal(kind, _PERSONAL, seed=7):
            marked = spans(text)
            right[kind] += any(one.kind == kind and text[one.start : one.end] == value for one in marked)
            wrong.update(one.kind for one in marked if one.kind != kind or text[one.start : one.end] != value)
        for text, _ in look_alikes(kind, _LOOK_ALIKES, seed=7):
            marked = spans(text)
            taken[kind] += bool(marked)
            wrong.update(one.kind for one in marked)
    result: dict[str, Any] = {
        kind: {
            "recall": right[kind] / _PERSONAL,
            "precision": right[kind] / max(1, right[kind] + wrong[kind]),
            "look_alikes": _LOOK_ALIKES,
            "taken_for_personal": taken[kind],
        }
        for kind in PERSONAL
    }
    result["decoys"] = {"texts": len(DECOYS), "found_in": sum(bool(spans(text)) for text in DECOYS)}
    return result


if __name__ == "__main__":
    main()
