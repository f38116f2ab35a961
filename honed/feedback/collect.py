"""Taking feedback: whose token it is, what it may say, and that it says it once."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from honed.errors import RequestError
from honed.records import FeedbackEvent, Interaction
from honed.store.interactions import Interactions
from honed.store.tokens import Claim, Signer

_Token = Annotated[str, Field(max_length=1000)]


class FeedbackBody(BaseModel):
    """What a person says of an answer. Each kind has its own fields; another's is refused, never ignored.

    A ``thumb`` has ``good`` and perhaps a ``reason``, an ``edit`` the better ``text``, whole; a ``choice`` prefers
    ``token``'s answer to ``rejected_token``'s, perhaps with a ``reason``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    token: _Token
    kind: Literal["thumb", "edit", "choice"]
    good: bool | None = None
    reason: str = Field(default="", max_length=2000)
    text: str | None = Field(default=None, max_length=100_000)
    rejected_token: _Token | None = None


_FIELDS = {
    "thumb": ({"good"}, {"good", "reason"}),
    "edit": ({"text"}, {"text"}),
    "choice": ({"rejected_token"}, {"rejected_token", "reason"}),
}
"""The fields that each kind must have, and those that it may have."""


class Given(NamedTuple):
    """Feedback that was stored, and fresh tokens with which more can be said of the same answers."""

    event: FeedbackEvent
    feedback_token: str
    rejected_feedback_token: str | None


def give(store: Interactions, signer: Signer, body: FeedbackBody, cookie_subject: str | None) -> Given:
    """Check what a person said and store it; when this returns, it is durable and its tokens are used up.

    ``cookie_subject`` is who the browser says is speaking, if it does. Raises ``RequestError``: 403 for a token that
    is forged or another person's, 404 for an answer that isn't stored, 409 for a used token, 400 for what can't stand.
    """
    _check_fields(body)
    claim = signer.read(body.token)
    refuse_foreign(claim, cookie_subject, "token")
    answer = _answer(store, claim, "token")
    claims = [claim]
    if body.text is not None:
        _check_edit(body.text, answer)
    _refuse_nul(body.reason, "reason")
    if body.rejected_token is not None:
        other = signer.read(body.rejected_token, "rejected_token")
        refuse_foreign(other, claim.subject, "rejected_token")
        _check_pair(answer, _answer(store, other, "rejected_token"))
        claims.append(other)
    said = FeedbackEvent(
        id=f"fb-{uuid.uuid4().hex}",
        created=time.time(),
        kind=body.kind,
        interaction=claim.interaction,
        subject=claim.subject,
        good=body.good,
        reason=body.reason,
        text=body.text or "",
        rejected=claims[1].interaction if len(claims) > 1 else "",
    )
    store.add_feedback(said, [one.nonce for one in claims])
    fresh = [signer.issue(one.interaction, one.subject) for one in claims]
    return Given(said, fresh[0], fresh[1] if len(fresh) > 1 else None)


def refuse_foreign(claim: Claim, subject: str | None, param: str) -> None:
    """Raise ``RequestError`` (403, ``foreign_token``) if a token is another person's; ``None`` says nobody's name."""
    if subject is not None and claim.subject != subject:
        raise RequestError(
            "this feedback token was given to another person",
            "Send the token that came with your own answer.",
            status=403,
            code="foreign_token",
            param=param,
        )


def _answer(store: Interactions, claim: Claim, param: str) -> Interaction:
    found = store.get(claim.interaction)
    if found is None:
        raise RequestError(
            "the answer that this token was given for isn't stored here",
            "Ask the server that gave the answer.",
            status=404,
            code="unknown_interaction",
            param=param,
        )
    return found


def _check_fields(body: FeedbackBody) -> None:
    needed, known = _FIELDS[body.kind]
    given = body.model_fields_set - {"token", "kind"}
    for field in sorted(known | given):
        if field not in known:
            raise _bad(f"feedback of kind {body.kind!r} has no {field!r}", "Leave it out.", "unknown_parameter", field)
        if field in needed and getattr(body, field) is None:
            raise _bad(
                f"feedback of kind {body.kind!r} needs {field!r}", "Send it.", "missing_required_parameter", field
            )


def _bad(message: str, hint: str, code: str, param: str) -> RequestError:
    return RequestError(message, hint, code=code, param=param)


def _check_edit(text: str, answer: Interaction) -> None:
    _refuse_nul(text, "text")
    if not text.strip():
        raise _bad("the edited answer is empty", "Write the better answer.", "empty_text", "text")
    if text.strip() == answer.answer.strip():
        hint = "Change it, or give a thumb up if it is good as it is."
        raise _bad("the edited answer is the same as before", hint, "unchanged_text", "text")


def _refuse_nul(text: str, param: str) -> None:
    if "\0" in text:
        raise _bad("the text holds a NUL character", "Remove it: no tokenizer has it.", "invalid_text", param)


def _check_pair(chosen: Interaction, rejected: Interaction) -> None:
    if chosen.id == rejected.id or not chosen.pair or chosen.pair != rejected.pair:
        raise RequestError(
            "the two answers were not shown side by side",
            "Ask for both with the same 'pair' in the metadata, and send their two tokens.",
            status=403,
            code="foreign_token",
            param="rejected_token",
        )
    if chosen.prompt != rejected.prompt:
        hint = "Only answers to one prompt can be compared."
        raise _bad("the two answers are to different prompts", hint, "different_prompts", "rejected_token")
