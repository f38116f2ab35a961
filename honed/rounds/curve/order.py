"""Nested subsets: one seeded order of the training rows, so that each size holds the one before it.

Within a task the order is by a hash of seed and row; the tasks then take turns by their shares, so that every beginning
of the order has about the mix of the whole, and the first sixteen rows aren't all of one kind. The held-out rows are
those of the dataset, the same for every size.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

from honed.records import Conversation, Preference, Rating, Split, digest
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from honed.train.objectives.kinds import KINDS, of_each

R = TypeVar("R", Preference, Rating)
TAG = "task"


def ranks(ids: Sequence[str], groups: Sequence[str], seed: int) -> list[int]:
    """Return the rank of each place: a seeded order in which every group is spread evenly.

    The j-th row of a group of n stands at (j + 1/2) / n of the whole: systematic sampling with proportional shares
    (W. G. Cochran, "Sampling Techniques", 1977, sections 5 and 8).
    """
    members: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for place, (id_, group) in enumerate(zip(ids, groups, strict=True)):
        members[group].append((digest([seed, id_]), place))
    spread: list[tuple[float, str, int]] = []
    for rows in members.values():
        spread += [((at + 0.5) / len(rows), key, place) for at, (key, place) in enumerate(sorted(rows))]
    found = [0] * len(ids)
    for rank, (_, _, place) in enumerate(sorted(spread)):
        found[place] = rank
    return found


def write(
    workspace: Workspace, dataset: Artifact, sizes: Sequence[int], seed: int, name: str, objective: str = "sft"
) -> Artifact:
    """Write the dataset's first rows in that order, as the next version of ``name``: the first N are the subset of N.

    Rows beyond the largest size are left away. A row's rank among those of its size plays no part in training, so the
    rows are copied size by size in passes over the file, in bounded memory. Where an ``objective`` learns from
    preferences and ratings both, the largest size has them in the shares of the whole, as training then takes them.
    """
    facts, pairs = dataset.manifest.facts, sizes[-1]
    ratings = pairs
    if KINDS[objective].learns == "answers":
        ratings, pairs = of_each(pairs, int(facts.get("ratings", 0)), int(facts.get("preferences", 0)))
    return datasets.write(
        workspace,
        name,
        _rows(dataset, sizes, seed),
        config={"data": dataset.ref, "sizes": list(sizes), "seed": seed},
        facts={"sizes": list(sizes)},
        preferences=_first(datasets.preferences(dataset), pairs, seed),
        ratings=_first(datasets.ratings(dataset), ratings, seed),
        parents={dataset.ref: dataset.manifest.hash},
    )


def _rows(dataset: Artifact, sizes: Sequence[int], seed: int) -> Iterator[tuple[Conversation, Split]]:
    seen = [(row.id, row.tags.get(TAG, "")) for row in datasets.rows(dataset, "train")]
    order = ranks([id_ for id_, _ in seen], [group for _, group in seen], seed)
    bands = [bisect_right(sizes, rank) for rank in order]
    for band in range(len(sizes)):
        for place, row in enumerate(datasets.rows(dataset, "train")):
            if bands[place] == band:
                yield row, "train"
    for row in datasets.rows(dataset, "heldout"):
        yield row, "heldout"


def _first(records: Iterator[R], count: int, seed: int) -> list[R]:
    return datasets.spread(((record.id, record) for record in records), count, seed)
