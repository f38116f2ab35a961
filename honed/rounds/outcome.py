"""What a round leaves as ``round.json``: its verdict with reasons, and what was measured. Torch-free.

RoundOutcome     one round: what went in, what came out, how it was judged
SuiteOutcome     one suite's held-out rows under the live model and the candidate, as the gate leaves it
AudienceOutcome  one audience, or another group, of a suite
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from honed.errors import StoreError
from honed.evaluate.finding import AudienceOutcome as AudienceOutcome
from honed.evaluate.finding import Finding as Finding
from honed.evaluate.finding import Role as Role
from honed.evaluate.finding import SuiteOutcome as SuiteOutcome
from honed.evaluate.finding import Verdict
from honed.records import Record
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

FILE = "round.json"

Decision = Literal["promoted", "held"]


class RoundOutcome(Record):
    """One round. ``ref`` and ``created`` are those of its artifact; models and datasets are ``name@vN``.

    ``verdict`` is what became of the candidate, ``gate`` what the gate said of it, if it was asked: ``promote``,
    ``hold`` (not shown to be better, or not to be worse) or ``reject`` (shown to be worse). ``before`` is the model
    that ``alias`` named when the round began, ``base`` the one that was trained, ``candidate`` what came of it (None:
    nothing was trained). ``feedback`` counts what went in, ``left_out`` the events that gave no record, by reason.
    ``jobs`` and ``seconds`` are by step: ``derive``, ``mix``, ``sft``, ``dpo``, ``before/<suite>``, ``after/<suite>``;
    ``jobs["round"]`` is the round's own.
    """

    ref: str = ""
    name: str
    verdict: Decision
    gate: Verdict | None = None
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
