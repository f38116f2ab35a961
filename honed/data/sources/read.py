"""One door to the rows of a source, whatever it is: a file of any kind, or a dataset of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from honed.data.sources import delimited, document, hub, lines, table
from honed.data.sources.container import AS_SEEN, Container, Told, opened
from honed.data.sources.packed import Mending
from honed.data.sources.row import MAX_ROW, Block, Known, Meter, unreadable


@contextmanager
def reading(
    source: str, file: str, meter: Meter, limit: int = MAX_ROW, *, mending: Mending | None = None, told: Told = AS_SEEN
) -> Iterator[tuple[Container, Iterator[Block]]]:
    """Open ``source``, called ``file`` in faults; yield what it is and its rows in blocks, in bounded memory.

    A row that can't be read comes with its faults and no value; ``mending`` mends the encoding of a text while it is
    read; ``told`` says what the file is where its content isn't to. Raises ``DataError`` if the source can't be opened.
    """
    if hub.is_ref(source):
        yield hub.opened(source, meter)
        return
    with opened(Path(source), file, meter, told) as container:
        if mending and not container.problem:
            container = replace(container, chunks=mending.mended(container.chunks))
        yield container, _blocks(container, Path(source), file, meter, limit)


def _blocks(container: Container, path: Path, file: str, meter: Meter, limit: int) -> Iterator[Block]:
    if container.problem:
        yield Known((unreadable(file, (1, "file"), container.problem, counts=False),))
    elif container.kind == "Parquet":
        yield from table.blocks(path, file, meter)
    elif container.kind == "JSON lines":
        yield from lines.blocks(container.chunks, file, limit)
    elif container.delimiter:
        yield from delimited.blocks(container.chunks, file, limit, container.delimiter)
    else:
        yield from document.blocks(container.chunks, file, limit, container.inner)
