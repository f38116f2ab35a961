"""``honed demo`` on a tiny model in place of the embedded one: the same recipe, jobs, table, report and result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from honed.cli import main
from tests.tiny import tiny_folder


def lap(path: Path, model: Path) -> dict[str, Any]:
    small = ["--rows", "14", "--heldout", "14", "--set", f"base={model}", "--set", "max_length=512"]
    assert main.run(["demo", str(path), *small]) == 0
    return dict(json.loads((path / "result.json").read_text()))


def test_a_lap_leaves_a_result_and_a_report_and_a_second_one_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_folder(tmp_path / "tiny", context=2048)
    first = lap(tmp_path / "demo", model)
    said = capsys.readouterr()
    assert first["n"] == 14 and first["tuned_pass_rate"] == 0.0
    assert set(first["floors"]) == {"constant", "echo"}
    assert len(first["tasks"]) > 3 and set(first["seconds"]) >= {"import", "train", "all"}
    assert first["peak_rss_bytes"] > 0
    assert Path(str(first["report"])).read_text().startswith("<!doctype html>")
    assert "training uses 14 of its 1596 training rows" in said.err
    assert "Next:" in said.out and " chat helpdesk@v1 --against" in said.out
    second = lap(tmp_path / "demo", model)
    assert {**second, "seconds": 0, "peak_rss_bytes": 0} == {**first, "seconds": 0, "peak_rss_bytes": 0}
