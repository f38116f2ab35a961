"""A judging result as one HTML page that needs no network: what was found, whether it may be relied on, examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from honed.evaluate import charts
from honed.evaluate import words as numbers
from honed.evaluate.judge import labels, outcome, pairwise, rubric, tables, words
from honed.evaluate.judge.outcome import People
from honed.evaluate.judge.pairwise import Verdict
from honed.evaluate.judge.rubric import Scored
from honed.jobs.job import Job
from honed.look import pages
from honed.records import Record
from honed.store.workspace import write_whole, writing

HTML = "judge.html"
EACH = 12
"""Examples of each kind on the page; all are in the job's folder."""

Line = TypeVar("Line", bound=Record)


class Card(Record):
    """One example. ``kind`` is what it shows, ``fate`` how that is coloured; ``sides`` are (side, text, remark)."""

    kind: str
    fate: str
    prompt: tuple[tuple[str, str], ...]
    sides: tuple[tuple[str, str, str], ...]
    remarks: tuple[str, ...]


def write(job: Job, found: outcome.AnyResult) -> Path:
    """Write the page into the job's folder and return its path. What rows and judges say is data: it is escaped."""
    details = words.details(found)
    html = (
        pages.environment("honed.evaluate")
        .get_template("judge.html.j2")
        .render(
            found=found,
            trusted=None if isinstance(found, People) else found.trust.state == "yes",
            headline=words.headline(found),
            details=details,
            tables=list(tables.of(found)),
            cards=_cards(job, found),
            each=EACH,
            facts=_facts(job, found),
            colours=charts.COLOURS,
            numbers=numbers,
        )
    )
    with writing(job.path):
        write_whole(job.path / HTML, html)
    return job.path / HTML


def _facts(job: Job, found: outcome.AnyResult) -> list[tuple[str, str]]:
    facts = [("job", job.id)]
    if isinstance(found, People):
        facts += [("raters", ", ".join(f"{name} ({n})" for name, n in found.raters.items()) or "none yet")]
        facts += [("labels", found.file)]
    else:
        facts += [("judge", found.judge.name), ("asked at", found.judge.where), ("cost", words.spent(found.usage))]
    if isinstance(found, outcome.Pairwise | People):
        facts += [(side, f"{name} {job}".strip()) for side, name, job in _sides(found)]
    if isinstance(found, outcome.Rubric):
        facts += [(f"criterion {name}", text) for name, text in found.criteria.items()]
    return facts


def _sides(found: outcome.Pairwise | People) -> list[tuple[str, str, str]]:
    sides = found.sides
    return [("base", sides.base, sides.base_job), ("tuned", sides.tuned, sides.tuned_job)]


def _cards(job: Job, found: outcome.AnyResult) -> list[Card]:
    if isinstance(found, People):
        said = [one for one in labels.newest(labels.kept(job.path / labels.FILE)) if one.choice != "skip"]
        return _some([_label(one) for one in said])
    if (job.path / pairwise.VERDICTS).exists():
        return _some([_verdict(one) for one in _lines(job.path / pairwise.VERDICTS, Verdict)])
    return _some([_score(one) for one in _lines(job.path / rubric.SCORES, Scored)])


def _some(cards: Sequence[Card]) -> list[Card]:
    """Return the first of each kind, in the files' order, which is that of hashes: nobody picks the fine ones."""
    kinds = dict.fromkeys(card.fate for card in cards)
    order = [kind for kind in ("none", "won", "lost", "both") if kind in kinds]
    return [card for kind in order for card in [one for one in cards if one.fate == kind][:EACH]]


def _lines(path: Path, kind: type[Line]) -> list[Line]:
    return [kind.model_validate_json(line) for line in path.read_bytes().splitlines()]


def _verdict(one: Verdict) -> Card:
    kinds = {"tuned": ("tuned wins", "won"), "base": ("base wins", "lost"), "tie": ("tie", "both")}
    kind, fate = kinds[one.choice] if one.choice else ("no verdict", "none")
    remarks = [
        f"{side} first: {one.said[side] or 'unusable'}. {one.reasons.get(side, '')}".strip() for side in one.said
    ]
    return Card(
        kind=f"{kind}: {one.why.removeprefix('unusable: ')}",
        fate=fate,
        prompt=tuple((turn.role, turn.content) for turn in one.prompt),
        sides=(("base", one.base, ""), ("tuned", one.tuned, "")),
        remarks=tuple(remarks),
    )


def _label(one: labels.Label) -> Card:
    assert one.choice != "skip"
    return _verdict(
        Verdict(
            id=one.id,
            prompt=one.prompt,
            tags=one.tags,
            base=one.base,
            tuned=one.tuned,
            choice=one.choice,
            why=f"says {one.rater or 'a rater'}, in {one.seconds:.0f} s",
        )
    )


def _score(one: Scored) -> Card:
    low = min(one.scores.values(), default=0)
    fate = "none" if not one.scores else "lost" if low <= 2 else "won" if low >= 4 else "both"
    scores = ", ".join(f"{name} {score}" for name, score in one.scores.items())
    return Card(
        kind=scores or f"unusable: {one.unusable}",
        fate=fate,
        prompt=tuple((turn.role, turn.content) for turn in one.prompt),
        sides=((one.side, one.answer, one.reason),),
        remarks=(),
    )
