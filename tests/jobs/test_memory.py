"""How much memory a process has held is told of itself, not of what started it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from honed.jobs import memory

MB = 10**6


def test_a_process_that_a_large_one_started_has_not_held_what_that_one_does() -> None:
    large = bytearray(b"x" * (300 * MB))
    code = "from honed.jobs import memory; print(memory.peak())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert memory.peak() > len(large) > 150 * MB > int(told) > 5 * MB


def test_where_the_system_has_no_such_file_it_is_the_systems_number_in_its_own_unit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=5000))
    monkeypatch.setattr(memory, "_UNIT", 1024)
    assert memory.peak() == memory.peak_of_children() == 5_120_000
    monkeypatch.setattr(memory, "_UNIT", 1)  # macOS
    assert memory.peak() == 5000
