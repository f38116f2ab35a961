"""A column map: fields of any name, read as those of a known shape."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from honed.data.shapes.reading import COMMON, LOSS_WEIGHT, TAGS
from honed.data.shapes.table import FORMS
from honed.data.sources.where import Path
from honed.errors import DataError


@dataclass(frozen=True)
class ColumnMap:
    """Which field of a row is read under which name: name -> field.

    ``b.c`` is the field of that name where the row has one, else the field ``c`` inside of ``b``.
    """

    fields: Mapping[str, str]

    @cached_property
    def _ways(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        return tuple((name, field, tuple(field.split("."))) for name, field in self.fields.items())

    def applied(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row under the mapped names; other fields stay, except where a mapped name takes their place."""
        taken = {field if field in value else way[0] for _, field, way in self._ways}
        row = {key: inner for key, inner in value.items() if key not in taken and key not in self.fields}
        for name, field, way in self._ways:
            found: Any = value
            for step in (field,) if field in value else way:
                found = found.get(step) if isinstance(found, dict) else None
            if found is not None:
                row[name] = found
        return row

    def source(self, path: Path, value: Mapping[str, Any] | None) -> Path:
        """Return where a field of the mapped row stands in the file's own, which is ``value``."""
        field = self.fields.get(str(path[0])) if path else None
        if field is None:
            return path
        way = (field,) if value and field in value else tuple(field.split("."))
        return (*way, *path[1:])

    def top(self, name: str) -> tuple[str, ...]:
        """Return the fields of the file under one of which a mapped name, or any other, stands."""
        field = self.fields.get(name, name)
        return field, field.split(".")[0]


def parsed(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the map that ``instruction=q,response=a`` writes. Raises ``DataError`` naming what is wrong."""
    known = sorted({LOSS_WEIGHT}.union(COMMON, TAGS, *(form.fields for form in FORMS.values())))
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
