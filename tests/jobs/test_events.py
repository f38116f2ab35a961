from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.jobs import events
from honed.jobs.events import EventLog, Failed, Note, Step
from tests.small_disk import fill

_EVENTS = st.lists(
    st.one_of(
        st.builds(Note, time=st.just(1.0), text=st.text(st.characters(codec="utf-8"), max_size=20)),
        st.builds(Step, time=st.just(1.0), stage=st.just("train"), step=st.integers(0, 9), total=st.just(9)),
    ),
    max_size=6,
)

_SAID = "Zürich ≤ 東京"


def _lines(written: list[events.Event]) -> bytes:
    return b"".join(event.model_dump_json().encode() + b"\n" for event in written)


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    written = [Note(text="a default"), Step(stage="train", step=1, total=2, values={"loss": 1.5})]
    for event in written:
        log.write(event)
    assert [event for event, _ in events.read(tmp_path / "events.jsonl")] == written


def test_what_was_done_before_the_work_began_anew_is_no_part_of_it() -> None:
    steps = [Step(stage="train", step=step, total=3) for step in (1, 2, 3)]
    assert events.since_anew(steps) == steps and events.since_anew([]) == []
    anew = Note(text="anew", anew=True)
    assert events.since_anew([steps[0], anew, steps[1], anew, Note(text="a default"), steps[2]])[1:] == steps[2:]
    assert events.since_anew([*steps, anew]) == []


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


def test_a_torn_line_takes_no_other_event_with_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "note", "tex')
    log = EventLog(path)
    log.note("after the torn line")
    log.note("after that")
    said = [event.text for event, _ in events.read(path) if isinstance(event, Note)]
    assert said == ["after the torn line", "after that"]
    assert path.read_bytes().count(b"\n") == 3


def test_what_is_read_after_a_torn_line_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.note("whole")
    ((_, offset),) = events.read(path)
    with path.open("a") as file:
        file.write('{"type": "note", "tex')
    assert list(events.read(path, offset)) == []
    log.write(Failed(message="the disk is full"))
    ((event, end),) = events.read(path, offset)
    assert isinstance(event, Failed) and list(events.read(path, end)) == []


def test_a_full_disk_takes_no_event_but_the_one_that_it_cut(small_disk: Path) -> None:
    path = small_disk / "events.jsonl"
    log = EventLog(path)
    log.note("before")
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        log.note("x" * 10_000)
    assert not path.read_bytes().endswith(b"\n")  # it was cut
    (small_disk / "ballast").unlink()
    log.write(Failed(message="the disk is full"))
    assert [type(event) for event, _ in events.read(path)] == [Note, Failed]


def test_a_jobs_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from honed import config; from honed.jobs import job; from tests.jobs.counting import *;"
        f"here = job.Job(pathlib.Path(sys.argv[1])); said = {_SAID!a};"
        "here.log.note(said); assert here.events()[0].text == said;"
        "here.set_result({'a': said}); assert here.result() == {'a': said};"
        "file = here.path / 'config.yaml'; config.save(CountConfig(fail=said), file);"
        "assert config.read(CountConfig, file).fail == said"
    )
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=ascii_only, check=True)
    assert _SAID in (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert _SAID in (tmp_path / "config.yaml").read_text(encoding="utf-8")
