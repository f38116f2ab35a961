"""What a step did, counted, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from honed.data.curate.row import Finding
from honed.store.columns import Part

EXAMPLES = 5
"""Examples of each kind of thing that a report shows; all are in ``findings.jsonl`` and ``dropped.jsonl``."""


@dataclass
class Report:
    """One step's report: rows in and out, how many were changed and only reported, kinds of things found, examples.

    Preferences and ratings count as rows; ``there`` and ``left`` tell them apart.
    """

    step: str
    settings: Mapping[str, Any]
    there: Mapping[Part, int]
    left: Mapping[Part, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, found: Finding) -> None:
        """Count a finding; the first of its kind are kept as examples."""
        self.actions[found.action] += 1
        self.kinds[found.kind] += 1
        shown = self.examples.setdefault(found.kind, [])
        if len(shown) < EXAMPLES:
            shown.append(plain(found))

    def facts(self) -> dict[str, Any]:
        """Return the report as JSON values; without the times, equal data and recipe give equal reports."""
        there, left = sum(self.there.values()), sum(self.left.values())
        return {
            "step": self.step,
            "settings": dict(self.settings),
            "rows_in": there,
            "rows_out": left,
            "dropped": there - left,
            "parts": {part: {"in": count, "out": self.left[part]} for part, count in self.there.items() if count},
            "changed": self.actions["change"],
            "reported": self.actions["report"],
            "kinds": dict(self.kinds.most_common()),
            "notes": self.notes,
            "examples": self.examples,
        }


def plain(found: Finding) -> dict[str, str]:
    """Return a finding as JSON values, without the row's words."""
    return {"row": found.id, "kind": found.kind, "action": found.action, "what": found.what, "other": found.other}
