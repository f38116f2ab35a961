"""Near duplicates by datatrove's MinHash pipeline, in an interpreter that has it.

    python datatrove_dedup.py ROWS.jsonl FOLDER WORKERS RUN BUCKETS HASHES

ROWS has a line a row: ``{"text": ..., "id": "0"}``. Prints one JSON document: seconds, processor seconds with those of
the workers, version, and the ids of the rows that were kept. RUN, BUCKETS and HASHES: words of a run, bands, rows each.
"""

from __future__ import annotations

import gzip
import json
import resource
import sys
import time
from importlib import metadata
from pathlib import Path


def main() -> None:
    """Run the four stages as datatrove's own example does, and print what came of them."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    rows, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    run, buckets, hashes = map(int, sys.argv[4:7])
    settings = MinhashConfig(n_grams=run, num_buckets=buckets, hashes_per_bucket=hashes)
    place = {name: str(folder / name) for name in ("signatures", "buckets", "remove", "kept")}
    read = JsonlReader(str(rows.parent), glob_pattern=rows.name)
    stages = [
        ([read, MinhashDedupSignature(place["signatures"], settings)], 1),
        ([MinhashDedupBuckets(place["signatures"], place["buckets"], config=settings)], buckets),
        ([MinhashDedupCluster(place["buckets"], place["remove"], config=settings)], 1),
        ([read, MinhashDedupFilter(place["remove"]), JsonlWriter(place["kept"])], 1),
    ]
    start = time.monotonic()
    for at, (pipeline, tasks) in enumerate(stages):
        logs = str(folder / "logs" / str(at))
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=min(workers, tasks), logging_dir=logs).run()
    seconds = time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    kept = []
    for file in sorted(Path(place["kept"]).glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            kept += [json.loads(line)["id"] for line in lines]
    print(
        json.dumps(
            {
                "version": metadata.version("datatrove"),
                "seconds": seconds,
                "processor_seconds": sum(one.ru_utime + one.ru_stime for one in used),
                "kept": kept,
            }
        )
    )


if __name__ == "__main__":
    main()
