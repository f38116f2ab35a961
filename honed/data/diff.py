"""What differs between two datasets: rows by their text, answers by their prompt, tags, splits, origins.

Of preferences and ratings it is told which of them only one dataset has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from honed.data.mix import lots
from honed.records import ATTRIBUTES, Conversation, Split
from honed.store import columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part

COUNTED = ("dataset", "source", "task", "language", *ATTRIBUTES)
"""Tags by which rows are counted."""


class Row(NamedTuple):
    """What of a row is compared; hashes are numbers, ``tags`` the JSON text."""

    prompt: int
    split: Split
    tags: str


class Changed(NamedTuple):
    """A prompt that both have, with another answer: the ids of the row before and of the one after."""

    before: int
    after: int


class Others(NamedTuple):
    """How many preferences, or ratings, both datasets have, and the ids (as numbers) of those that only one has."""

    same: int
    added: list[int]
    removed: list[int]


@dataclass(frozen=True)
class Diff:
    """Ids of rows (as numbers) that only one has, that changed their answer, tags or split.

    ``tags`` maps a tag to how many rows got it, lost it, or have another value of it. ``others`` has the preferences
    and the ratings, if there are any.
    """

    one: Mapping[int, Row]
    other: Mapping[int, Row]
    added: list[int]
    removed: list[int]
    answers: list[Changed]
    moved: list[int]
    retagged: list[int]
    tags: dict[str, dict[str, int]]
    others: dict[Part, Others]

    @property
    def same(self) -> int:
        """How many rows both have."""
        return len(self.one.keys() & self.other.keys())


def diff(one: Artifact, other: Artifact) -> Diff:
    """Compare two datasets. Texts are not held: memory grows by some 300 bytes a row."""
    before, after = _rows(one), _rows(other)
    gone = [id_ for id_ in before if id_ not in after]
    new = [id_ for id_ in after if id_ not in before]
    waiting: dict[int, list[int]] = {}
    for id_ in gone:
        waiting.setdefault(before[id_].prompt, []).append(id_)
    answers = [Changed(waiting[after[id_].prompt].pop(0), id_) for id_ in new if waiting.get(after[id_].prompt)]
    paired = {one for pair in answers for one in pair}
    shared = [id_ for id_ in before if id_ in after]
    retagged = [id_ for id_ in shared if before[id_].tags != after[id_].tags]
    return Diff(
        one=before,
        other=after,
        added=[id_ for id_ in new if id_ not in paired],
        removed=[id_ for id_ in gone if id_ not in paired],
        answers=answers,
        moved=[id_ for id_ in shared if before[id_].split != after[id_].split],
        retagged=retagged,
        tags=_tags((before[id_].tags, after[id_].tags) for id_ in retagged),
        others=dict(_others(one, other)),
    )


def counts(rows: Mapping[int, Row]) -> dict[str, dict[str, int]]:
    """Return rows by split, and by the values of ``COUNTED`` tags."""
    found: dict[str, Counter[str]] = {"split": Counter(row.split for row in rows.values())}
    for text, count in Counter(row.tags for row in rows.values()).items():
        for tag, value in orjson.loads(text).items():
            if tag in COUNTED:
                found.setdefault(tag, Counter())[value] += count
    return {tag: dict(cells.most_common()) for tag, cells in found.items()}


def texts(dataset: Artifact, wanted: Iterable[int]) -> dict[int, Conversation]:
    """Return some rows with their texts."""
    names = {f"{id_:016x}" for id_ in wanted}
    found: dict[int, Conversation] = {}
    for table in lots.tables(dataset) if names else ():
        for place, id_ in enumerate(table["id"].to_pylist()):
            if id_ in names:
                row = columns.at("rows", table, place)
                assert isinstance(row, Conversation)
                found[int(id_, 16)] = row
    return found


def origins(one: Artifact, other: Artifact) -> dict[str, Any]:
    """Return where both are from: parents that only one has, or of which it has another content, and licences."""
    before, after = one.manifest.parents, other.manifest.parents
    return {
        "parents": {
            "before": dict(before),
            "after": dict(after),
            "added": sorted(after.keys() - before.keys()),
            "removed": sorted(before.keys() - after.keys()),
        },
        "licences": {
            "before": one.manifest.facts.get("licences", {}),
            "after": other.manifest.facts.get("licences", {}),
        },
        "settings": _settings(one.manifest.config, other.manifest.config),
    }


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings of the recipes that differ, as [before, after]."""
    return {
        key: [before.get(key), after.get(key)]
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    }


def _others(one: Artifact, other: Artifact) -> Iterator[tuple[Part, Others]]:
    parts: tuple[Part, ...] = ("preferences", "ratings")
    for part in parts:
        before, after = (dict.fromkeys(int(id_, 16) for id_ in datasets.ids(of, part)) for of in (one, other))
        if before or after:
            added, removed = [id_ for id_ in after if id_ not in before], [id_ for id_ in before if id_ not in after]
            yield part, Others(len(after) - len(added), added, removed)


def _rows(dataset: Artifact) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for table in lots.tables(dataset, lots.READ):
        for id_, split, tags, answered in _zipped(table):
            found[int(id_, 16)] = Row(answered[-1], split, tags or "{}")
    return found


def _zipped(table: pa.Table) -> Iterator[tuple[str, Split, str, list[int]]]:
    plain = (table[name].to_pylist() for name in ("id", "split", "tags"))
    return zip(*plain, lots.answered(table), strict=True)


def _tags(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for texts_, count in Counter(pairs).items():
        before, after = map(orjson.loads, texts_)
        for tag in before.keys() | after.keys():
            if before.get(tag) != after.get(tag):
                how = "added" if tag not in before else "removed" if tag not in after else "changed"
                found.setdefault(tag, Counter())[how] += count
    return {tag: dict(cells) for tag, cells in sorted(found.items())}
