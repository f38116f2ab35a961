"""A round's settings: malformed files are told in two lines, and each setting is read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from honed import config
from honed.errors import ConfigError
from honed.evaluate.gate import GateConfig
from honed.feedback.derive import DeriveConfig
from honed.rounds.config import RoundConfig
from honed.rounds.gate import SuiteConfig
from tests.house.tree import parsed, python_files

GOOD = "name: desk\ndata: helpdesk\nsuites:\n- {data: helpdesk, rows: 140, role: improve}\n"


def load(tmp_path: Path, text: str, *sets: str) -> RoundConfig:
    path = tmp_path / "round.yaml"
    path.write_text(text)
    return config.load(RoundConfig, "round", path, sets, {})


def test_the_least_that_must_be_said(tmp_path: Path) -> None:
    made = load(tmp_path, GOOD)
    assert (made.base, made.alias, made.replay, made.gate) == ("live", "live", None, GateConfig())
    assert made.suites == (SuiteConfig(data="helpdesk", rows=140, role="improve"),)


def test_a_key_inside_a_setting_can_be_set(tmp_path: Path) -> None:
    made = load(tmp_path, GOOD + "gate: {margin: 0.03}\n", "gate.alpha=1e-3", "round.sft.epochs=2", "dpo.enabled=false")
    assert (made.gate.alpha, made.gate.margin) == (0.001, 0.03)
    assert (made.sft, made.dpo) == ({"epochs": 2}, {"enabled": False})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (GOOD + "replai: 3\n", "unknown key 'replai'", "Did you mean 'replay'?"),
        (GOOD + "gate: {alhpa: 0.1}\n", "unknown key 'gate.alhpa'", "Did you mean 'alpha'?"),
        (GOOD + "derive: {per_persn: 1}\n", "unknown key 'derive.per_persn'", "Did you mean 'per_person'?"),
        (GOOD.replace("role", "rol"), "unknown key 'suites.0.rol'", "Did you mean 'role'?"),
        (
            GOOD.replace("improve", "rise"),
            "suites.0.role: Input should be 'improve' or 'keep', not 'rise'",
            "role: improve",
        ),
        (
            GOOD.replace("140", "0"),
            "suites.0.rows: Input should be greater than or equal to 1, not 0",
            "rows: how many",
        ),
        (
            GOOD.replace("rows", "margin: 0.1, rows"),
            "suites.0: an improve suite has no margin",
            "suites: held-out rows",
        ),
        (GOOD + "gate: {alpha: 2}\n", "gate.alpha: Input should be less than 1, not 2", "alpha: an improve suite"),
        (GOOD + "gate: 3\n", "gate: Input should be", "gate: when the candidate"),
        ("name: desk\ndata: helpdesk\n", "suites: this setting is required", "suites: held-out rows"),
        ("name: desk\ndata: helpdesk\nsuites: []\n", "suites: Tuple should have at least 1 item", "suites: held-out"),
        (GOOD.replace("desk", "My Desk", 1), "name: String should match pattern", "name: name of the rounds"),
        ("name: [\n", "round.yaml:2: not YAML", "Mend that line."),
        ("- a\n", "the settings are not 'key: value' lines", "Write one 'key: value' a line."),
    ],
)
def test_a_malformed_file_is_told_in_two_lines(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert raised.value.message.startswith(str(tmp_path / "round.yaml"))
    assert message in raised.value.message and raised.value.hint.startswith(hint)
    assert "\n" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize("model", [GateConfig, SuiteConfig, DeriveConfig])
def test_every_inner_setting_is_described_and_read(model: type[config.Config]) -> None:
    read = {
        node.attr
        for path in python_files("honed/rounds", "honed/feedback", "honed/evaluate")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert set(model.model_fields) - read == set()
    assert all(field.description for field in model.model_fields.values())
