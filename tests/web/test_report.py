"""A report's page in a browser: rows found by filter, search, keyboard and link; hostile text stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from honed.builtin.load import load
from honed.evaluate import compare, report
from tests.evaluate.planted import evaluation

EVIL = "</script><img src=x onerror=\"document.title='owned'\"> \u202eآخر"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = load("heldout")[:140]
    base, tuned = evaluation(rows, 0.3, name="base", seed=1), evaluation(rows, 0.7, name="tuned", seed=2)
    spoiled = sorted(tuned.answers)[7]
    update = {"answer": f"zebra {EVIL}", "reasoning": "Stripes, then."}
    answers = {**tuned.answers, spoiled: tuned.answers[spoiled].model_copy(update=update)}
    tuned = compare.Evaluation(tuned.job, tuned.outcome, answers, tuned.losses)
    found = compare.compare(base, tuned)
    folder = tmp_path_factory.mktemp("report")
    return report.write(folder, found, (base, tuned), stages=report.stages_of(found), next_commands=[])


def test_rows_are_filtered_searched_walked_through_and_linked_to(page: Page, written: Path) -> None:
    page.goto(written.as_uri())
    expect(page.locator("#found")).to_have_text("140 rows")
    page.select_option("#by-task", "route")
    routed = sum(row.tags["task"] == "route" for row in load("heldout")[:140])
    expect(page.locator("#found")).to_have_text(f"{routed} rows")
    page.select_option("#by-fate", "won")
    won = int(page.locator("#found").inner_text().split()[0])
    assert 0 < won < routed
    expect(page.locator("#rows .fate")).to_have_text("won: only the tuned model passes")
    page.locator("#list").click(position={"x": 2, "y": 2})
    first = page.locator("#rows .anchor").inner_text()
    page.keyboard.press("j")
    expect(page.locator("#rows .anchor")).not_to_have_text(first)
    page.keyboard.press("k")
    expect(page.locator("#rows .anchor")).to_have_text(first)
    page.keyboard.press("Escape")
    expect(page.locator("#found")).to_have_text("140 rows")
    page.keyboard.press("/")
    page.keyboard.type("ZEBRA")
    expect(page.locator("#found")).to_have_text("1 row")
    expect(page.locator("#rows mark")).to_have_text("zebra")
    expect(page.locator("#rows .said.tuned > .text")).to_contain_text(EVIL[:30])
    expect(page.get_by_text("Stripes, then.")).to_be_hidden()
    page.locator("#rows summary").get_by_text("reasoning").click()
    expect(page.get_by_text("Stripes, then.")).to_be_visible()
    expect(page.locator("#rows img")).to_have_count(0)
    assert page.title() == "tuned against base"
    row = page.locator("#rows .anchor").inner_text().removeprefix("#")
    assert f"row={row}" in page.url
    page.goto("about:blank")
    page.goto(f"{written.as_uri()}#row={row}")
    expect(page.locator("#rows .anchor")).to_have_text(f"#{row}")
    page.locator("#errors .group-link").first.click()
    expect(page.locator("#by-fate")).to_have_value("failed")
    assert int(page.locator("#found").inner_text().split()[0]) > 0
