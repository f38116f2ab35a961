"""Segments: groups of rows, as rules over what was declared of them; the same for a mix and for an evaluation.

A row belongs to the first segment whose rule it matches, or to none. Rules read tags only, and nothing guesses a tag
that a row lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from honed import config
from honed.config import Config
from honed.errors import ConfigError
from honed.records import digest

TAG = "segment"
"""The tag under which a row's segment is shown; it is never stored."""


class Rule(Config):
    """One segment: its name, and the values that the tags of its rows have."""

    name: str = Field(min_length=1, description="name of the segment")
    where: Mapping[str, tuple[str, ...]] = Field(
        min_length=1, description="tags and their values, all to be matched: {audience: child, locale: [de, at]}"
    )

    @field_validator("where", mode="before")
    @classmethod
    def _texts(cls, where: Any) -> Any:
        if not isinstance(where, Mapping):
            return where
        found = {}
        for tag, values in where.items():
            listed = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
            if not listed or not all(isinstance(one, str) for one in listed):
                raise ValueError(f"{tag} needs a text or a list of texts (YAML reads no, 12 and null as others: quote)")
            found[tag] = tuple(listed)
        return found

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Tell whether a row with these tags is of the segment."""
        return all(tags.get(tag) in values for tag, values in self.where.items())


class Segments(Config):
    """A file of segments."""

    segments: tuple[Rule, ...] = Field(min_length=1, description="the segments; a row is of the first that it matches")

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [rule.name for rule in self.segments]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two segments are called {twice!r}")
        return self


def is_file(name: str) -> bool:
    """Tell whether a name means a file of segments rather than a tag."""
    return name.endswith((".yaml", ".yml"))


def read(path: str) -> tuple[Rule, ...]:
    """Return the rules of a file. Raises ``ConfigError`` that names what is wrong in it."""
    return config.read(Segments, Path(path)).segments


def named(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Rule, ...]]:
    """Return the tags that ``names`` mean, and the rules of the file of segments among them, if there is one.

    The file's place has the tag ``segment``. Raises ``ConfigError`` as ``read`` does, and for a second file.
    """
    files = [name for name in names if is_file(name)]
    if len(files) > 1:
        raise ConfigError(f"segments: {' and '.join(files)} are {len(files)} files", "Name one file of segments.")
    tags = tuple(TAG if name in files else name for name in names)
    return tags, read(files[0]) if files else ()


def version(rules: Sequence[Rule]) -> str:
    """Return a hash (16 hex digits) of what the rules say: it is kept wherever they were used; "" without rules."""
    plain = [[rule.name, {tag: sorted(values) for tag, values in rule.where.items()}] for rule in rules]
    return digest(plain) if plain else ""


def segment(rules: Sequence[Rule], tags: Mapping[str, str]) -> str | None:
    """Return the name of the first segment that a row with these tags matches, or None."""
    return next((rule.name for rule in rules if rule.matches(tags)), None)


def shown(rules: Sequence[Rule], tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return the tags with the row's segment among them, if it is of one."""
    found = segment(rules, tags)
    return tags if found is None else {**tags, TAG: found}
