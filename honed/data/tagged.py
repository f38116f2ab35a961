"""Records whose tags say where they are from: the file of an import, the dataset of a mix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pyarrow as pa

from honed.data.sources import hub

SOURCE = "source"


def tagged(table: pa.Table, tag: str, value: str) -> pa.Table:
    """Return a table of records with the tag, but for those that have it already; equal tags are read once."""
    if not len(table):
        return table
    coded = table["tags"].combine_chunks().dictionary_encode()
    texts = [_with(text, tag, value) for text in coded.dictionary.to_pylist()]
    made = pa.DictionaryArray.from_arrays(coded.indices, pa.array(texts, pa.string())).cast(pa.string())
    at = table.schema.get_field_index("tags")
    return table.set_column(at, table.schema.field(at), made)


def sources(files: Sequence[str]) -> Mapping[str, str]:
    """Return what the sources of one import are called: the names of files, with folders where two have one name."""
    paths = [one for one in files if not hub.is_ref(one)]
    many = Counter(Path(one).name for one in paths)
    above = os.path.commonpath([Path(one).parent for one in paths]) if paths else ""
    named = {one: Path(one).name if many[Path(one).name] == 1 else str(Path(one).relative_to(above)) for one in paths}
    return {one: named.get(one, one) for one in files}


def _with(text: str, tag: str, value: str) -> str:
    return orjson.dumps({tag: value, **orjson.loads(text)}, option=orjson.OPT_SORT_KEYS).decode()
