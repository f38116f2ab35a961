"""What a plan says of a stream, of which it has read a sample, is what the stream then yields."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from honed.jobs import job as jobs
from honed.records import Conversation, Message, Split
from honed.store import datasets
from honed.store.workspace import Workspace
from honed.train import expected, planner, source
from honed.train.setup import Setup, set_up
from honed.train.steps import count
from honed.train.stream import Streamed
from tests.train.jobs import settings

STREAM = {"data": "streamed", "stream": True, "stream_rows": 256, "batch_tokens": 4000, "pack_tokens": 1100}


@pytest.fixture(scope="module")
def large(home: Workspace) -> Workspace:
    """1,280 short rows, of which 40 have no supervised token."""

    def made() -> Iterator[tuple[Conversation, Split]]:
        for number in range(1280):
            weight = 0.0 if number % 32 == 5 else 1.0
            answer = Message(role="assistant", content="odd" * (1 + number % 3), weight=weight)
            yield Conversation(messages=(Message(role="user", content=f"{number}?"), answer)), "train"

    datasets.write(home, "streamed", made(), config={}, facts={})
    return home


def _planned(home: Workspace, monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[dict[str, Any], Setup]:
    """The plan, and what it was made of."""
    there: list[Setup] = []

    def kept(*given: Any, **more: Any) -> Setup:
        there.append(set_up(*given, **more))
        return there[0]

    monkeypatch.setattr(planner, "set_up", kept)
    monkeypatch.setattr(source, "_SAMPLE", 320)
    planned = planner.work(jobs.create(home, "plan", settings(home, **{**STREAM, **how})), lambda: False)
    return planned, there[0]


@pytest.mark.parametrize("epochs", [1, 0.1, 0.3, 2.5])
def test_the_steps_and_tokens_of_a_streams_plan_are_those_that_the_stream_yields(
    large: Workspace, monkeypatch: pytest.MonkeyPatch, epochs: float
) -> None:
    planned, ready = _planned(large, monkeypatch, epochs=epochs)
    steps = list(ready.steps.after(0, {}))
    seen = [count([step.rows], step.examples) for step in steps]
    computed = sum(
        ready.objective.collate([step.examples[index] for index in one]).tokens
        for step in steps
        for one in step.rows.packs
    )
    assert planned["estimated"] and planned["steps"] == pytest.approx(len(steps), abs=1)
    assert planned["dataset_tokens"] == pytest.approx(sum(tokens for tokens, _ in seen), rel=0.02)
    assert planned["supervised_tokens"] == pytest.approx(sum(learned for _, learned in seen), rel=0.05)
    assert planned["passes"] == pytest.approx(sum(len(step.rows.packs) for step in steps), rel=0.1, abs=1)
    assert planned["computed_tokens"] == pytest.approx(computed, rel=0.05)
    assert (planned["rows"], planned["left_out"]) == (1240, 40)


@pytest.mark.parametrize(("rows", "epochs", "shards"), [(256, 1, 2), (10**6, 1, 5), (10**6, 2, 10)])
def test_a_stream_holds_two_windows_and_those_that_memory_has_no_room_for_do_not_fit(
    large: Workspace, monkeypatch: pytest.MonkeyPatch, rows: int, epochs: int, shards: int
) -> None:
    monkeypatch.setattr(expected, "BYTES_PER_TOKEN", 10**6)  # so that nothing else counts
    monkeypatch.setattr(planner, "_free", lambda _device, _config: 8 * 10**9 * (shards - 1))
    planned, ready = _planned(large, monkeypatch, stream_rows=rows, epochs=epochs)
    assert isinstance(ready.steps, Streamed)
    tokens = sum(sum(ready.steps.read([shard]).lengths) for shard in ready.steps.shards)
    assert planned["memory"]["windows"] == pytest.approx(10**6 * tokens * shards / 5, rel=0.02)
    assert planned["fits"] is False and planned["time"] is None
    fewer = {5: 320, 10: 640}  # half of two windows that are held; of one that is, a quarter, of which two are
    way = f"read fewer rows at a time: --set stream_rows={fewer.get(shards)} (saves about"
    assert (way in planned["advice"][0]) == (rows > 256)


def test_beside_a_gpu_the_windows_lie_in_the_hosts_memory() -> None:
    run: Any = SimpleNamespace(config=SimpleNamespace(cpu_offload=False), settings=SimpleNamespace(device="cuda"))
    held: Any = SimpleNamespace(windows=3 * 10**9)
    beside = planner._beside(run, held, held)
    assert beside.total == beside.windows == 3 * 10**9 and planner._of_host(beside, 3 * 10**9) == []
    (said,) = planner._of_host(beside, 2 * 10**9)
    assert "does not fit: each rank holds 3.0 GB in the host's memory, of which 2.0 GB are free" in said
    run.settings.device = "cpu"
    assert planner._beside(run, held, held).total == 0
