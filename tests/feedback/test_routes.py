"""The routes of feedback and consent, as a client meets them: what is stored, and each refusal in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from honed.errors import StoreError
from honed.feedback.routes import router
from honed.records import Message
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.tokens import SUBJECT_COOKIE, Signer, open_signer, subject_of_cookie
from honed.store.workspace import Workspace
from honed.web import errors
from tests.store.said import answer


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Interactions]:
    database = open_database(workspace)
    yield Interactions(database)
    database.close()


@pytest.fixture
def signer(workspace: Workspace) -> Signer:
    return open_signer(workspace)


@pytest.fixture
def client(store: Interactions, signer: Signer) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(router(store, signer))
    errors.install(app)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def token(store: Interactions, signer: Signer) -> str:
    """The token of ``answer-1``, given to ``ann``."""
    store.add(answer())
    return signer.issue("answer-1", "ann")


@pytest.fixture
def pair(store: Interactions, signer: Signer) -> tuple[str, str]:
    """The tokens of two answers side by side."""
    store.add(answer("left", pair="p"))
    store.add(answer("right", pair="p", answer="Twelve.", model="till@v1"))
    return signer.issue("left", "ann"), signer.issue("right", "ann")


def _said(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/feedback", json=body)
    assert response.status_code == 201, response.text
    return dict(response.json())


def _refused(client: TestClient, status: int, code: str, param: str, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/feedback", json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), error
    return dict(error)


def test_a_thumb_is_stored_with_its_reason(client: TestClient, store: Interactions, token: str) -> None:
    said = _said(client, token=token, kind="thumb", good=False, reason="no decimals")
    (event,) = store.feedback()
    assert (event.kind, event.good, event.reason) == ("thumb", False, "no decimals")
    assert (event.interaction, event.subject, event.text, event.rejected) == ("answer-1", "ann", "", "")
    assert said == {
        "id": event.id,
        "kind": "thumb",
        "interaction": "answer-1",
        "feedback_token": said["feedback_token"],
    }


def test_the_fresh_token_says_more_of_the_same_answer(client: TestClient, store: Interactions, token: str) -> None:
    for number in range(3):
        token = _said(client, token=token, kind="edit", text=f"version {number}")["feedback_token"]
    assert [event.text for event in store.feedback()] == ["version 0", "version 1", "version 2"]
    assert {event.interaction for event in store.feedback()} == {"answer-1"}


def test_a_choice_is_stored_and_both_tokens_are_used_up(
    client: TestClient, store: Interactions, pair: tuple[str, str]
) -> None:
    left, right = pair
    said = _said(client, token=right, kind="choice", rejected_token=left, reason="shorter")
    (event,) = store.feedback()
    assert (event.kind, event.interaction, event.rejected, event.reason) == ("choice", "right", "left", "shorter")
    for used in pair:
        _refused(client, 409, "used_token", "token", token=used, kind="thumb", good=True)
    _said(client, token=said["feedback_token"], kind="thumb", good=True)
    _said(client, token=said["rejected_feedback_token"], kind="thumb", good=False)
    assert [event.interaction for event in store.feedback(kind="thumb")] == ["right", "left"]


def test_text_of_every_script_and_markup_is_stored_as_it_is(
    client: TestClient, store: Interactions, token: str
) -> None:
    text = "<script>alert('é')</script> \U0001f9ea \u202e ${x} {{ y }}\r\n"
    _said(client, token=token, kind="edit", text=text)
    assert next(store.feedback()).text == text


def test_a_replayed_token_is_refused(client: TestClient, store: Interactions, token: str) -> None:
    _said(client, token=token, kind="thumb", good=True)
    for body in ({"kind": "thumb", "good": True}, {"kind": "edit", "text": "other"}):
        _refused(client, 409, "used_token", "token", token=token, **body)
    assert len(list(store.feedback())) == 1


def test_of_one_token_sent_many_times_at_once_one_counts(client: TestClient, store: Interactions, token: str) -> None:
    def send(_: int) -> int:
        return client.post("/v1/feedback", json={"token": token, "kind": "thumb", "good": True}).status_code

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(send, range(6))) == [201, 409, 409, 409, 409, 409]
    assert len(list(store.feedback())) == 1


def test_a_forged_token_is_refused(client: TestClient, store: Interactions, token: str, pair: tuple[str, str]) -> None:
    other = Signer(b"another workspace's key, 32 bytes").issue("answer-1", "ann")
    body, signature = token.split(".")
    stolen = pair[0].split(".")[0]
    for forged in (other, f"{body}.", f"{stolen}.{signature}", "", "a.b", "\0", "é", token[:-2]):
        _refused(client, 403, "invalid_token", "token", token=forged, kind="thumb", good=True)
    _refused(client, 403, "invalid_token", "rejected_token", token=token, kind="choice", rejected_token=other)
    assert list(store.feedback()) == []


def test_the_token_of_another_person_is_refused(
    client: TestClient, store: Interactions, signer: Signer, token: str
) -> None:
    client.cookies.set(SUBJECT_COOKIE, "bobs")
    _refused(client, 403, "foreign_token", "token", token=token, kind="thumb", good=True)
    assert list(store.feedback()) == []
    store.add(answer("mine", subject=subject_of_cookie(signer, "bobs")))
    _said(client, token=signer.issue("mine", subject_of_cookie(signer, "bobs")), kind="thumb", good=True)


def test_a_choice_between_answers_that_were_not_side_by_side_is_refused(
    client: TestClient, store: Interactions, signer: Signer, pair: tuple[str, str], token: str
) -> None:
    store.add(answer("of-bob", pair="p", subject="bob"))
    store.add(answer("other-pair", pair="q"))
    store.add(answer("no-pair"))
    left, right = pair
    for chosen, rejected in (
        (left, signer.issue("of-bob", "bob")),
        (left, signer.issue("other-pair", "ann")),
        (token, signer.issue("no-pair", "ann")),
        (left, signer.issue("left", "ann")),
        (left, left),
    ):
        _refused(client, 403, "foreign_token", "rejected_token", token=chosen, kind="choice", rejected_token=rejected)
    assert list(store.feedback()) == []
    _said(client, token=left, kind="choice", rejected_token=right)  # none of the refused ones used up a token


def test_a_choice_between_answers_to_different_prompts_is_refused(
    client: TestClient, store: Interactions, signer: Signer, pair: tuple[str, str]
) -> None:
    store.add(answer("elsewhere", pair="p", prompt=(Message(role="user", content="And the blue one?"),)))
    other = signer.issue("elsewhere", "ann")
    _refused(client, 400, "different_prompts", "rejected_token", token=pair[0], kind="choice", rejected_token=other)


def test_the_token_of_an_answer_that_is_not_stored_is_a_404(client: TestClient, signer: Signer) -> None:
    token = signer.issue("gone", "ann")
    _refused(client, 404, "unknown_interaction", "token", token=token, kind="thumb", good=True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_text"),
        (" \n\t", "empty_text"),
        ("It is 12 euros.", "unchanged_text"),
        (" It is 12 euros.\n", "unchanged_text"),
        ("12\0euros", "invalid_text"),
    ],
)
def test_an_edit_that_says_nothing_is_refused(client: TestClient, token: str, text: str, code: str) -> None:
    _refused(client, 400, code, "text", token=token, kind="edit", text=text)
    _said(client, token=token, kind="edit", text="12.00 euros")  # the token wasn't used up


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('"kind": "edit", "text": "\\ud800"', "text"),
        ('"kind": "thumb", "good": true, "reason": "\\udfff"', "reason"),
        ('"kind": "thumb", "good": true, "token": "\\ud800"', "token"),
    ],
)
def test_half_a_character_is_a_400(client: TestClient, store: Interactions, token: str, body: str, param: str) -> None:
    content = f'{{"token": "{token}", {body}}}'
    response = client.post("/v1/feedback", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert list(store.feedback()) == []


def test_a_nul_in_a_reason_is_a_400(client: TestClient, token: str) -> None:
    _refused(client, 400, "invalid_text", "reason", token=token, kind="thumb", good=True, reason="a\0")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "thumb"}, "good"),
        ({"kind": "choice", "rejected_token": "x", "text": "y"}, "text"),
        ({"kind": "edit", "text": "x", "reason": "y"}, "reason"),
        ({"kind": "thumb", "good": True, "text": None}, "text"),
        ({"kind": "thumb", "good": "yes"}, "good"),
        ({"kind": "thumb", "good": 1}, "good"),
        ({"kind": "thumb", "good": None}, "good"),
        ({"kind": "thumb", "good": True, "zebra": 1}, "zebra"),
        ({"kind": "thumb", "good": True, "reason": 5}, "reason"),
        ({"kind": "thumb", "good": True, "reason": "x" * 2001}, "reason"),
        ({"kind": "thumb", "good": True, "token": 7}, "token"),
        ({"kind": "thumb", "good": True, "token": "x" * 1001}, "token"),
        ({"kind": "edit"}, "text"),
        ({"kind": "edit", "text": ["x"]}, "text"),
        ({"kind": "edit", "text": "x" * 100_001}, "text"),
        ({"kind": "edit", "text": "x", "good": True}, "good"),
        ({"kind": "choice"}, "rejected_token"),
        ({"kind": "choice", "rejected_token": None}, "rejected_token"),
        ({"kind": "zebra"}, "kind"),
        ({"kind": ["thumb"]}, "kind"),
        ({}, "kind"),
    ],
)
def test_a_body_of_another_form_is_a_400(
    client: TestClient, store: Interactions, token: str, body: dict[str, Any], param: str
) -> None:
    response = client.post("/v1/feedback", json={"token": token, **body})
    assert response.status_code == 400, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.json()["error"]["param"] == param
    assert list(store.feedback()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"thumb"', b"\xff", b'{"kind": NaN}', b"[" * 5000])
def test_what_is_no_json_object_is_a_400(client: TestClient, content: bytes) -> None:
    for route in ("/v1/feedback", "/v1/consent"):
        response = client.post(route, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400, response.text
        assert response.json()["error"]["type"] == "invalid_request_error"


# Consent.


def test_consent_is_asked_once_and_kept_for_the_browser(
    client: TestClient, store: Interactions, signer: Signer
) -> None:
    assert client.get("/v1/consent").json() == {"train": None}
    client.cookies.set(SUBJECT_COOKIE, "anns")
    assert client.get("/v1/consent").json() == {"train": None}
    for granted in (True, False):
        response = client.post("/v1/consent", json={"purpose": "train", "granted": granted})
        assert (response.status_code, response.json()) == (200, {"train": granted})
        assert client.get("/v1/consent").json() == {"train": granted}
    assert [one.granted for one in store.consents()] == [True, False]
    assert {one.subject for one in store.consents()} == {subject_of_cookie(signer, "anns")}


def test_a_token_says_who_consents_and_is_not_used_up(client: TestClient, store: Interactions, token: str) -> None:
    assert client.get("/v1/consent", params={"token": token}).json() == {"train": None}
    body = {"purpose": "train", "granted": True, "token": token}
    assert client.post("/v1/consent", json=body).json() == {"train": True}
    assert client.get("/v1/consent", params={"token": token}).json() == {"train": True}
    assert store.consent_of("ann", "train") is True
    _said(client, token=token, kind="thumb", good=True)
    assert client.get("/v1/consent", params={"token": token}).json() == {"train": True}


def test_nobody_consents_for_another(client: TestClient, store: Interactions, token: str) -> None:
    client.cookies.set(SUBJECT_COOKIE, "bobs")
    for sent, code in ((token, "foreign_token"), ("forged", "invalid_token"), ("\0", "invalid_token")):
        body = {"purpose": "train", "granted": True, "token": sent}
        for response in (client.post("/v1/consent", json=body), client.get("/v1/consent", params={"token": sent})):
            assert response.status_code == 403, response.text
            assert response.json()["error"]["code"] == code
    assert list(store.consents()) == []


@pytest.mark.parametrize(
    "body",
    [
        {"purpose": "train", "granted": True},
        {"purpose": "sell", "granted": True, "token": "x"},
        {"purpose": "train", "granted": "yes", "token": "x"},
        {"purpose": "train", "token": "x"},
        {"purpose": "train", "granted": True, "token": "x", "subject": "ann"},
    ],
)
def test_consent_of_nobody_or_for_nothing_is_a_400(
    client: TestClient, store: Interactions, body: dict[str, Any]
) -> None:
    response = client.post("/v1/consent", json=body)
    assert response.status_code == 400, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert list(store.consents()) == []


def test_feedback_that_cannot_be_stored_is_our_fault_and_its_token_still_works(
    client: TestClient, store: Interactions, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"token": token, "kind": "thumb", "good": True}
    with monkeypatch.context() as patch:
        full = StoreError("honed.db: the database can't be written: the disk is full", "Free space.")
        patch.setattr(store, "add_feedback", lambda *_: (_ for _ in ()).throw(full))
        response = client.post("/v1/feedback", json=body)
    assert response.status_code == 503
    assert "the disk is full" in response.json()["error"]["message"]
    assert client.post("/v1/feedback", json=body).status_code == 201
