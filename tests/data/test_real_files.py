"""The real files that users start from, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.files import faults, taken

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data isn't here")


@pytest.mark.parametrize(
    ("name", "rows", "usable", "kinds"),
    [
        ("alpaca_en_demo.json", 999, 999, {}),
        ("alpaca_random_9k.json", 9229, 9225, {"empty answer": 4}),
        ("dolly_3k.json", 2996, 2996, {}),
        ("identity.json", 91, 91, {}),
        ("glaive_toolcall_en_demo.json", 300, 300, {}),
        ("kto_en_demo.json", 300, 300, {}),
        ("dpo_en_demo.json", 300, 300, {}),
        ("self_instruct_seed_tasks.jsonl", 175, 175, {}),
    ],
)
def test_a_real_file_is_read_to_its_end(name: str, rows: int, usable: int, kinds: dict[str, int]) -> None:
    intake, _, _ = taken(SHARED / name)
    assert (intake.counts.rows, intake.counts.usable, dict(intake.counts.kinds)) == (rows, usable, kinds)


def test_the_faults_of_a_real_file_stand_where_they_are_said_to() -> None:
    text = (SHARED / "alpaca_random_9k.json").read_text().split("\n")
    for line, field, _ in faults(SHARED / "alpaca_random_9k.json"):
        assert text[line - 1].strip().startswith(f'"{field}": ')


def test_categories_of_a_real_file_become_tasks() -> None:
    _, rows, _ = taken(SHARED / "dolly_3k.json")
    assert {row.row.tags["task"] for row in rows} >= {"open_qa", "general_qa", "brainstorming"}
