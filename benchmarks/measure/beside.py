"""Near duplicates by the tools that a user would take otherwise, on the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from honed.data.curate.near import Near
from measure.planted import Planted
from measure.truth import alike, are_near, word_runs
from peers.text_dedup_style import clusters

_PEERS = Path(__file__).parents[1] / "peers"


def text_dedup_style(planted: Planted) -> dict[str, Any]:
    """Measure a script in the manner of text-dedup, in this process."""
    start, cpu = time.monotonic(), time.process_time()
    first = clusters([word_runs("\n".join(row)) for row in planted.rows])
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    truth = [pair for pair in planted.near if are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
    claims = [(one, place) for place, one in enumerate(first) if one != place]
    right = sum(alike("\n".join(planted.rows[a]), "\n".join(planted.rows[b])) >= Near().threshold for a, b in claims)
    return {
        "rows_per_second": len(planted.rows) / seconds,
        "rows_per_cpu_second": len(planted.rows) / cpu,
        "seconds": seconds,
        "recall": sum(first[one] == first[other] for one, other in truth) / len(truth) if truth else None,
        "precision": right / len(claims) if claims else None,
    }


def datasketch(planted: Planted) -> dict[str, Any]:
    """Measure datasketch, in this process."""
    from datasketch import MinHash, MinHashLSH

    settings = Near()
    start, cpu = time.monotonic(), time.process_time()
    index = MinHashLSH(threshold=settings.threshold, num_perm=128)
    pairs: set[tuple[int, int]] = set()
    for place, row in enumerate(planted.rows):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(run).encode() for run in word_runs("\n".join(row))])
        pairs.update((other, place) for other in index.query(sketch))
        index.insert(place, sketch)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    truth = [pair for pair in planted.near if are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
    right = sum(alike("\n".join(planted.rows[a]), "\n".join(planted.rows[b])) >= settings.threshold for a, b in pairs)
    return {
        "version": metadata.version("datasketch"),
        "rows_per_second": len(planted.rows) / seconds,
        "rows_per_cpu_second": len(planted.rows) / cpu,
        "seconds": seconds,
        "recall": sum(pair in pairs for pair in truth) / len(truth) if truth else None,
        "precision": right / len(pairs) if pairs else None,
    }


def datatrove(planted: Planted, python: str) -> dict[str, Any]:
    """Measure datatrove by ``python``: with its own form of texts (numbers are all alike to it), and no pairs named."""
    return _elsewhere(planted, python, "datatrove_dedup.py", ["{folder}/out", str(os.cpu_count()), "3", "25", "5"])


def data_juicer(planted: Planted, python: str) -> dict[str, Any]:
    """Measure Data-Juicer's MinHash operator by ``python``, with our runs of words and threshold."""
    return _elsewhere(planted, python, "data_juicer_dedup.py", ["3", str(Near().threshold)])


def _elsewhere(planted: Planted, python: str, script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a peer's script on the rows; it names those that it keeps, and no pairs."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows" / "rows.jsonl"
        rows.parent.mkdir()
        with rows.open("w") as out:
            for place, row in enumerate(planted.rows):
                out.write(json.dumps({"text": "\n".join(row), "id": str(place)}) + "\n")
        given = [argument.format(folder=folder) for argument in arguments]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": f"{folder}/cache"}
        asked = [python, str(_PEERS / script), str(rows), *given]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            return {"missing": done.stderr.strip().splitlines()[-1]}
    found = json.loads(done.stdout.splitlines()[-1])
    dropped_ = set(range(len(planted.rows))) - set(map(int, found["kept"]))
    truth = [pair for pair in planted.near if are_near(planted.rows[pair[0]], planted.rows[pair[1]])]
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
