"""The suites of a round."""

from __future__ import annotations

import pytest

from honed.rounds.gate import SuiteConfig


def test_a_margin_of_an_improve_suite_is_refused_for_nothing_would_read_it() -> None:
    with pytest.raises(ValueError, match="an improve suite has no margin"):
        SuiteConfig(data="chat", role="improve", margin=0.1)
