from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from honed.jobs import events
from honed.jobs.events import EventLog, Note, Step

_EVENTS = st.lists(
    st.one_of(
        st.builds(Note, time=st.just(1.0), text=st.text(st.characters(codec="utf-8"), max_size=20)),
        st.builds(Step, time=st.just(1.0), stage=st.just("train"), step=st.integers(0, 9), total=st.just(9)),
    ),
    max_size=6,
)


def _lines(written: list[events.Event]) -> bytes:
    return b"".join(event.model_dump_json().encode() + b"\n" for event in written)


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    written = [Note(text="a default"), Step(stage="train", step=1, total=2, values={"loss": 1.5})]
    for event in written:
        log.write(event)
    assert [event for event, _ in events.read(tmp_path / "events.jsonl")] == written


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert list(events.read(tmp_path / "events.jsonl")) == []


@settings(deadline=None)
@given(written=_EVENTS, cut=st.integers(0, 2000))
def test_a_file_cut_anywhere_gives_the_whole_lines_before_the_cut(written: list[events.Event], cut: int) -> None:
    whole = _lines(written)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(whole[:cut])
        assert [event for event, _ in events.read(Path(file.name))] == written[: whole[:cut].count(b"\n")]


@settings(deadline=None)
@given(written=_EVENTS, cut=st.integers(0, 2000))
def test_reading_goes_on_from_the_offset_it_ended_at(written: list[events.Event], cut: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_bytes(_lines(written)[:cut])
        first = list(events.read(path))
        path.write_bytes(_lines(written))
        second = list(events.read(path, first[-1][1] if first else 0))
    assert [event for event, _ in first + second] == written


def test_a_line_torn_by_a_kill_and_completed_by_the_next_attempt_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "note", "tex')
    log = EventLog(path)
    log.note("lost with the torn line")
    log.note("kept")
    assert [event.text for event, _ in events.read(path) if isinstance(event, Note)] == ["kept"]
