"""The routes of feedback and consent. A ``RequestError`` becomes OpenAI's shape where the app is made."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Cookie, Query
from pydantic import BaseModel, ConfigDict, Field

from honed.errors import RequestError
from honed.feedback.collect import FeedbackBody, give, refuse_foreign
from honed.records import Consent
from honed.store.interactions import Interactions
from honed.store.tokens import SUBJECT_COOKIE, Signer, subject_of_cookie

_Cookie = Annotated[str | None, Cookie(alias=SUBJECT_COOKIE, max_length=1000)]
_Token = Annotated[str | None, Query(max_length=1000)]


class ConsentBody(BaseModel):
    """What a person allows, or no longer allows. ``token`` says who speaks where there is no cookie."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    purpose: Literal["train"]
    granted: bool
    token: str | None = Field(default=None, max_length=1000)


def router(store: Interactions, signer: Signer) -> APIRouter:
    """Return the routes ``POST /v1/feedback`` and ``GET``, ``POST /v1/consent``."""
    routes = APIRouter(prefix="/v1")

    @routes.post("/feedback", status_code=201)
    def feedback(body: FeedbackBody, cookie: _Cookie = None) -> dict[str, Any]:
        """Store what a person says of an answer; the token is used up, a fresh one comes back."""
        given = give(store, signer, body, _of_cookie(signer, cookie))
        said = {key: getattr(given.event, key) for key in ("id", "kind", "interaction")}
        tokens = {"feedback_token": given.feedback_token, "rejected_feedback_token": given.rejected_feedback_token}
        return said | {key: token for key, token in tokens.items() if token}

    @routes.get("/consent")
    def consent(token: _Token = None, cookie: _Cookie = None) -> dict[str, bool | None]:
        """Say what the person allows, per purpose; null: never asked."""
        subject = _speaker(signer, token, cookie)
        return {"train": store.consent_of(subject, "train") if subject else None}

    @routes.post("/consent")
    def set_consent(body: ConsentBody, cookie: _Cookie = None) -> dict[str, bool | None]:
        """Store what the person allows from now on. The token isn't used up."""
        subject = _speaker(signer, body.token, cookie)
        if subject is None:
            raise RequestError(
                "it isn't known who speaks",
                f"Send a feedback token as 'token', or the cookie {SUBJECT_COOKIE}.",
                code="no_subject",
                param="token",
            )
        store.set_consent(Consent(subject=subject, purpose=body.purpose, granted=body.granted, created=time.time()))
        return {body.purpose: body.granted}

    return routes


def _of_cookie(signer: Signer, cookie: str | None) -> str | None:
    return subject_of_cookie(signer, cookie) if cookie else None


def _speaker(signer: Signer, token: str | None, cookie: str | None) -> str | None:
    """Return who speaks, by the token or the cookie, which must not differ; None if neither is there."""
    subject = _of_cookie(signer, cookie)
    if token is None:
        return subject
    claim = signer.read(token)
    refuse_foreign(claim, subject, "token")
    return claim.subject
