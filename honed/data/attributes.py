"""Attributes of people on a row that is read: which there are, and where each was declared. Nothing is inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.data.intake import Manner
from honed.data.shapes.drawn import Drawn
from honed.data.shapes.reading import TAGS, Record
from honed.data.shapes.reading import declared as said_of
from honed.errors import DataError
from honed.records import ATTRIBUTES

OPERATOR = "operator"
"""Who imports the file declared it, of all rows that say nothing themselves."""

_NAMES = frozenset(ATTRIBUTES)
_TAKEN = frozenset(TAGS) - _NAMES | {"dataset", "segment", "model"}


def declared(record: Record, value: Mapping[str, Any], manner: Manner) -> Record:
    """Return the record with what the operator declared, and with the place where each attribute was declared.

    ``value`` is the row as it stands in the file: what it says itself goes before what is said of the whole file. A
    row of our own exports says where its attributes were declared before it was written.
    """
    said = _before(value)
    if not manner.attributes and not said and _NAMES.isdisjoint(record.tags):
        return record
    tags = {**manner.attributes, **record.tags}
    where = {name: OPERATOR for name in manner.attributes if name not in record.tags}
    for name in record.tags:
        if name in said:
            where[name] = said[name]
        elif name in _NAMES or name in manner.attributes:
            where[name] = f"column {_column(name, value, manner)}"
    if isinstance(record, Drawn):
        return record._replace(tags=tags, declared=where)
    return record.model_copy(update={"tags": tags, "declared": where})


def _before(value: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what an exported row says, or the data of a task of Label Studio; only of attributes of people."""
    data = value.get("data")
    said = said_of(value) or (said_of(data) if isinstance(data, Mapping) else {})
    return {name: where for name, where in said.items() if name not in _TAKEN}


def _column(name: str, value: Mapping[str, Any], manner: Manner) -> str:
    own = value.get("tags")
    if name in manner.columns.fields:
        return manner.columns.fields[name]
    return f"tags.{name}" if isinstance(own, Mapping) and name in own else name


def parsed(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the attributes that ``locale=de`` writes. Raises ``DataError`` naming what is wrong."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise DataError(f"--attribute {text}: not a NAME=VALUE", "Write --attribute locale=de.")
        if name in _TAKEN:
            raise DataError(
                f"--attribute {text}: {name!r} says what a row is, not whom it is for",
                f"Attributes are such as {', '.join(ATTRIBUTES)}.",
            )
        found[name] = value
    return found
