"""The suites of a round: datasets, and suites such as those of forgetting and safety."""

from __future__ import annotations

import pytest

from honed.config import build
from honed.errors import ConfigError
from honed.evaluate.suites import chosen
from honed.jobs import job as jobs
from honed.rounds import run
from honed.rounds.config import RoundConfig
from honed.rounds.gate import SuiteConfig
from honed.store.workspace import Workspace
from tests.rounds.desk import here, settings, speak


def test_a_margin_of_an_improve_suite_is_refused_for_nothing_would_read_it() -> None:
    with pytest.raises(ValueError, match="an improve suite has no margin"):
        SuiteConfig(data="chat", role="improve", margin=0.1)


@pytest.mark.parametrize("given", [{}, {"data": "chat", "suite": "safety"}])
def test_a_suite_is_a_dataset_or_a_suite(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="give either 'data' or 'suite'"):
        SuiteConfig.model_validate(given)


def test_a_round_guards_suites_of_no_dataset(quick: Workspace) -> None:
    speak(quick, "first@v1", [f"Bill {n}: which queue?" for n in range(24)])
    guards = [{"suite": "knowledge", "rows": 80}, {"suite": "safety", "margin": 0.4}]
    found = here(quick, suites=[{"data": "bills", "role": "improve"}, *guards])
    assert [(one.name, one.role, one.n) for one in found.suites] == [
        ("bills", "improve", 12),
        ("knowledge", "keep", 80),
        ("safety", "keep", len(chosen.read(["safety"]).rows)),
    ]
    assert {"before/knowledge", "after/safety"} <= found.jobs.keys()
    asked = jobs.find(quick, found.jobs["after/safety"])
    assert "suite:\n- safety\n" in (asked.path / "config.yaml").read_text()
    assert found.verdict == "promoted", found.reasons


def test_what_a_guarded_suite_asks_is_not_trained_on(quick: Workspace) -> None:
    asked = chosen.read(["knowledge"]).rows[0].key
    speak(quick, "first@v1", [asked])
    found = here(quick, suites=[{"data": "bills", "role": "improve"}, {"suite": "knowledge"}])
    assert found.candidate is None and "have prompts that are held out" in found.reasons[0]


def test_wrong_suites_of_a_round_are_told_before_it_begins(quick: Workspace) -> None:
    wrong = (
        ({"suites": [{"suite": "saftey"}]}, "there is no suite 'saftey'"),
        ({"suites": [{"suite": "safety"}, {"suite": "safety"}]}, "'safety' is there twice"),
        ({"evaluate": {"suite": ["safety"]}}, "evaluate: 'suite' is set by the round itself"),
        ({"gate": {"primary": "bills"}}, "the suites of a round have roles"),
    )
    for given, fault in wrong:
        with pytest.raises(ConfigError, match=fault):
            run.resolved(quick, build(RoundConfig, settings(**given), "round"))
