"""One door to the rows of a file, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from honed.data.sources import document, lines, parquet
from honed.data.sources.container import Container, opened
from honed.data.sources.row import MAX_ROW, Meter, Row, unreadable


@contextmanager
def reading(path: Path, file: str, meter: Meter, limit: int = MAX_ROW) -> Iterator[tuple[Container, Iterator[Row]]]:
    """Open ``path``, called ``file`` in faults; yield what it is and its rows, in their order, in bounded memory.

    A row that can't be read comes with its faults and no value. Raises ``DataError`` if the file can't be opened.
    """
    with opened(path, file, meter) as container:
        yield container, _rows(container, path, file, meter, limit)


def _rows(container: Container, path: Path, file: str, meter: Meter, limit: int) -> Iterator[Row]:
    if container.problem:
        yield unreadable(file, (1, "file"), container.problem, counts=False)
    elif container.kind == "Parquet":
        yield from parquet.rows(path, file, meter)
    elif container.kind == "JSON lines":
        yield from lines.rows(container.chunks, file, limit)
    else:
        yield from document.rows(container.chunks, file, limit, container.inner)
