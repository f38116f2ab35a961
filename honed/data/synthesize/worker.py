"""The synthesis itself, in its own process: settings in; out come marked rows, and why others did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from honed import config
from honed.data import dropped
from honed.data.licences import carried
from honed.data.synthesize import plan, writer
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.plan import Plan
from honed.data.synthesize.synthesis import Known, Synthesis
from honed.errors import DataError
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.records import Fault
from honed.store import artifacts, datasets


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Synthesize as ``config.yaml`` says and return what was made, left out and paid.

    A limit in money ends it in order, with the rows so far. Raises ``DataError`` if there is none, ``EndpointError`` if
    the endpoint fails for good, ``Stopped`` when asked to stop; every reply is kept then, and a resumed job starts from
    them.
    """
    settings = config.read(SynthesizeConfig, job.path / "config.yaml")
    planned = plan.made(job.workspace, settings)
    for text in planned.notes:
        job.log.note(text)
    hand = writer.opened(job.workspace, settings, job.id, job.log.note)
    try:
        job.log.note(plan.words(plan.estimate(planned, hand.estimate), planned, settings.attempts))
        known = Known(planned.novelty, planned.held)
        parts = [Synthesis(job, one, hand, stopping, known) for one in planned.parts]
        for place, one in enumerate(parts):
            if place and parts[place - 1].broke:
                one.ended, one.broke = parts[place - 1].ended, True  # no money is left for it
            else:
                one.run()
        ended = "; ".join(f"{one.part.kind}: {one.ended}" if one.part.kind else one.ended for one in parts if one.ended)
        return {**_published(job, settings, planned, parts), **hand.spent.model_dump(), "ended": ended}
    finally:
        hand.close()


def _published(job: Job, settings: SynthesizeConfig, planned: Plan, parts: Sequence[Synthesis]) -> dict[str, Any]:
    path = job.path / dropped.FILE
    _write_dropped(path, settings, parts)
    tries, reasons = sum(one.asked for one in parts), _sum(one.reasons for one in parts)
    if not any(one.rows for one in parts):
        why = ", ".join(f"{count:,} {kind}" for kind, count in reasons.most_common(3)) or parts[0].ended
        raise DataError(
            f"not one row came of {tries:,} tries: {why}",
            f"Read what was written in {path}; another writer, or more attempts, may do better.",
        )
    before = {artifact.ref for artifact in artifacts.listing(job.workspace, "datasets")}
    mended = _sum(one.mended for one in parts)
    facts = {
        "rows": tries,
        "dropped": dict(reasons.most_common()),
        "synthetic": {"method": settings.method, "generator": writer.name(settings), "mended": dict(mended)},
        "licences": carried([planned.seeds]) if planned.seeds else {},
        **({"asked": _asked(planned, parts)} if settings.wanted else {}),
    }
    artifact = datasets.write(
        job.workspace,
        settings.name,
        ((row, "train") for one in parts for row in one.rows),
        config=settings.model_dump(mode="json"),
        facts=facts,
        files=[path],
        parents={planned.seeds.ref: planned.seeds.manifest.hash} if planned.seeds else {},
    )
    return {"dataset": artifact.ref, "new": artifact.ref not in before, **artifact.manifest.facts}


def _write_dropped(path: Path, settings: SynthesizeConfig, parts: Sequence[Synthesis]) -> None:
    with path.open("wb") as out:
        for one in parts:
            file = f"{one.part.kind or settings.method} by {writer.name(settings)}"
            for unit, left in one.rejected:
                fault = Fault(file=file, line=unit + 1, field="reply", kind=left.kind, message=left.message)
                out.write(dropped.line(fault, left.text))


def _asked(planned: Plan, parts: Sequence[Synthesis]) -> list[Mapping[str, Any]]:
    """Return what was asked for, tried and kept of each kind that the error analysis wants."""
    made = [
        {
            "kind": one.part.kind,
            "method": one.part.settings.method,
            "suggested": one.part.suggested,
            "asked": one.part.settings.rows,
            "made": one.asked,
            "kept": len(one.rows),
            "why": one.ended,
        }
        for one in parts
    ]
    none = {"method": "", "asked": 0, "made": 0, "kept": 0}
    return [*made, *({"kind": kind, "suggested": count, **none, "why": why} for kind, count, why in planned.unasked)]


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in counters:
        found += one
    return found


if __name__ == "__main__":
    main(work)
