"""Programs and libraries that some tests need and a user's machine may lack: skipped there, never in ``.ci/run``."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str, install: str, *, by: str = "apt-get") -> NoReturn:
    """Skip the test, saying what to install; fail it where ``HONED_TESTS_NEED_ALL`` is set."""
    words = f"{what} isn't here: {by} install {install}"
    if os.environ.get("HONED_TESTS_NEED_ALL") == "1":
        pytest.fail(words)
    pytest.skip(words)
