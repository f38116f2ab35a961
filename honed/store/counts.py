"""Rows of a dataset counted by the values of some tags, as they are written: part of its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from honed import segments
from honed.records import ATTRIBUTES
from honed.segments import Rule

TAGS = ("task", "source", "dataset", *ATTRIBUTES)
"""Tags that rows are counted by, besides all attributes that somebody declared."""
_VALUES = 200
"""Values of a tag that are counted one by one in a manifest: a tag may be another for every row."""
OTHERS = "(others)"


class Counts:
    """Counts by tag, value and split, by segment if there are rules; and by attribute and where it was declared."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules
        self._by: dict[str, dict[str, Counter[str]]] = {}
        self._declared: dict[str, Counter[str]] = {}

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table (``columns.SCHEMAS["rows"]``); equal tags are read once, so this is quick."""
        keys = ["split", "tags", "declared"]  # of these only, as the texts are not to be copied
        grouped = table.select(keys).group_by(keys, use_threads=False).aggregate([([], "count_all")])
        for one in grouped.to_pylist():
            tags, declared = (orjson.loads(one[name] or "{}") for name in ("tags", "declared"))
            tags = segments.shown(self._rules, tags)
            for tag in dict.fromkeys((*TAGS, *declared, *([segments.TAG] if self._rules else ()))):
                if tag in tags:
                    self._by.setdefault(tag, {}).setdefault(tags[tag], Counter())[one["split"]] += one["count_all"]
            for tag, where in declared.items():
                self._declared.setdefault(tag, Counter())[where] += one["count_all"]

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON values, the largest first; what is beyond the first 200 values is summed up."""
        by: dict[str, dict[str, dict[str, int]]] = {}
        for tag, cells in self._by.items():
            ordered = sorted(cells, key=lambda value: (-cells[value].total(), value))
            by[tag] = {value: dict(cells[value]) for value in ordered[:_VALUES]}
            if rest := ordered[_VALUES:]:
                by[tag][OTHERS] = dict(sum((cells[value] for value in rest), Counter()))
        declared = {tag: dict(where.most_common()) for tag, where in self._declared.items()}
        return {"counts": by, "declared": declared}
