"""The benchmark of data finds what it planted, and says what it cost."""

from __future__ import annotations

import data_speed
from measure.planted import PERSONAL, luhn_digit, personal


def test_what_was_planted_is_found_and_the_costs_are_told() -> None:
    document = data_speed.measure(400, peer=False)
    check = document["check"]
    assert check["found_at_their_line"] == check["planted_faults"] == 19 and check["others"] == 0
    for way, found in check["by_kind"].items():
        assert found["found_at_their_line"] == found["called_right"] == found["planted"] >= 1, way
    assert document["import"]["rows_per_second"] > 0 and document["curate"]["peak_bytes"] > 0
    found = document["curate"]
    assert found["near"]["planted_pairs"] > 5 and found["near"]["recall"] >= 0.95 and found["near"]["precision"] == 1
    assert found["exact"]["recall"] == 1
    for grams in ("8-grams", "13-grams"):
        planted = found["decontaminate"][grams]
        assert planted["found"] == planted["right_row"] == planted["planted"]
    assert all(document["personal"][kind]["recall"] > 0.99 for kind in PERSONAL)
    assert document["datasketch"] == {"missing": "not asked for"}


def test_planted_things_are_drawn_again_alike() -> None:
    assert list(personal("card", 3)) == list(personal("card", 3))
    assert luhn_digit("7992739871") == "3"  # the example that Luhn's check is explained by
