"""Common prefixes of rows: what a pack computes once, which rows share a pass, and which share a step.

Rows in lexicographic order hold their trie implicitly: what two neighbours have in common is all that either shares
with anything beyond the other. So a run of sorted rows costs the sum of their lengths less what neighbours share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from honed.models.chat import Encoded

Ids = Sequence[int]

LEAST = 8
"""A shorter common prefix is computed again: what another segment costs in calls is more than it saves."""

_PASS = 32
"""What a forward and backward pass costs beside its tokens, in tokens: the sums over all weights' gradients, mostly."""

_FAMILY = 32
"""Rows that share as many tokens more than most rows do are worth bringing into one step."""


@dataclass(frozen=True)
class Tree:
    """Rows as a forest of segments, T tokens in all, depth first.

    ``ids`` and ``positions`` have T elements; ``lengths`` and ``parents`` one a segment (parent -1: none).
    ``places[r][j]`` is where token j of row r lies.
    """

    ids: list[int]
    positions: list[int]
    lengths: tuple[int, ...]
    parents: tuple[int, ...]
    places: tuple[list[int], ...]


def grow(rows: Sequence[Ids], least: int | None = LEAST) -> Tree:
    """Return the forest of ``rows``: prefixes of ``least`` tokens and more are held once (None: none is)."""
    if least is None or len(rows) == 1:
        return _flat(rows)
    order = sorted(range(len(rows)), key=lambda index: tuple(rows[index]))
    shared = [0, *(common(rows[one], rows[other]) for one, other in pairwise(order))]
    ids: list[int] = []
    positions: list[int] = []
    lengths: list[int] = []
    parents: list[int] = []
    places: list[list[int]] = [[] for _ in rows]

    def lay(members: Sequence[int], depth: int, end: int, parent: int) -> int:
        """Append tokens ``depth`` to ``end`` of the first of ``members`` as a segment; return its index."""
        if end == depth:
            return parent
        at = range(len(ids), len(ids) + end - depth)
        ids.extend(rows[members[0]][depth:end])
        positions.extend(range(depth, end))
        lengths.append(end - depth)
        parents.append(parent)
        for member in members:
            places[member].extend(at)
        return len(lengths) - 1

    todo = [(0, len(order), 0, -1)]  # first, last (indices into the order), tokens that are laid, segment they end in
    while todo:
        first, last, depth, parent = todo.pop()
        members = order[first:last]
        if last - first == 1:
            lay(members, depth, len(rows[members[0]]), parent)
            continue
        end = min(shared[first + 1 : last])
        if end - depth >= least:
            parent, depth = lay(members, depth, end, parent), end
        cuts = [first, *(k for k in range(first + 1, last) if shared[k] == end), last]
        todo += [(one, other, depth, parent) for one, other in pairwise(cuts)][::-1]
    return Tree(ids, positions, tuple(lengths), tuple(parents), tuple(places))


def _flat(rows: Sequence[Ids]) -> Tree:
    ids = [token for row in rows for token in row]
    positions = [place for row in rows for place in range(len(row))]
    ends = np.cumsum([len(row) for row in rows]).tolist()
    places = tuple(list(range(end - len(row), end)) for row, end in zip(rows, ends, strict=True))
    return Tree(ids, positions, tuple(len(row) for row in rows), (-1,) * len(rows), places)


def common(one: Ids, other: Ids) -> int:
    """Return how many tokens two rows have in common at their start."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length  # the first `low` tokens agree, the first `high` don't
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low


class Example(Protocol):
    """What an objective learns from: one row of token ids, or several that belong together."""

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """The rows that go through the model, always in the same pass."""
        ...


@dataclass(frozen=True)
class Prefixes:
    """Examples in lexicographic order of their first rows, and what neighbours share.

    ``rank[index]`` is the place of an example in this order; the example at place k has ``shared[k]`` tokens in common
    with the one at k - 1 (0 for the first). ``costs[index]`` are the tokens of an example computed by itself.
    """

    rank: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64]
    costs: Sequence[int]

    def cut(self, batch: Sequence[int], budget: int) -> list[list[int]]:
        """Cut the examples of a step into passes of about ``budget`` computed tokens (a larger one goes alone).

        About: a segment that adds fewer than ``LEAST`` tokens to its parent isn't laid, though it is counted as shared.
        """
        batch, shared = self._run(batch)
        runs = cut([self.costs[index] for index in batch], shared, budget)
        return [[batch[place] for place in run] for run in runs]

    def tokens(self, members: Sequence[int]) -> int:
        """Return how many tokens a pass over these examples computes, about."""
        members, shared = self._run(members)
        return sum(self.costs[index] for index in members) - sum(one for one in shared if one >= LEAST)

    def _run(self, members: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the examples in order, and what each of them shares with the one before it among them."""
        ordered = sorted(members, key=self.rank.__getitem__)
        ranks = self.rank[ordered].tolist()
        return ordered, [0, *(int(self.shared[one + 1 : other + 1].min()) for one, other in pairwise(ranks))]


