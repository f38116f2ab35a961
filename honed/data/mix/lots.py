"""The rows of a dataset as a mix weighs them: ids, tags and what they lead to, without their texts in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from honed.records import Conversation, Message, Preference, Rating, digest, prompt_ids
from honed.store import columns
from honed.store.artifacts import Artifact
from honed.store.datasets import ROWS

_BATCH = 4096
READ = ["id", "split", "messages", "tags"]
Numbers = Any
"""A numpy array."""


@dataclass(frozen=True)
class Lot:
    """The rows of one split of a dataset, in their stored order; about 30 bytes a row.

    ``ids`` and ``prompts`` are content hashes as numbers; ``codes`` says which of ``tags`` each row has; ``leaks``
    holds for each row that answers a held-out prompt which dataset holds it out.
    """

    label: str
    dataset: Artifact
    ids: Numbers
    prompts: Numbers
    codes: Numbers
    tags: tuple[Mapping[str, str], ...]
    leaks: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.ids)


def heldout(datasets: Mapping[str, Artifact]) -> dict[int, str]:
    """Return the prompts that the datasets hold out, as numbers, and the first that does."""
    found: dict[int, str] = {}
    for dataset in datasets.values():
        for table in tables(dataset, READ):
            for prompts in answered(table.filter(pc.equal(table["split"], "heldout"))):
                found.setdefault(prompts[-1], dataset.ref)
    return found


def lot(label: str, dataset: Artifact, held: Mapping[int, str]) -> Lot:
    """Read the training rows of a dataset; ``held`` are the prompts that may not be trained on."""
    ids: list[int] = []
    prompts: list[int] = []
    codes: list[int] = []
    known: dict[str, int] = {}
    leaks: dict[int, str] = {}
    for table in tables(dataset, READ):
        here = table.filter(pc.equal(table["split"], "train"))
        for prompts_ in answered(here):
            if leak := next((held[one] for one in prompts_ if one in held), None):
                leaks[len(prompts)] = leak
            prompts.append(prompts_[-1])
        ids += [int(one, 16) for one in here["id"].to_pylist()]
        codes += [known.setdefault(text or "{}", len(known)) for text in here["tags"].to_pylist()]
    tags = tuple(orjson.loads(text) for text in known)
    as_numbers = np.array(ids, np.uint64), np.array(prompts, np.uint64), np.array(codes, np.uint32)
    return Lot(label, dataset, *as_numbers, tags, leaks)


def tables(dataset: Artifact, names: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield a dataset's rows, both splits, some thousand at a time."""
    with pq.ParquetFile(dataset.path / ROWS) as file:
        for batch in file.iter_batches(_BATCH, columns=names):
            table = pa.Table.from_batches([batch])
            yield table if names else columns.fitted("rows", table)


def prompts_of(record: Conversation | Preference | Rating) -> list[int]:
    """Return the ids of the prompts that a record answers, its own last."""
    turns = record.messages if isinstance(record, Conversation) else (*record.prompt, _ANSWER)
    return [int(one, 16) for one in prompt_ids(turns)]


_ANSWER = Message(role="assistant", content="")


def answered(table: pa.Table) -> Iterator[list[int]]:
    """Yield the prompts that each row answers, as numbers, its own last.

    Columns are read flat, several times faster than as dicts.
    """
    if not len(table):
        return
    lists = table["messages"].combine_chunks()
    flat = lists.flatten()
    ends = [0, *np.cumsum(np.asarray(pc.list_value_length(lists))).tolist()]
    names = {field.name: place for place, field in enumerate(flat.type)}
    roles, contents = (flat.field(names[name]).to_pylist() for name in ("role", "content"))
    tooled = np.zeros(len(flat), bool)
    for name in {"tool_calls", "tools"} & names.keys():
        tooled |= np.asarray(flat.field(names[name]).is_valid())
    for place, (start, end) in enumerate(pairwise(ends)):
        if tooled[start:end].any():
            record = columns.record("rows", {**table.slice(place, 1).to_pylist()[0], "check": None})
            yield prompts_of(record)
            continue
        said = [[roles[at], contents[at]] for at in range(start, end)]
        yield [int(digest(said[:at]), 16) for at, (role, _) in enumerate(said) if role == "assistant"]
