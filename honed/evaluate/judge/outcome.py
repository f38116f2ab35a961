"""What judging leaves: ``result.json`` of each kind. All torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from honed.evaluate.judge.agreement import Agreement, Among, ScoreAgreement, Trust
from honed.evaluate.judge.answers import Sides
from honed.evaluate.judge.contest import Contest, Groups
from honed.evaluate.judge.lengths import LengthControlled
from honed.evaluate.judge.pairwise import Order
from honed.evaluate.judge.rubric import Change, SideScores
from honed.evaluate.rates import Rate
from honed.records import Record


class JudgeFacts(Record):
    """Who judged: its name, where, and a hash of all that decides its replies but the questions."""

    name: str
    where: str
    identity: str


class Usage(Record):
    """What the judge did: replies in all attempts, those asked for again, those of them that stayed unusable.

    ``cached`` replies were paid for by an earlier job; ``cost`` is in the currency of the endpoint's prices, None
    without prices or on this machine. ``resumed`` replies come from an earlier attempt of this job.
    """

    replies: int
    again: int
    unusable: int
    resumed: int
    cached: int
    prompt_tokens: int
    tokens: int
    cost: float | None


class Pairwise(Record):
    """``result.json`` of two models' answers compared by a judge. ``unasked`` prompts needed none.

    ``overall`` is None if no verdict is usable; unusable ones count for neither side.
    """

    kind: Literal["pairwise"] = "pairwise"
    judge: JudgeFacts
    trust: Trust
    sides: Sides
    asked: int
    unasked: int
    unusable: int
    overall: Contest | None
    length_controlled: LengthControlled | None
    groups: Mapping[str, Groups]
    order: Order
    usage: Usage
    notes: tuple[str, ...]
    peak_rss_bytes: int = 0
    seconds: float = 0.0


class Rubric(Record):
    """``result.json`` of answers scored by a rubric. ``changes`` is empty where one model's are scored."""

    kind: Literal["rubric"] = "rubric"
    judge: JudgeFacts
    trust: Trust
    criteria: Mapping[str, str]
    sides: tuple[SideScores, ...]
    changes: Mapping[str, Change]
    usage: Usage
    notes: tuple[str, ...]
    peak_rss_bytes: int = 0
    seconds: float = 0.0


class Measured(Record):
    """``result.json`` of a judge's agreement with people: on choices, or on scores."""

    kind: Literal["agreement"] = "agreement"
    judge: JudgeFacts
    trust: Trust
    labels: str
    choices: Agreement | None = None
    scores: ScoreAgreement | None = None
    usage: Usage
    peak_rss_bytes: int = 0
    seconds: float = 0.0


class People(Record):
    """``result.json`` of two models' answers compared by people, blind.

    ``pairs`` differ and were shown, ``same`` are alike and weren't. ``labels`` aren't skips; each counts, those of one
    prompt as a family. ``left`` is how often the answer on the left was chosen: half of the time, fairly.
    """

    kind: Literal["people"] = "people"
    sides: Sides
    pairs: int
    same: int
    labels: int
    skipped: int
    raters: Mapping[str, int]
    overall: Contest | None
    length_controlled: LengthControlled | None
    groups: Mapping[str, Groups]
    left: Rate | None
    among: Among | None
    file: str
    peak_rss_bytes: int = 0
    seconds: float = 0.0


AnyResult = Pairwise | Rubric | Measured | People
_ADAPTER: TypeAdapter[AnyResult] = TypeAdapter(Annotated[AnyResult, Field(discriminator="kind")])


def result(values: Mapping[str, Any]) -> AnyResult:
    """Return a judging job's ``result.json`` as a record."""
    return _ADAPTER.validate_python(dict(values))
