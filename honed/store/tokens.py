"""The workspace's key: pseudonyms of people, and signed feedback tokens that can be used once."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from itsdangerous import BadData, URLSafeSerializer

from honed.errors import RequestError, StoreError
from honed.store.workspace import Workspace, writing

SECRET = "secret"
SUBJECT_COOKIE = "honed_subject"
"""Name of the cookie that tells one browser from another; its value is random, and only its hash is ever stored."""


class Claim(NamedTuple):
    """What a token proves: whom an answer was given to. Its ``nonce`` is what can be used once."""

    interaction: str
    subject: str
    nonce: str


@dataclass(frozen=True, repr=False)
class Signer:
    """Signs and reads tokens, and makes pseudonyms, with a key of 32 bytes that only this workspace has."""

    key: bytes

    def subject(self, raw: str) -> str:
        """Return the pseudonym of ``raw`` (32 hex digits): the same for the same, and not to be turned back."""
        return hmac.new(self.key, b"subject\0" + raw.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:32]

    def issue(self, interaction: str, subject: str) -> str:
        """Return a new token with which ``subject`` can say one thing of ``interaction``."""
        token = self._serializer().dumps([interaction, subject, secrets.token_urlsafe(16)])
        return token.decode() if isinstance(token, bytes) else token

    def sign(self, purpose: str, text: str) -> str:
        """Return the HMAC-SHA256 of ``text`` (64 hex digits); one made for another ``purpose`` is another."""
        return hmac.new(self.key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()

    def read(self, token: str, param: str = "token") -> Claim:
        """Return what ``token`` proves; ``param`` is what the request calls it.

        Raises ``RequestError`` (403, ``invalid_token``) unless we signed it.
        """
        try:
            interaction, subject, nonce = self._serializer().loads(token.encode())
        except (BadData, ValueError) as error:
            raise RequestError(
                "this feedback token isn't one of this server's",
                "Send the token that came with the answer, unchanged.",
                status=403,
                code="invalid_token",
                param=param,
            ) from error
        return Claim(interaction, subject, nonce)

    def _serializer(self) -> URLSafeSerializer:
        keyed = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self.key, salt="honed.feedback", signer_kwargs=keyed)


def subject_of_cookie(signer: Signer, value: str) -> str:
    """Return the pseudonym of the browser whose ``honed_subject`` cookie has this value."""
    return signer.subject(f"cookie:{value}")


def open_signer(workspace: Workspace) -> Signer:
    """Return the signer of the workspace's key, made at the first call, whichever of many processes makes it.

    Raises ``StoreError`` if the key is damaged or can't be read or written.
    """
    path = workspace.path / SECRET
    with writing(path):
        if not path.exists():
            _make(path)
        text = path.read_text(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise StoreError(
            f"{path}: damaged: a key of 64 hex digits is needed",
            "Restore it from a copy; without it, tokens given out are void and people get new pseudonyms.",
        )
    return Signer(bytes.fromhex(text))


def _make(path: Path) -> None:
    """Write a new key beside ``path`` and link it there: whole or not at all, and never over another's."""
    handle, name = tempfile.mkstemp(prefix=".secret-", dir=path.parent)  # mode 0600
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(scratch)
    except FileExistsError:
        pass  # another process was first; its key is the one
    finally:
        scratch.unlink()
