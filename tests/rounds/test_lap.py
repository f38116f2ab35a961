"""One whole round on the tiny model, with the real stages: edits teach it, the gate lets it through."""

from __future__ import annotations

from honed.rounds.lineage import explain
from honed.store import aliases
from honed.store.workspace import Workspace
from tests.rounds.desk import finish, speak, start


def test_a_tiny_model_learns_what_its_readers_wrote_and_goes_live(desk: Workspace) -> None:
    events = speak(desk, "first@v1", [f"Bill {n}: which queue?" for n in range(24)])
    found = finish(start(desk, dpo={"rows": 8, "epochs": 1, "precision": "fp32", "eval_rows": 0, "weights": "full"}))
    assert found.verdict == "promoted", found.reasons
    assert list(found.jobs) == ["round", "sft", "dpo", "before/bills", "after/bills"]
    (suite,) = found.suites
    assert suite.difference is not None and suite.difference > 0 and (suite.won, suite.lost) == (suite.won, 0)
    assert suite.p_value is not None and suite.p_value < 0.05
    assert aliases.target(desk, "live") == found.candidate == "desk@v1"
    led = {(node.kind, node.ref) for node in explain(desk, events[0].id).uses.nodes[0].nodes[0].nodes}
    assert ("model", "desk-sft@v1") in led and ("model", "desk@v1") in led
