"""How fast data is checked, imported and curated, in how much memory, and how much of what was planted is found.

    python benchmarks/data_speed.py [--rows 10000] [--no-curate] [--no-peer] [--datatrove PYTHON] [--json] [--out FILE]

Rows are synthetic, of the words of the embedded set, with planted faults (0.2 %, each kind of ``measure.faults`` in its
turn; more below 9,000 rows), exact (2 %) and near (5 %) duplicates, and runs of 8 and 13 words of a made-up evaluation
set (1 %). Everything runs as a user would run it, in processes of its own whose peak memory and processor time are
read. ``near``: recall over the planted pairs that are near duplicates by the step's own definition, worked out here a
second time; precision over the dropped rows. Beside it run datasketch, where it is installed, and a script in the
manner of text-dedup (``peers``), with the same runs of words and threshold and 128 (125) permutations, in this process;
and datatrove's MinHash pipeline, where an interpreter that has it is named. ``--no-curate`` leaves out curation, and
the peers. Personal data is planted in sentences, 1,000 of each kind, beside sentences with numbers that are nobody's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from importlib import metadata
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

from honed.config import build
from honed.data import dropped
from honed.data.config import DataConfig
from honed.data.curate.near import Near
from honed.data.curate.personal.patterns import spans
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.run import run as curate
from honed.data.run import run as import_
from honed.jobs import launch
from honed.jobs.job import Job
from honed.records import Message, turns_id
from honed.store import artifacts, workspace
from honed.store.workspace import Workspace
from measure.faults import FAULTS
from measure.planted import DECOYS, PERSONAL, Planted, drawn, evaluation_prompts, personal
from measure.surroundings import say, surroundings
from peers.text_dedup_style import clusters

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
_DATATROVE = Path(__file__).parent / "peers" / "datatrove_dedup.py"

Text = tuple[str, str]


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="rows to make, 10,000 to 1,000,000")
    parser.add_argument("--no-curate", action="store_true", help="check and import only")
    parser.add_argument("--no-peer", action="store_true", help="leave the other tools out")
    parser.add_argument(
        "--datatrove", metavar="PYTHON", help="an interpreter that has datatrove[io,processing] and spacy"
    )
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    parser.add_argument("--out", type=Path, help="write the document to this file too")
    options = parser.parse_args()
    document = measure(options.rows, options.datatrove, curation=not options.no_curate, peer=not options.no_peer)
    text = json.dumps(document, indent=None if options.json else 1)
    if options.out:
        options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(text)


def measure(rows: int, datatrove: str | None = None, *, curation: bool = True, peer: bool = True) -> dict[str, Any]:
    """Return the document: speeds, memory, recall and precision."""
    prompts = evaluation_prompts(_EVALUATION)
    say(f"making {rows:,} rows")
    planted = drawn(rows, prompts)
    with tempfile.TemporaryDirectory() as folder:
        home = workspace.init(Path(folder) / "workspace")
        file, asked = Path(folder) / "rows.jsonl", Path(folder) / "asked.jsonl"
        faulty = _write(file, planted)
        asked.write_text("".join(json.dumps({"prompt": one, "response": "-"}) + "\n" for one in prompts))
        say("check, import, curate")
        document = {
            "rows": rows,
            "check": _check(file, faulty),
            "import": _import(home, file, rows),
            "curate": _curate(home, asked, planted) if curation else {"missing": "not asked for"},
            "personal": _personal(),
        }
    peer = peer and curation
    missing = "not asked for" if not peer else "" if find_spec("datasketch") else "not installed"
    say("datasketch" if not missing else f"datasketch: {missing}")
    document["datasketch"] = {"missing": missing} if missing else _datasketch(planted)
    document["text_dedup_style"] = _text_dedup_style(planted) if peer else {"missing": "not asked for"}
    say("datatrove" if datatrove else "datatrove: no interpreter given")
    document["datatrove"] = _datatrove(planted, datatrove) if datatrove else {"missing": "no interpreter given"}
    return {**document, **surroundings(), "load_average": os.getloadavg()}


def _write(file: Path, planted: Planted) -> dict[int, str]:
    """Write the rows as JSON lines, with faulty ones between; return the lines of these, and what is wrong there."""
    faulty: dict[int, str] = {}
    each = min(_FAULTY, len(planted.rows) // len(FAULTS))
    ways = cycle(FAULTS)
    with file.open("wb") as out:
        line = 0
        for place, (prompt, answer) in enumerate(planted.rows):
            line += 1
            out.write(json.dumps({"prompt": prompt, "response": answer}).encode() + b"\n")
            if place % each == 0:
                line += 1
                faulty[line] = next(ways)
                out.write(FAULTS[faulty[line]][1](f"{prompt} {place}", answer) + b"\n")
    return faulty


def _check(file: Path, faulty: Mapping[int, str]) -> dict[str, Any]:
    code = "import sys; from honed.cli.main import main; sys.exit(main())"
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-c", code, "data", "check", str(file), "--json"], stdout=out)
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = 0  # it was waited for here
        out.seek(0)
        found = json.loads(out.read())
    told = {(fault["line"], fault["kind"]) for fault in found["faults"] if fault["severity"] == "fault"}
    lines = {line for line, _ in told}
    return {
        "rows_per_second": found["rows"] / seconds,
        "rows_per_cpu_second": found["rows"] / (usage.ru_utime + usage.ru_stime),
        "seconds": seconds,
        "peak_bytes": usage.ru_maxrss * 1024,
        "planted_faults": len(faulty),
        "found_at_their_line": len(lines & set(faulty)),
        "others": len(lines - set(faulty)),
        "by_kind": {
            way: _found([line for line in faulty if faulty[line] == way], FAULTS[way][0], told) for way in FAULTS
        },
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
    told = [json.loads(line) for line in (folder / "findings.jsonl").read_text().splitlines()]
    ids = [_id(row) for row in planted.rows]
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
        "near": _near(planted, ids, out),
        "exact": _exact(planted, ids, out),
        "decontaminate": _decontaminated(planted, ids, out, told),
    }


def _cost(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "seconds": result["seconds"],
        "cpu_seconds": result["cpu_seconds"],
        "peak_bytes": result["peak_rss_bytes"],
    }


def _left_out(folder: Path) -> Iterable[dict[str, str]]:
    for fault, text in dropped.read(folder):
        messages = [Message(**turn) for turn in json.loads(text)["messages"]]
        yield {"id": turns_id(messages), "kind": fault.kind, "what": fault.message}


def _id(row: Text) -> str:
    return turns_id((Message(role="user", content=row[0]), Message(role="assistant", content=row[1])))


def _runs(text: str) -> set[tuple[str, ...]]:
    """Return runs of three words, written a second time, without anything of honed's."""
    for mark in '.,;:!?"()[]{}':
        text = text.replace(mark, " ")
    said = text.lower().split()
    return {tuple(said[at : at + 3]) for at in range(max(1, len(said) - 2))}


