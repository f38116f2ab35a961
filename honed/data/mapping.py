"""A column map: fields of any name, read as those of a known shape."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from honed.data.shapes.reading import COMMON, TAGS
from honed.data.shapes.table import FORMS
from honed.data.sources.where import Path
from honed.errors import DataError


@dataclass(frozen=True)
class ColumnMap:
    """Which field of a row (``b.c``: the field ``c`` inside of ``b``) is read under which name: name -> field."""

    fields: Mapping[str, str]

    @cached_property
    def _ways(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((name, tuple(field.split("."))) for name, field in self.fields.items())

    def applied(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row under the mapped names; other fields stay, except where a mapped name takes their place."""
        taken = {way[0] for _, way in self._ways}
        row = {key: inner for key, inner in value.items() if key not in taken and key not in self.fields}
        for name, way in self._ways:
            found: Any = value
            for step in way:
                found = found.get(step) if isinstance(found, dict) else None
            if found is not None:
                row[name] = found
        return row

    def source(self, path: Path) -> Path:
        """Return where a field of the mapped row stands in the file's own."""
        way = dict(self._ways).get(str(path[0])) if path else None
        return (*way, *path[1:]) if way else path


def parsed(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the map that ``instruction=q,response=a`` writes. Raises ``DataError`` naming what is wrong."""
    known = sorted(set().union(COMMON, TAGS, *(form.fields for form in FORMS.values())))
    found: dict[str, str] = {}
    for pair in (pair for text in texts for pair in text.split(",")):
        name, equals, field = (part.strip() for part in pair.partition("="))
        if not (name and equals and field):
            raise DataError(f"--map {pair}: not a NAME=FIELD", "Write --map instruction=q,response=a.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "Use names such as instruction, response, prompt, messages."
            raise DataError(f"--map {pair}: no shape has a field {name!r}", hint)
        found[name] = field
    return found
