"""The embedded rows, read once for all tests of this folder."""

from __future__ import annotations

import pytest

from honed.builtin.load import load
from honed.records import Conversation


@pytest.fixture(scope="session")
def train() -> list[Conversation]:
    return load("train")


@pytest.fixture(scope="session")
def heldout() -> list[Conversation]:
    return load("heldout")