def _alike(one: str, other: str) -> float:
    left, right = _runs(one), _runs(other)
    return len(left & right) / len(left | right)


def _are_near(one: Text, other: Text) -> bool:
    settings = Near()
    whole = _alike("\n".join(one), "\n".join(other)) >= settings.threshold
    return whole and _alike(one[1], other[1]) >= settings.answers


def _near(planted: Planted, ids: Sequence[str], out: dict[str, tuple[str, str]]) -> dict[str, Any]:
    contaminated = {id_ for id_, (kind, _) in out.items() if "evaluation" in kind}
    truth = [
        (ids[one], ids[other])
        for one, other in planted.near
        if _are_near(planted.rows[one], planted.rows[other]) and not {ids[one], ids[other]} & contaminated
    ]
    found = sum(one in out or other in out for one, other in truth)
    rows = dict(zip(ids, planted.rows, strict=True))
    claims = [(id_, what.rsplit(" ", 1)[1]) for id_, (kind, what) in out.items() if kind == "near duplicate"]
    right = sum(_are_near(rows[one], rows[other]) for one, other in claims)
    return {
        "planted_pairs": len(truth),
        "recall": found / len(truth) if truth else None,
        "dropped": len(claims),
        "precision": right / len(claims) if claims else None,
    }


def _exact(planted: Planted, ids: Sequence[str], out: dict[str, tuple[str, str]]) -> dict[str, Any]:
    found = sum(ids[one] in out or ids[other] in out for one, other in planted.exact)
    return {"planted_pairs": len(planted.exact), "recall": found / len(planted.exact) if planted.exact else None}


