"""What the gate said, as a signed document; an override says in it who overruled the gate, and why.

The signature is an HMAC (RFC 2104) by the workspace's key over all else that the document says.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson
from pydantic import ValidationError

from honed.errors import DataError
from honed.evaluate.compare import Comparison
from honed.evaluate.finding import Judgement, Verdict
from honed.evaluate.gate import GateConfig
from honed.records import Record, Split
from honed.store import tokens
from honed.store.workspace import Workspace, write_whole, writing

FILE = "gate.json"
_PURPOSE = "honed.gate"


class Side(Record):
    """A pair of evaluations that was judged: their jobs, and what they measured on what.

    ``notes`` say what else differs between the two than the model.
    """

    candidate_job: str
    base_job: str
    candidate: str
    candidate_hash: str
    base: str
    base_hash: str
    data: str
    data_hash: str
    split: Split
    notes: tuple[str, ...]


class Override(Record):
    """That somebody promoted a candidate which the gate didn't; ``when`` is UTC, ISO 8601."""

    reason: str
    who: str
    when: str


class Judged(Record):
    """What a judge or people said of the same two models: beside the decision, never part of it.

    ``trust`` is ``people`` for people, else whether the judge is trusted; one that isn't is only indicative.
    """

    job: str
    said: str
    trust: Literal["people", "yes", "no", "not measured"]


class Gated(Record):
    """One decision of the gate. ``decision`` is its verdict, or ``promote`` where it was overridden."""

    decision: Verdict
    judgement: Judgement
    config: GateConfig
    sides: tuple[Side, ...]
    when: str
    override: Override | None = None
    judged: tuple[Judged, ...] = ()
    signature: str = ""


def side(comparison: Comparison) -> Side:
    """Return what identifies a comparison whose tuned model is the candidate."""
    return Side(
        candidate_job=comparison.tuned_job,
        base_job=comparison.base_job,
        candidate=comparison.tuned.model,
        candidate_hash=comparison.tuned.model_hash,
        base=comparison.base.model,
        base_hash=comparison.base.model_hash,
        data=comparison.data,
        data_hash=comparison.data_hash,
        split=comparison.split,
        notes=comparison.notes,
    )


def decide(judgement: Judgement, config: GateConfig, sides: Sequence[Side], override: tuple[str, str] | None) -> Gated:
    """Return the decision; ``override`` is (reason, who). A verdict of ``promote`` needs none and keeps none."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    used = None
    if override and judgement.verdict != "promote":
        used = Override(reason=override[0], who=override[1], when=when)
    return Gated(
        decision="promote" if used else judgement.verdict,
        judgement=judgement,
        config=config,
        sides=tuple(sides),
        when=when,
        override=used,
    )


def write(workspace: Workspace, made: Gated, path: Path) -> Gated:
    """Sign a decision with the workspace's key and write it. Raises ``StoreError`` if that can't be done."""
    signed = made.model_copy(update={"signature": tokens.open_signer(workspace).sign(_PURPOSE, _text(made))})
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, signed.model_dump_json(indent=2) + "\n")
    return signed


def read(workspace: Workspace, path: Path) -> Gated:
    """Return a decision that this workspace signed. Raises ``DataError`` if it is damaged, changed, or another's."""
    try:
        found = Gated.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: no decision of the gate", "Give a gate.json that honed gate wrote.") from error
    expected = tokens.open_signer(workspace).sign(_PURPOSE, _text(found))
    if not hmac.compare_digest(expected, found.signature):
        raise DataError(
            f"{path}: the signature isn't this workspace's: it was changed, or made elsewhere",
            "Don't rely on it; run honed gate again on the same evaluations.",
        )
    return found


def of_model(workspace: Workspace, model: str) -> Gated | None:
    """Return the newest decision on ``model`` (``name@vN``) as a candidate that lies in the workspace's jobs, if any.

    One kept elsewhere isn't known. Raises ``DataError`` as ``read`` does if one that names the model was changed.
    """
    found = []
    for path in workspace.jobs.glob(f"*/against-*/{FILE}"):
        try:
            kept = orjson.loads(path.read_bytes())
            names = {side["candidate"] for side in kept["sides"]}
        except (OSError, ValueError, TypeError, KeyError):
            continue  # not a decision at all, so not one on this model
        if model in names:
            found.append(read(workspace, path))
    return max(found, key=lambda made: made.when, default=None)


def _text(made: Gated) -> str:
    document = made.model_dump(mode="json", exclude={"signature"})
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
