"""Each form of a secret is found whole, and what only looks like it is left alone."""

from __future__ import annotations

import pytest

from honed.data.curate.secrets import KINDS, found

PEM = "-----BEGIN {0}PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA7" * 3 + "\n-----END {0}PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0"
CASES = {
    "private_key": [
        (f"<<{PEM.format('RSA ')}>>", "-----BEGIN PUBLIC KEY-----\nMIIEpAIBAAKCAQEA7x\n-----END PUBLIC KEY-----"),
        (f"<<{PEM.format('')}>>", "a file begins with -----BEGIN PRIVATE KEY----- and so on"),
    ],
    "aws_key": [
        ("<<AKIAIOSFODNN7EXAMPLE>>", "AKIAIOSFODNN7EXAMPL"),
        ("<<ASIAIOSFODNN7EXAMPLE>>", "XAKIAIOSFODNN7EXAMPLE"),
    ],
    "github_token": [
        (f"<<gho_{'aB3' * 12}>>", f"gho_{'aB3' * 11}"),
        (f"<<github_pat_{'a1_' * 20}>>", "github_pat_token"),
    ],
    "slack_token": [("<<xoxb-123456789012-AbCdEf>>", "xoxb-short"), ("<<xoxp-1234567890-x1>>", "xoxz-1234567890-x1")],
    "google_key": [(f"<<AIza{'Sy0_-' * 7}>>", f"AIza{'Sy0_-' * 6}")],
    "stripe_key": [
        (f"<<sk_live_{'4eC39HqL' * 3}>>", "sk_live_short"),
        (f"<<rk_test_{'4eC39HqL' * 2}>>", f"pk_live_{'4eC39HqL' * 3}"),  # a publishable key is no secret
    ],
    "api_key": [
        (f"<<sk-proj-{'Ab3_' * 6}>>", "sk-proj-name"),
        (f"<<hf_{'AbCdEfGh' * 4}>>", "hf_hub_download"),
        (f"<<glpat-{'x9Y8' * 5}>>", "task-force-of-the-city-council-of-rome"),
    ],
    "jwt": [(f"<<{JWT}.SflKxwRJSMeKKF2QT4fwpM>>", JWT), (f"Bearer <<{JWT}.SflKxwRJSMeKKF2QT4fwpM>>", "eyJhbGciOiJI")],
    "url_password": [
        ("postgres://<<jo:hunter22>>@db.example.org/x", "https://example.org:8080/a@b"),
        ("https://<<jo:s3cret>>@example.org", "https://jo@example.org/path"),
    ],
    "named_secret": [
        ("api_key: <<q8Zr2LxP0vT7mKd4>>", "api_key: YOUR_API_KEY_GOES_HERE"),
        ('"client_secret": "<<q8Zr2LxP0vT7mKd4x>>"', "client_secret = aaaaaaaaaaaaaaaaa1"),
        ("password=<<q8Zr2LxP0vT7mKd4>>", "password=q8Zr2LxP0"),
    ],
}
"""For each kind texts with the secret between << and >>, and texts that nearly hold one."""


def test_every_kind_has_a_case() -> None:
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize(("kind", "marked", "near_miss"), [(kind, *case) for kind in CASES for case in CASES[kind]])
def test_a_secret_is_found_whole_and_what_nearly_is_one_is_left(kind: str, marked: str, near_miss: str) -> None:
    before, _, rest = f"Take ({marked}), please.".partition("<<")
    secret, _, behind = rest.partition(">>")
    (span,) = found(before + secret + behind)
    assert (span.kind, span.start, span.end) == (kind, len(before), len(before) + len(secret))
    assert found(f"Take ({near_miss}), please.") == []
