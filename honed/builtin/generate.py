"""Write the embedded rows: ``python -m honed.builtin.generate`` rewrites the files that ``load`` reads.

Any prefix of a split is balanced over the families, their readers and their kinds of rows.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from random import Random

from honed.builtin.desk import Audience
from honed.builtin.pools import heldout, train
from honed.builtin.tasks import amend, audience, clarify, constrain, extract, policy, route
from honed.builtin.tasks.task import Task
from honed.records import Conversation, Split

TASKS: tuple[Task, ...] = (
    route.TASK, extract.TASK, constrain.TASK, audience.TASK, amend.TASK, clarify.TASK, policy.TASK,
)  # fmt: skip
SEED = 7
ROWS_A_TASK: dict[Split, int] = {"train": 228, "heldout": 60}
_POOLS = {"train": train.POOL, "heldout": heldout.POOL}
_FOLDER = Path(__file__).parent / "rows"


def generate(split: Split, seed: int = SEED) -> list[Conversation]:
    """Return the rows of ``split``: the same for the same seed, prompts unique, families interleaved."""
    rng = Random(f"{seed}/{split}")
    decks: dict[str, list[int]] = {task.name: [] for task in TASKS}
    seen: set[str] = set()
    rows = []
    for turn in range(ROWS_A_TASK[split]):
        for place, task in enumerate(TASKS):
            reader = task.audiences[(turn + place) % len(task.audiences)]
            rows.append(_fresh(task, split, rng, reader, _deal(decks[task.name], task, rng), seen))
    return rows


def _deal(deck: list[int], task: Task, rng: Random) -> int:
    """Take the next kind of row from a shuffled deck, so that every kind comes equally often."""
    if not deck:
        deck.extend(range(task.variants))
        rng.shuffle(deck)
    return deck.pop()


def _fresh(task: Task, split: Split, rng: Random, reader: Audience, variant: int, seen: set[str]) -> Conversation:
    while True:
        row = task.row(_POOLS[split], rng, reader, variant)
        if row.prompt_id not in seen:
            seen.add(row.prompt_id)
            return row


def pack(rows: list[Conversation]) -> bytes:
    """Return ``rows`` as gzipped JSON lines, the same bytes for the same rows (no time, no file name)."""
    # A written row owes nothing to feedback.
    dumps = [row.model_dump(mode="json", exclude={"events", "declared"}) for row in rows]
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in dumps]
    return gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=9, mtime=0)


def main() -> None:
    """Rewrite both rows files."""
    splits: tuple[Split, ...] = ("train", "heldout")
    for split in splits:
        rows = generate(split)
        path = _FOLDER / f"{split}.jsonl.gz"
        path.write_bytes(pack(rows))
        sys.stdout.write(f"{path}: {len(rows)} rows\n")


if __name__ == "__main__":
    main()
