"""What sources are and everything that is wrong with them, in one pass, without importing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from honed.data.parts import Read, standing
from honed.data.sources.row import Meter
from honed.data.survey import Wanted, surveying
from honed.records import Fault


@dataclass
class Checking:
    """A check under way; what was counted is whole once ``faults`` is exhausted."""

    sources: Sequence[str]
    wanted: Wanted
    files: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[int, int] = field(default_factory=dict)

    def faults(self) -> Iterator[Fault]:
        """Yield every fault and warning, in the order of the rows. Raises ``DataError`` if a source can't be opened."""
        for number, source in enumerate(self.sources):
            with surveying(source, self.wanted, Meter()) as survey:
                yield from survey.notes()
                for read in survey.reads(keep=False):
                    repeated = list(self._repeated(read, number, survey.manner.file))
                    survey.counts.warnings["duplicate"] += len(repeated)
                    found = [fault for refused in read.refused for fault in refused.faults]
                    yield from sorted(
                        [*found, *read.warnings, *repeated], key=lambda fault: (fault.line, fault.row or 0)
                    )
                survey.counts.warnings += type(survey.counts.warnings)()  # leaves out what never came
                self.files.append(survey.facts())

    def facts(self) -> dict[str, Any]:
        """Return what was counted in all sources together."""
        kinds: dict[str, int] = {}
        warnings: dict[str, int] = {}
        for total, name in ((kinds, "faults"), (warnings, "warnings")):
            for facts in self.files:
                for kind, count in facts[name].items():
                    total[kind] = total.get(kind, 0) + count
        return {
            "rows": sum(facts["rows"] for facts in self.files),
            "usable": sum(facts["usable"] for facts in self.files),
            "kinds": kinds,
            "warnings": warnings,
            "files": self.files,
        }

    def _repeated(self, read: Read, source: int, file: str) -> Iterator[Fault]:
        keys = read.keys
        for at, (id_, here) in enumerate(zip(keys.ids.tolist(), keys.places(source), strict=True)):
            if (found := self._seen.get(id_)) is None:
                self._seen[id_] = here
                continue
            first, what, number = standing(found)
            where = f"{what} {number}" if first == source else f"{what} {number} of {self.files[first]['file']}"
            yield Fault(
                file=file,
                line=int(keys.lines[at]),
                field="row",
                kind="duplicate",
                message=f"the same row stands in {where}",
                hint="An import keeps the first of them.",
                severity="warning",
                row=int(keys.numbers[at]) or None,
            )
