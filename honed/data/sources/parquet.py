"""Parquet: one row a row; the line of a fault is the row's number, counted from 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from honed.data.sources.row import CutError, Meter, Row, unreadable

_BATCH = 1024


def rows(path: Path, file: str, meter: Meter) -> Iterator[Row]:
    """Yield the rows; nulls are read as fields that aren't there, since every Parquet row has every column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as source:
            meter.total = source.metadata.num_rows
            for batch in source.iter_batches(_BATCH):
                for plain in _plain(batch):
                    number += 1
                    meter.done = number
                    yield _row(plain, file, number)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem = CutError("damaged Parquet", f"the Parquet file can't be read on: {reason}", "Write the file again.")
        yield unreadable(file, (number + 1, "row"), problem, counts=False)


def _plain(batch: Any) -> Iterator[dict[str, Any] | CutError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield CutError("not UTF-8", "a text isn't UTF-8", "Write the file again from UTF-8 texts.")


def _row(plain: dict[str, Any] | CutError, file: str, number: int) -> Row:
    if isinstance(plain, CutError):
        return unreadable(file, (number, "row"), plain)
    value = _present(plain)
    return Row(number, orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode(), value)


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    return [_present(inner) for inner in value] if isinstance(value, list) else value
