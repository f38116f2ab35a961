"""Where each record of an import goes: into training, held out, or left out with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from honed.data import dropped
from honed.data.parts import PARTS, Keys, Read, standing
from honed.data.split import Sorter, Verdict
from honed.data.weights import Largest
from honed.records import Conversation, Fault, Preference, Rating, Split
from honed.store import columns
from honed.store.columns import Part


class Placing:
    """Sorts the records of one import; what is left out goes to ``out`` and is counted in ``reasons``."""

    def __init__(self, share: float, out: BinaryIO, reasons: Counter[str]) -> None:
        self.sorter = Sorter(share)
        self.weights = Largest()
        self._out, self._reasons = out, reasons
        self._sources: list[str] = []

    def begin(self, source: str) -> None:
        """Say which source the next records are of."""
        self._sources.append(source)

    def placed(self, read: Read, given: Split | None) -> Iterator[tuple[Part, pa.Table]]:
        """Yield the records that are kept, as tables; rows have their split.

        A preference or a rating whose prompt is held out becomes a held-out row: what was preferred, or found good,
        is its ideal answer. A bad answer has no use there and is left out.
        """
        keys = read.keys
        here = keys.places(len(self._sources))
        verdicts = self.sorter.place_all(keys.ids.tolist(), keys.prompts.tolist(), here, given, keys.before)
        among = {code: np.cumsum(keys.parts == code) - 1 for code in set(keys.parts.tolist())}
        for number, verdict in enumerate(verdicts):
            if verdict == "duplicate" or verdict == "leak":
                part, place = PARTS[keys.parts[number]], int(among[keys.parts[number]][number])
                record = columns.at(part, read.tables[part], place)
                self._leave(self._reason(verdict, keys, number, record), record)
            elif number in keys.weights:
                self.weights.keep(int(keys.ids[number]), keys.weights[number])
        for part, table in read.tables.items():
            mine = np.flatnonzero(keys.parts == PARTS.index(part)).tolist()
            judged = [verdicts[number] for number in mine] if len(mine) < len(verdicts) else verdicts
            if part == "rows":
                yield part, _split(table, judged)
                continue
            yield part, table.filter(pa.array([verdict == "train" for verdict in judged]))
            rows = list(self._ideal(part, table, judged, keys, mine))
            if rows:
                yield "rows", columns.table("rows", rows, ["heldout"] * len(rows))

    def _ideal(
        self, part: Part, table: pa.Table, verdicts: list[Verdict], keys: Keys, mine: list[int]
    ) -> Iterator[Conversation]:
        for place, verdict in enumerate(verdicts):
            if verdict != "heldout":
                continue
            record = columns.at(part, table, place)
            if isinstance(record, Preference):
                yield record.row(record.chosen)
            elif isinstance(record, Rating) and record.good:
                yield record.row()
            else:
                what = "its prompt is held out, and an answer found bad is no ideal there"
                self._leave(self._fault("held-out prompt", keys, mine[place], what), record)

    def _reason(self, verdict: Verdict, keys: Keys, number: int, record: columns.Record) -> Fault:
        if verdict == "leak":
            what = "the held-out file has a prompt that it answers: to train on it would be a leak"
            return self._fault("leak", keys, number, what)
        source, what, first = standing(self.sorter.first(int(keys.ids[number])))
        where = f"{first}" if what == "line" else f" {what} {first}"
        more = isinstance(record, Conversation) and self.weights.again(int(keys.ids[number]), record.messages)
        weighed = ", whose answers have the larger weights of both" if more else ""
        return self._fault("duplicate", keys, number, f"the same as {self._sources[source - 1]}:{where}{weighed}")

    def _fault(self, kind: str, keys: Keys, number: int, what: str) -> Fault:
        return Fault(
            file=self._sources[-1],
            line=int(keys.lines[number]),
            field="row",
            kind=kind,
            message=what,
            hint="Nothing to mend.",
            row=int(keys.numbers[number]) or None,
        )

    def _leave(self, fault: Fault, record: Any) -> None:
        self._reasons[fault.kind] += 1
        self._out.write(dropped.line(fault, record.model_dump_json()))


def _split(table: pa.Table, verdicts: list[Verdict]) -> pa.Table:
    kept = [verdict if verdict in ("train", "heldout") else None for verdict in verdicts]
    at = table.schema.get_field_index("split")
    table = table.set_column(at, table.schema.field(at), pa.array(kept, pa.string()))
    return table.filter(table.column("split").is_valid()) if None in kept else table
