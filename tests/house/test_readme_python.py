"""The README's Python runs as it stands, but for the model's name and the number of rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.tiny import tiny_folder


def test_the_loop_in_ten_lines_of_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    tiny_folder(tmp_path / "tiny")
    code = found[1].replace('"smollm2-135m"', repr(str(tmp_path / "tiny"))).replace("rows=420", "rows=8")
    code = code.replace("rows=140", "rows=4, max_tokens=4")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "difference=" in capsys.readouterr().out
