"""Near duplicates by Data-Juicer's MinHash operator, in an interpreter that has it (with aiohttp and ray).

    python data_juicer_dedup.py ROWS.jsonl RUN THRESHOLD

ROWS has a line a row: ``{"text": ..., "id": "0"}``. Prints one JSON document on its last line: seconds, processor
seconds with those of the workers, version, and the ids of the rows that were kept. RUN: words of a run.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import metadata
from pathlib import Path


def main() -> None:
    """Run the operator as Data-Juicer's executor does, and print what came of it."""
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    operator = DocumentMinhashDeduplicator(
        tokenization="space",
        window_size=int(sys.argv[2]),
        lowercase=True,
        jaccard_threshold=float(sys.argv[3]),
        num_permutations=128,
    )
    data = NestedDataset.from_list(rows)
    start = time.monotonic()
    data = data.map(operator.compute_hash, num_proc=os.cpu_count())
    data, _ = operator.process(data)
    seconds = time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found = {
        "version": metadata.version("py-data-juicer"),
        "seconds": seconds,
        "processor_seconds": sum(one.ru_utime + one.ru_stime for one in used),
        "kept": list(data["id"]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
