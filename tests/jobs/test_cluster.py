"""Ray, for as long as a job needs it; what is said where there is none."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from honed.errors import ConfigError
from honed.jobs import cluster


@pytest.mark.parametrize("reached", [True, False])
def test_a_job_keeps_its_own_ears_for_sigterm_where_ray_takes_them(
    monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    ended: list[bool] = []

    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray puts its own there
        if not reached:
            raise ConnectionError("nobody there")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: ended.append(True)))
    monkeypatch.setattr(cluster, "check_installed", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with cluster.ray("ray://elsewhere:10001"):
            assert reached
            assert signal.getsignal(signal.SIGTERM) == before
    except ConfigError as error:
        assert not reached
        assert "on ray://elsewhere:10001: no Ray cluster answers there" in str(error)
    assert signal.getsignal(signal.SIGTERM) == before
    assert ended == [True] * reached
