"""The benchmark of data finds what it planted, and says what it cost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import data_speed
from measure import sentences
from measure.personal import LOOK_ALIKES, PERSONAL, look_alikes, luhn_digit, personal
from measure.planted import drawn, evaluation_prompts
from measure.suspicious import SUSPICIOUS


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No public sets are here."""
    monkeypatch.setattr(sentences, "find", lambda *_: None)


@pytest.mark.usefixtures("embedded")
def test_what_was_planted_is_found_and_the_costs_are_told() -> None:
    document = data_speed.measure(400, peer=False)
    assert document["rows_of"].endswith("of the embedded set")
    check = document["check"]
    assert check["found_at_their_line"] == check["planted_faults"] == 19 and check["others"] == 0
    for way, found in check["by_kind"].items():
        assert found["found_at_their_line"] == found["called_right"] == found["planted"] >= 1, way
    assert check["suspicions"].keys() == SUSPICIOUS.keys()
    assert all(found["planted"] >= 1 for found in check["suspicions"].values())
    assert sum(found["recall"] for found in check["suspicions"].values()) >= 2
    assert document["import"]["rows_per_second"] > 0 and document["curate"]["peak_bytes"] > 0
    for one in ("check", "import", "curate"):
        assert document[one]["largest_child_bytes"] >= 0 and document[one]["peak_bytes"] > 10_000_000
    found = document["curate"]
    assert found["near"]["planted_pairs"] > 5 and found["near"]["recall"] >= 0.95 and found["near"]["precision"] == 1
    assert found["exact"]["recall"] == 1
    for grams in ("8-grams", "13-grams"):
        planted = found["decontaminate"][grams]
        assert planted["found"] == planted["right_row"] == planted["planted"]
    assert found["decontaminate"]["other_rows_hit"] == 0
    masked = {kind: one for kind, one in found["personal"].items() if one["planted"]}
    assert masked and sum(one["recall"] for one in masked.values()) >= 0.7 * len(masked)
    assert document["datasketch"] == {"missing": "not asked for"}


def test_personal_data_is_found_in_single_sentences_of_every_kind() -> None:
    found = data_speed._personal()
    assert found.keys() == {*PERSONAL, "decoys"} and PERSONAL.keys() == LOOK_ALIKES.keys()
    plain = {kind: one for kind, one in found.items() if kind not in ("decoys", "de_tax_id", "nl_bsn")}
    assert all(one["recall"] > 0.99 for one in plain.values())
    for kind in ("de_tax_id", "nl_bsn"):  # one sentence in five doesn't say what the number is
        assert found[kind]["recall"] > 0.75
    assert all(one["taken_for_personal"] <= 0.7 * one["look_alikes"] for one in plain.values())
    assert found["decoys"] == {"texts": 16, "found_in": 0}


def test_rows_are_put_together_from_public_sets_where_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"instruction": "Name a river.", "input": "", "output": "The Rhine is one. It flows north."},
        {"instruction": "List two.", "input": "Think of rivers in France.", "output": "1. Seine\n2. Loire"},
    ]
    monkeypatch.setenv("HONED_DATA", str(tmp_path))
    (tmp_path / sentences.FILES[1]).write_text(json.dumps(rows))
    monkeypatch.setattr(sentences, "FILES", sentences.FILES[1:])
    pool = sentences.sentences()
    assert pool.asked == ["Think of rivers in France."]  # the others have too few words
    assert pool.said == ["The Rhine is one."]
    assert (pool.unended, pool.words) == (["2. Loire"], ["The", "Rhine", "is"])
    assert pool.source == "1 sentences of prompts and 1 of answers of dolly_3k.json"


@pytest.mark.usefixtures("embedded")
def test_planted_rows_are_all_different_and_each_kind_comes_in_its_turn() -> None:
    prompts = evaluation_prompts(20)
    planted = drawn(3000, prompts, sentences.sentences())
    assert len(set(planted.rows)) == 3000
    assert planted.rows[:50] == drawn(50, prompts, sentences.sentences()).rows
    for kinds, found in (
        (SUSPICIOUS, planted.suspicious.values()),
        (PERSONAL, (kind for kind, _, _ in planted.personal.values())),
        (LOOK_ALIKES, planted.alike.values()),
    ):
        counts = Counter(found)
        assert counts.keys() == kinds.keys() and max(counts.values()) - min(counts.values()) <= 1
    for place, (_, text, value) in planted.personal.items():
        assert value in text and text in "\n".join(planted.rows[place])
    copied = [first for first, _ in (*planted.near, *planted.exact)]
    assert len(set(copied)) == len(copied)


def test_planted_things_are_drawn_again_alike() -> None:
    assert list(personal("card", 3)) == list(personal("card", 3))
    assert list(look_alikes("card", 3)) == list(look_alikes("card", 3))
    assert luhn_digit("7992739871") == "3"  # the example that Luhn's check is explained by
