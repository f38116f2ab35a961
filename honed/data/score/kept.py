"""What was measured of rows, kept in the workspace's cache under what it was measured with and each row's content.

A folder for each kind of measurement and all that decides its numbers: the base model's hash, its chat format,
settings. So another option never finds the numbers of this one, versions of a dataset share those of their common rows,
and a job that was cut off goes on. A part is written whole, so that it is there or isn't; several jobs may add at once.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from honed.records import digest
from honed.store.workspace import Workspace, write_whole, writing

Numbers = NDArray[np.float32]

_ID = "id"
_VALUES = "values"
_KEY = "key.json"


class Kept:
    """Measurements of one kind: a row of numbers, all of one length, for each row of data."""

    def __init__(self, workspace: Workspace, kind: str, key: Mapping[str, Any]) -> None:
        self.folder = workspace.cache / "scores" / f"{kind}-{digest(dict(key))}"
        self._key = dict(key)

    def read(self) -> dict[str, Numbers]:
        """Return what is there, by row id. A damaged part counts as not there: its rows are measured again."""
        found: dict[str, Numbers] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                table = pq.read_table(path)
            except (OSError, pa.ArrowException):
                continue
            lists = table[_VALUES].combine_chunks()
            values = np.asarray(lists.flatten(), np.float32).reshape(len(table), -1)
            found.update(zip(table[_ID].to_pylist(), values, strict=True))
        return found

    def add(self, ids: Sequence[str], values: Sequence[Sequence[float]] | Numbers) -> None:
        """Write measurements of some rows. Raises ``StoreError`` if they can't be written."""
        if not len(ids):
            return
        matrix = np.asarray(values, np.float32).reshape(len(ids), -1)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        out = io.BytesIO()
        pq.write_table(pa.table({_ID: pa.array(ids, pa.string()), _VALUES: lists}), out, compression="zstd")
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._explain(self.folder / _KEY)
            write_whole(self.folder / f"{secrets.token_hex(8)}.parquet", out.getvalue())

    def _explain(self, path: Path) -> None:
        if not path.exists():
            write_whole(path, orjson.dumps(self._key, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
