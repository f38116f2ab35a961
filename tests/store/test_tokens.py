"""The workspace's key: pseudonyms and one-time tokens."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from itsdangerous import URLSafeSerializer

from honed.errors import RequestError, StoreError
from honed.store import workspace as workspaces
from honed.store.tokens import Claim, Signer, open_signer, subject_of_cookie
from honed.store.workspace import Workspace

_SIGNER = Signer(bytes(range(32)))
_OTHER = Signer(bytes(range(1, 33)))


def _refused(token: str) -> bool:
    with pytest.raises(RequestError) as raised:
        _SIGNER.read(token)
    return (raised.value.status, raised.value.code, raised.value.param) == (403, "invalid_token", "token")


@settings(deadline=None)
@given(some.text(), some.text())
def test_a_token_proves_what_was_signed(interaction: str, subject: str) -> None:
    first, second = (_SIGNER.read(_SIGNER.issue(interaction, subject)) for _ in range(2))
    assert first[:2] == second[:2] == (interaction, subject)
    assert first.nonce != second.nonce


@settings(deadline=None)
@given(some.data())
def test_a_changed_token_proves_nothing_else(data: some.DataObject) -> None:
    token = _SIGNER.issue("answer-1", "ann")
    at = data.draw(some.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(some.characters()) + token[at + 1 :]
    try:
        assert _SIGNER.read(changed) == _SIGNER.read(token)  # base64 has spare bits: the same token, written otherwise
    except RequestError as error:
        assert (error.status, error.code) == (403, "invalid_token")


@settings(deadline=None)
@given(some.text())
def test_no_text_is_a_token(text: str) -> None:
    assert _refused(text)


def test_tokens_of_other_keys_purposes_and_makers_are_refused() -> None:
    payload = ["answer-1", "ann", "nonce"]
    unsigned = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    for token in (
        _OTHER.issue("answer-1", "ann"),
        URLSafeSerializer(_SIGNER.key, salt="another").dumps(payload),
        URLSafeSerializer(_SIGNER.key, salt="honed.feedback").dumps(payload),  # another hash
        unsigned,
        f"{unsigned}.",
        "",
    ):
        assert _refused(str(token))


def test_the_error_says_which_token_it_is() -> None:
    with pytest.raises(RequestError) as raised:
        _SIGNER.read("x", "rejected_token")
    assert raised.value.param == "rejected_token"


@settings(deadline=None)
@given(some.text(some.characters()), some.text(some.characters()))
def test_a_pseudonym_is_one_persons_and_one_keys(one: str, other: str) -> None:
    assert _SIGNER.subject(one) == _SIGNER.subject(one)
    assert (_SIGNER.subject(one) == _SIGNER.subject(other)) == (one == other)
    assert _SIGNER.subject(one) != _OTHER.subject(one)
    assert len(_SIGNER.subject(one)) == 32
    assert set(_SIGNER.subject(one)) <= set("0123456789abcdef")


def test_a_cookie_is_not_a_user_of_that_name() -> None:
    assert subject_of_cookie(_SIGNER, "ann") not in (_SIGNER.subject("ann"), _SIGNER.subject("user:ann"))


def test_the_key_is_made_once_and_is_nobody_elses_to_read(workspace: Workspace) -> None:
    first = open_signer(workspace)
    assert (workspace.path / "secret").stat().st_mode & 0o777 == 0o600
    assert open_signer(workspace) == first
    assert open_signer(workspace).read(first.issue("answer-1", "ann"))[:2] == Claim("answer-1", "ann", "")[:2]
    assert list(workspace.path.glob(".secret*")) == []
    assert first.key.hex() not in repr(first)


def test_two_workspaces_have_two_keys(workspace: Workspace, tmp_path: Path) -> None:
    assert open_signer(workspace) != open_signer(workspaces.init(tmp_path / "other"))


def test_threads_that_make_the_key_at_once_get_one(workspace: Workspace) -> None:
    barrier = threading.Barrier(8)
    keys: list[bytes] = []

    def run() -> None:
        barrier.wait()
        keys.append(open_signer(workspace).key)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"z" * 64])
def test_a_damaged_key_is_told_and_not_replaced(workspace: Workspace, content: bytes) -> None:
    (workspace.path / "secret").write_bytes(content)
    with pytest.raises(StoreError, match="secret: damaged") as raised:
        open_signer(workspace)
    assert "Restore it" in raised.value.hint
    assert (workspace.path / "secret").read_bytes() == content


def test_a_key_that_cannot_be_read_is_told(workspace: Workspace) -> None:
    (workspace.path / "secret").mkdir()
    with pytest.raises(StoreError, match="is a directory"):
        open_signer(workspace)
