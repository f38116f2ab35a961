"""A mended copy of a file: what can be put right without knowing what was meant, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from honed.data import nested
from honed.data.export import written
from honed.data.intake import sampled
from honed.data.mapping import ColumnMap
from honed.data.shapes.problem import BadTurnError
from honed.data.shapes.table import FORMS, Shape
from honed.data.shapes.turns import ROLES, meant
from honed.data.sources import hub
from honed.data.sources.find import shown
from honed.data.sources.packed import Mending
from honed.data.sources.read import reading
from honed.data.sources.row import Meter, Row
from honed.data.survey import Wanted
from honed.errors import DataError

_ROLE_KEYS = frozenset({"role", "from"})
_KEPT_KEYS = frozenset({"tools", "functions", "tool_calls", "function_call", "arguments", "check", "params", "id"})


def fix(source: str, out: Path, wanted: Wanted) -> dict[str, Any]:
    """Write the rows of ``source`` to ``out`` as JSON lines in UTF-8, with encoding, blanks and role names mended.

    Rows that have other faults are written as they are; those that can't be read are left out, and counted. Returns
    the counts. Raises ``DataError`` if the source can't be opened, ``StoreError`` if ``out`` is there already.
    """
    if hub.is_ref(source):
        raise DataError(f"{source}: only files can be mended", "Import it with --allow-faults, then export it.")
    mended: Counter[str] = Counter()
    encoding = Mending()
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Mapping[str, Any]]:
        with reading(source, shown(source), Meter(), mending=encoding, told=wanted.told) as (container, blocks):
            if container.encoding != "UTF-8":
                mended["encoding"] += 1
            shape, blocks = sampled(blocks, shown(source), wanted.columns)
            shape = wanted.shape or shape
            keys = _keys(shape, wanted.columns)
            for block in blocks:
                for row in block.rows(shown(source)):
                    counts["rows"] += row.counts
                    if row.value is None:
                        counts["unreadable"] += row.counts
                    else:
                        yield {
                            key: _mended(key, inner, mended) if key in keys else inner
                            for key, inner in _opened(row, row.value, shape, wanted.columns).items()
                        }

    count = written(out, rows(), array=False)
    mended["lines that weren't UTF-8"] += encoding.lines
    return {
        "rows": counts["rows"],
        "written": count,
        "unreadable": counts["unreadable"],
        "mended": dict((+mended).most_common()),
    }


def _opened(row: Row, value: Mapping[str, Any], shape: Shape | None, columns: ColumnMap) -> Mapping[str, Any]:
    """Return the row's ``value`` with lists in place of the JSON texts that are read as turns, which can be mended."""
    named = columns.applied(value)
    try:
        lists = nested.opened(named, shape, table=row.table)
    except BadTurnError:
        return value
    found = {columns.source((name,), value): inner for name, inner in lists.items() if inner is not named[name]}
    return {**value, **{str(way[0]): inner for way, inner in found.items() if len(way) == 1}}


def _keys(shape: Shape | None, columns: ColumnMap) -> frozenset[str]:
    """Return the fields of the file that may be mended: those that are read as texts or turns."""
    known = FORMS[shape].fields - {"id"} | {"system"} if shape else frozenset()
    return frozenset(field for name in known for field in columns.top(name))


def _mended(key: str, value: Any, mended: Counter[str]) -> Any:
    if key in _KEPT_KEYS:
        return value
    if isinstance(value, str):
        if key in _ROLE_KEYS:
            likely = meant(value)
            if likely and value not in ROLES:
                mended["role names"] += 1
                return likely
            return value
        stripped = value.strip()
        mended["stray whitespace"] += stripped != value
        return stripped
    if isinstance(value, list):
        return [_mended(key, inner, mended) for inner in value]
    if isinstance(value, dict):
        return {name: _mended(name, inner, mended) for name, inner in value.items()}
    return value
