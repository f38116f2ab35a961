"""A plan as JSON values: what ``--dry-run --json`` prints, and what the manifest of the mix keeps."""

from __future__ import annotations

from collections import Counter
from typing import Any

from honed import segments
from honed.data import licences
from honed.data.licences import Conflict
from honed.data.mix.plan import Line, Plan


def facts(plan: Plan) -> dict[str, Any]:
    """Return what a plan says: its groups, what is counted, licences, and the version of the segments."""
    settings = plan.settings
    return {
        "rows": sum(len(lot) for lot in plan.every),
        "mix": {
            "levels": [level.by for level in settings.levels],
            "groups": [_line(line) for line in plan.lines],
            "anchor": _line(plan.replayed) if plan.replayed else None,
            "notes": plan.notes,
        },
        "duplicates": [
            {"of": first, "in": other, "rows": count} for (first, other), count in plan.repeated.most_common()
        ],
        "same_prompt": plan.same_prompt,
        "segments": {"version": segments.version(settings.rules), "rows": dict(plan.segments.most_common())},
        "licences": licences.carried(lot.dataset for lot in plan.every),
        "use": settings.use,
        "licence_conflicts": [one._asdict() for one in conflicts(plan)],
    }


def reasons(plan: Plan) -> dict[str, int]:
    """Return how many training rows are left out, by kind of reason."""
    return dict(Counter(kind for out in plan.reasons for kind, _ in out.values()).most_common())


def conflicts(plan: Plan) -> list[Conflict]:
    """Return what licences don't allow, where the mix is declared for commercial use."""
    if plan.settings.use != "commercial":
        return []
    return list(licences.conflicts(licences.carried(lot.dataset for lot in plan.every)))


def _line(line: Line) -> dict[str, Any]:
    return {**line._asdict(), "path": list(line.path), "asked": round(line.asked, 2)}