def _decontaminated(
    planted: Planted, ids: Sequence[str], out: dict[str, tuple[str, str]], told: Sequence[dict[str, str]]
) -> dict[str, Any]:
    reported = {one["row"]: one["what"] for one in told if one["step"] == "decontaminate"}
    result: dict[str, Any] = {}
    for length in (8, 13):
        places = [place for place, (long, _) in planted.grams.items() if long == length]
        found = [out.get(ids[place], ("", ""))[1] or reported.get(ids[place], "") for place in places]
        named = [
            f"asked.jsonl:line {planted.grams[place][1] + 1}:" in what
            for place, what in zip(places, found, strict=True)
        ]
        result[f"{length}-grams"] = {"planted": len(places), "found": sum(map(bool, found)), "right_row": sum(named)}
    expected = {ids[place] for place in planted.grams}
    copies = {ids[at] for pair in (*planted.near, *planted.exact) for at in pair}
    hits = {*reported, *(id_ for id_, (kind, _) in out.items() if "evaluation" in kind)}
    return {**result, "other_rows_hit": len(hits - expected - copies)}


def _personal() -> dict[str, Any]:
    result: dict[str, Any] = {}
    for kind in PERSONAL:
        found = wrong = 0
        for text, value in personal(kind, _PERSONAL, seed=7):
            marked = spans(text)
            right = sum(one.kind == kind and text[one.start : one.end] == value for one in marked)
            found, wrong = found + right, wrong + len(marked) - right
        result[kind] = {"recall": found / _PERSONAL, "precision": found / max(1, found + wrong)}
    result["decoys"] = {"texts": len(DECOYS), "found_in": sum(bool(spans(text)) for text in DECOYS)}
    return result


def _text_dedup_style(planted: Planted) -> dict[str, Any]:
    start, cpu = time.monotonic(), time.process_time()
    first = clusters([_runs("\n".join(row)) for row in planted.rows])
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    truth = [pair for pair in planted.near if _are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
    claims = [(one, place) for place, one in enumerate(first) if one != place]
    right = sum(_alike("\n".join(planted.rows[a]), "\n".join(planted.rows[b])) >= Near().threshold for a, b in claims)
    return {
        "rows_per_second": len(planted.rows) / seconds,
        "rows_per_cpu_second": len(planted.rows) / cpu,
        "seconds": seconds,
        "recall": sum(first[one] == first[other] for one, other in truth) / len(truth) if truth else None,
        "precision": right / len(claims) if claims else None,
    }


def _datasketch(planted: Planted) -> dict[str, Any]:
    from datasketch import MinHash, MinHashLSH

    settings = Near()
    start, cpu = time.monotonic(), time.process_time()
    index = MinHashLSH(threshold=settings.threshold, num_perm=128)
    pairs: set[tuple[int, int]] = set()
    for place, row in enumerate(planted.rows):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(run).encode() for run in _runs("\n".join(row))])
        pairs.update((other, place) for other in index.query(sketch))
        index.insert(place, sketch)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    truth = [pair for pair in planted.near if _are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
    right = sum(_alike("\n".join(planted.rows[a]), "\n".join(planted.rows[b])) >= settings.threshold for a, b in pairs)
    return {
        "version": metadata.version("datasketch"),
        "rows_per_second": len(planted.rows) / seconds,
        "rows_per_cpu_second": len(planted.rows) / cpu,
        "seconds": seconds,
        "recall": sum(pair in pairs for pair in truth) / len(truth) if truth else None,
        "precision": right / len(pairs) if pairs else None,
    }


def _datatrove(planted: Planted, python: str) -> dict[str, Any]:
    """The pipeline with its own normalisation of texts (numbers are all alike to it), which names no pairs."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows" / "rows.jsonl"
        rows.parent.mkdir()
        with rows.open("w") as out:
            for place, row in enumerate(planted.rows):
                out.write(json.dumps({"text": "\n".join(row), "id": str(place)}) + "\n")
        asked = [python, str(_DATATROVE), str(rows), str(Path(folder) / "out"), str(os.cpu_count()), "3", "25", "5"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"missing": done.stderr.strip().splitlines()[-1]}
    found = json.loads(done.stdout)
    dropped_ = set(range(len(planted.rows))) - set(map(int, found["kept"]))
    truth = [pair for pair in planted.near if _are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
    copies = {at for pair in (*planted.near, *planted.exact) for at in pair}
    return {
        "version": found["version"],
        "rows_per_second": len(planted.rows) / found["seconds"],
        "rows_per_cpu_second": len(planted.rows) / found["processor_seconds"],
        "seconds": found["seconds"],
        "recall": sum(bool(dropped_ & set(pair)) for pair in truth) / len(truth) if truth else None,
        "dropped": len(dropped_),
        "dropped_but_no_copy": len(dropped_ - copies),
    }


if __name__ == "__main__":
    main()