def sort(examples: Sequence[Example]) -> Prefixes:
    """Find what examples share. Time n log n, memory about that of the token ids."""
    first = [example.rows[0].ids for example in examples]
    keys = [np.asarray(ids, ">u4").tobytes() for ids in first]  # big-endian: bytes compare as the numbers do
    order = sorted(range(len(keys)), key=keys.__getitem__)
    shared = [0, *(common(first[one], first[other]) for one, other in pairwise(order))]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    costs = [sum(len(row.ids) for row in example.rows) - _within(example.rows) for example in examples]
    return Prefixes(rank, np.array(shared[: len(order)], np.int64), costs)


def _within(rows: Sequence[Encoded]) -> int:
    """Tokens that the rows of one example share, each with the one before it in the order of their ids."""
    saved = (common(one.ids, other.ids) for one, other in pairwise(sorted(rows, key=lambda row: row.ids)))
    return sum(tokens for tokens in saved if tokens >= LEAST)


def cut(costs: Sequence[int], shared: Sequence[int], budget: int) -> list[list[int]]:
    """Cut a sorted run of examples into passes of ``budget`` tokens at most, so that the fewest tokens are computed.

    ``costs[k]`` are the tokens of example k by itself, ``shared[k]`` those that it has in common with k - 1. Exact over
    all cuts of the run (dynamic programming, cost ``_PASS`` a pass); then small passes are put together by first fit,
    which costs nothing. An example over the budget goes alone. Returns places in the run.
    """
    saved = [one if one >= LEAST else 0 for one in shared]
    best = [0.0] + [float("inf")] * len(costs)
    start = [0] * (len(costs) + 1)
    for end in range(1, len(costs) + 1):
        size = 0
        for first in range(end - 1, -1, -1):
            size += costs[first] - (saved[first + 1] if first + 1 < end else 0)
            if size > budget and first < end - 1:
                break
            if best[first] + size + _PASS < best[end]:
                best[end], start[end] = best[first] + size + _PASS, first
    runs: list[list[int]] = []
    end = len(costs)
    while end:
        runs.append(list(range(start[end], end)))
        end = start[end]
    sizes = [sum(costs[k] for k in run) - sum(saved[k] for k in run[1:]) for run in runs]
    return [[place for number in one for place in runs[number]] for one in first_fit(sizes, budget)]


def first_fit(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Put things into bins of ``budget`` by first fit, largest first; one that is too large has a bin of its own."""
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        fit = next((number for number, left in enumerate(room) if left >= sizes[index]), None)
        if fit is None:
            bins.append([index])
            room.append(budget - sizes[index])
        else:
            bins[fit].append(index)
            room[fit] -= sizes[index]
    return bins


def families(prefixes: Prefixes, *, steps: int, tokens: int) -> list[list[int]]:
    """Return groups of examples (indices) that share so much that they belong into one step, and are few enough for it.

    A prefix that a step meets twice by chance, one system prompt say, makes no family; below it, examples that share
    ``_FAMILY`` tokens more do. A family has ``tokens`` tokens at most; a larger group makes several.
    """
    order = np.argsort(prefixes.rank)
    shared = prefixes.shared
    found: list[list[int]] = []
    todo = [(0, len(order), 0)]  # a run of the order, and what its members share with very many others
    while todo:
        first, last, known = todo.pop()
        if last - first < 2:
            continue
        end = int(shared[first + 1 : last].min())
        often = last - first >= 2 * steps
        if not often and end - known >= _FAMILY:
            found += chunks(order[first:last].tolist(), prefixes.costs, tokens)
            continue
        cuts = [first, *(first + 1 + np.flatnonzero(shared[first + 1 : last] == end)).tolist(), last]
        known = end if often else known
        todo += [(one, other, known) for one, other in pairwise(cuts)]
    return [family for family in found if len(family) > 1]


def chunks(members: Sequence[int], costs: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Cut members in their order into chunks that cost ``tokens`` at most; one that costs more goes alone."""
    chunk: list[int] = []
    size = 0
    for member in members:
        if chunk and size + costs[member] > tokens:
            yield chunk
            chunk, size = [], 0
        chunk.append(member)
        size += costs[member]
    if chunk:
        yield chunk
