"""What a round leaves as ``round.json``: its verdict with reasons, and what was measured. Torch-free.

RoundOutcome     one round: what went in, what came out, how it was judged
SuiteOutcome     one suite's held-out rows under the live model and the candidate
AudienceOutcome  one audience of a suite
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from honed.errors import StoreError
from honed.evaluate.outcome import Rate
from honed.evaluate.stats import Interval
from honed.records import Record
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

FILE = "round.json"

Role = Literal["improve", "keep"]
Decision = Literal["promoted", "held"]
Finding = Literal["pass", "fail", "too few"]


class AudienceOutcome(Record):
    """One audience of a suite; rates and the difference are fractions, ``reason`` a sentence."""

    name: str
    n: int
    before: Rate
    after: Rate
    difference: float
    interval: Interval
    won: int
    lost: int
    verdict: Finding
    reason: str


class SuiteOutcome(Record):
    """One suite under the live model (``before``) and the candidate (``after``), on the same ``n`` verified rows.

    Rates and differences are fractions, not percentages; ``interval`` is Newcombe's of the paired difference,
    ``p_value`` the exact two-sided one of McNemar. Without a verified row the numbers are None.
    """

    name: str
    data: str
    role: Role
    n: int
    before: Rate | None
    after: Rate | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    won: int
    lost: int
    verdict: Finding
    reason: str
    audiences: tuple[AudienceOutcome, ...] = ()


class RoundOutcome(Record):
    """One round. ``ref`` and ``created`` are those of its artifact; models and datasets are ``name@vN``.

    ``before`` is the model that ``alias`` named when the round began, ``base`` the one that was trained, ``candidate``
    what came of it (None: nothing was trained). ``feedback`` counts what went in, ``left_out`` the events that gave
    no record, by reason. ``jobs`` and ``seconds`` are by step: ``derive``, ``mix``, ``sft``, ``dpo``,
    ``before/<suite>``, ``after/<suite>``; ``jobs["round"]`` is the round's own.
    """

    ref: str = ""
    name: str
    verdict: Decision
    reasons: tuple[str, ...]
    alias: str
    before: str
    base: str
    candidate: str | None
    feedback: Mapping[str, int]
    left_out: Mapping[str, int]
    dataset: str | None
    suites: tuple[SuiteOutcome, ...]
    jobs: Mapping[str, str]
    seconds: Mapping[str, float]
    created: str = ""


def read(artifact: Artifact) -> RoundOutcome:
    """Return the outcome that an artifact of kind ``rounds`` holds. Raises ``StoreError`` if it is damaged."""
    path = artifact.path / FILE
    try:
        outcome = RoundOutcome.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StoreError(f"{path}: missing or damaged", "Restore it; the models it names are as they were.") from error
    return outcome.model_copy(update={"ref": artifact.ref, "created": artifact.manifest.created})


def listing(workspace: Workspace) -> list[RoundOutcome]:
    """Return every round of the workspace, oldest first."""
    found = [read(artifact) for artifact in artifacts.listing(workspace, "rounds")]
    return sorted(found, key=lambda outcome: outcome.created)
