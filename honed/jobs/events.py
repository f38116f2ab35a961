"""Events: what a job says while it runs, one JSON object a line in ``events.jsonl``.

The terminal's progress bar, the web page's live curve and the tests read the same file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float = Field(default_factory=time.time)


class Begun(_Event):
    """A worker begins the job, or goes on with it: what passed since the event before it is no time of the work."""

    type: Literal["begun"] = "begun"
    attempt: int


class Note(_Event):
    """A sentence for the user: a default and its reason, a row left out, a resume.

    ``anew``: it says that the work begins anew, otherwise: steps of the same numbers will have other values.
    """

    type: Literal["note"] = "note"
    text: str
    anew: bool = False


class Step(_Event):
    """``step`` of ``total`` is done; ``values`` hold the loss, tokens/s and the like at this step."""

    type: Literal["step"] = "step"
    stage: str
    step: int
    total: int
    values: Mapping[str, float] = {}


class Metric(_Event):
    """A measured number that isn't taken at every step, such as the held-out loss."""

    type: Literal["metric"] = "metric"
    name: str
    value: float
    step: int = 0


class SampleMade(_Event):
    """A model's answer to a row, as it was made."""

    type: Literal["sample"] = "sample"
    row: str
    answer: str
    passed: bool | None = None


class ArtifactMade(_Event):
    """An artifact or a file of the job is whole: a checkpoint, a model, a report."""

    type: Literal["artifact"] = "artifact"
    name: str
    path: str


class Done(_Event):
    """The job ended well; ``seconds`` are those of all attempts at it."""

    type: Literal["done"] = "done"
    seconds: float


class Failed(_Event):
    """The job ended with an error; its traceback is in ``log.txt``."""

    type: Literal["failed"] = "failed"
    message: str
    hint: str = ""


Event = Annotated[Begun | Note | Step | Metric | SampleMade | ArtifactMade | Done | Failed, Field(discriminator="type")]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


class EventLog:
    """Appends events to a job's ``events.jsonl``, one whole line at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: Event) -> None:
        """Append one event; a reader sees the whole line or none of it.

        What a full disk or a kill left of an earlier line is ended first: it takes no other event with it.
        """
        with self._path.open("ab+") as file:
            torn = False
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            file.write(b"\n" * torn + event.model_dump_json().encode() + b"\n")

    def note(self, text: str) -> None:
        """Append a ``Note``."""
        self.write(Note(text=text))


def since_anew(some: Sequence[Event]) -> Sequence[Event]:
    """Return the events behind the last note that the work begins anew: what was done before is no part of it."""
    notes = (at for at, event in enumerate(some, 1) if isinstance(event, Note) and event.anew)
    return some[max(notes, default=0) :]


def read(path: Path, start: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield each whole event from byte ``start`` on, with the offset behind it; a torn last line is left for later."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            try:
                event = _ADAPTER.validate_json(line)
            except ValidationError:
                continue  # a line torn by a kill or a full disk
            yield event, start
