"""Which sources a name stands for: a file, the files of a folder or of a pattern, or a dataset of the hub."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from honed.data.sources import hub
from honed.errors import DataError

_FORMS = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".parquet"})
_PACKED = frozenset({".gz", ".zst", ".zstd"})


def found(names: Sequence[str]) -> list[str]:
    """Return the sources that ``names`` stand for, paths absolute, each once, in the order given; folders sorted.

    Raises ``DataError`` if a name stands for none, or is written wrong.
    """
    sources = [source for name in names for source in _one(name)]
    return list(dict.fromkeys(sources))


def shown(source: str) -> str:
    """Return a source as the user sees it: a path relative to the current folder where it lies below it."""
    path = Path(source)
    if hub.is_ref(source) or not path.is_relative_to(Path.cwd()):
        return source
    return str(path.relative_to(Path.cwd()))


def _one(name: str) -> list[str]:
    if hub.is_ref(name):
        hub.parsed(name)
        return [name]
    path = Path(name)
    if path.is_dir():
        inside = sorted(str(one.absolute()) for one in path.rglob("*") if one.is_file() and _is_data(one))
        if not inside:
            hint = "Files of data are named .json, .jsonl, .csv, .tsv or .parquet, perhaps .gz or .zst behind it."
            raise DataError(f"{name}: there is no file of data in this folder", hint)
        return inside
    if path.exists() or not any(mark in name for mark in "*?["):
        if not path.exists():
            raise DataError(f"{name}: no such file", "Check the path; it is read from the current folder.")
        return [str(path.absolute())]
    matching = sorted(str(Path(one).absolute()) for one in glob.glob(name, recursive=True) if Path(one).is_file())  # noqa: PTH207 - absolute patterns
    if not matching:
        raise DataError(f"{name}: no file matches this pattern", "Check it; '**' stands for folders of any depth.")
    return matching


def _is_data(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-2:-1] if suffixes and suffixes[-1] in _PACKED else suffixes[-1:]
    return bool(_FORMS & set(last)) and not path.name.startswith(".")
