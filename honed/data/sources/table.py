"""Tables: one row a row, as Parquet files and hub datasets give them; the line of a fault is the row's number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.data.sources.row import Block, CutError, Known, Meter, Row, unreadable
from honed.errors import first_line

_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Table:
    """A record batch, whose first row is number ``first``. Nulls are read as fields that aren't there."""

    first: int
    batch: Any

    def rows(self, file: str) -> Iterator[Row]:
        """Decode the rows, with nulls left out, since every row of a table has every column."""
        for number, plain in enumerate(_plain(self.batch), self.first):
            if isinstance(plain, CutError):
                yield unreadable(file, (number, "row"), plain)
            else:
                yield Row(number, None, _present(plain))


def blocks(path: Path, file: str, meter: Meter) -> Iterator[Block]:
    """Yield the rows of a Parquet file in batches, in bounded memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as source:
            meter.total = source.metadata.num_rows
            for batch in source.iter_batches(_BATCH):
                yield Table(number + 1, batch)
                number += batch.num_rows
                meter.done = number
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = first_line(error).rstrip(".")
        problem = CutError("damaged Parquet", f"the Parquet file can't be read on: {reason}", "Write the file again.")
        yield Known((unreadable(file, (number + 1, "row"), problem, counts=False),))


def _plain(batch: Any) -> Iterator[dict[str, Any] | CutError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield CutError("not UTF-8", "a text isn't UTF-8", "Write the file again from UTF-8 texts.")


def _present(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _inner(inner) if isinstance(inner, dict | list) else inner
        for key, inner in value.items()
        if inner is not None
    }


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return _present(value)
    return [_inner(inner) for inner in value] if isinstance(value, list) else value
