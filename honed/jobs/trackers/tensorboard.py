"""TensorBoard: event files in the job's own folder, written without TensorFlow and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.jobs.job import GOING, State
from honed.jobs.trackers.tracker import Backend, Run

FOLDER = "tensorboard"


class TensorBoard:
    """A folder of event files. Texts are tensors that the text plug-in shows, settings a session of hparams."""

    def __init__(self, run: Run, writer: Any, protos: Any) -> None:
        folder = run.folder / FOLDER
        self.where = f"{folder} (tensorboard --logdir {folder})"
        self._writer, self._protos = writer, protos

    def scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Add a value for each number."""
        value = self._protos.Summary.Value
        self._add(self._protos.Summary(value=[value(tag=tag, simple_value=values[tag]) for tag in values]), step, when)

    def text(self, name: str, text: str, step: int, when: float) -> None:
        """Add a text, as it is: the four spaces keep it from being read as Markdown."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text import metadata

        shown = "\n".join(f"    {line}" for line in text.splitlines())
        tensor = TensorProto(dtype=DT_STRING, string_val=[shown.encode()], tensor_shape=TensorShapeProto())
        meta = metadata.create_summary_metadata(display_name=None, description=None)
        value = self._protos.Summary.Value(tag=name, tensor=tensor, metadata=meta)
        self._add(self._protos.Summary(value=[value]), step, when)

    def flush(self) -> None:
        """Write what is held back."""
        self._writer.flush()

    def close(self, state: State) -> None:
        """Write what is held back, and in which state a session of hparams ended."""
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        if state not in GOING:
            good = api_pb2.STATUS_SUCCESS if state == "done" else api_pb2.STATUS_FAILURE
            data = plugin_data_pb2.HParamsPluginData(session_end_info=plugin_data_pb2.SessionEndInfo(status=good))
            meta = metadata.create_summary_metadata(data)
            value = self._protos.Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=meta)
            self._add(self._protos.Summary(value=[value]), 0, None)
        self._writer.close()

    def _add(self, summary: Any, step: int, when: float | None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(step=step, summary=summary, wall_time=when))


def begin(run: Run) -> TensorBoard:
    """Open a new event file; the files of earlier readings stay beside it."""
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(run.folder / FOLDER), flush_secs=5)
    if not run.again:
        started = summary_v2.hparams_pb(dict(run.settings), trial_id=run.name, start_time_secs=run.started)
        writer.add_event(event_pb2.Event(step=0, summary=started, wall_time=run.started))
    return TensorBoard(run, writer, summary_pb2)


def home(run: Run) -> str:
    """Name the folder if it holds event files; its place is the job's, wherever that is moved to."""
    return FOLDER if any((run.folder / FOLDER).glob("*tfevents*")) else ""


backend = Backend("tensorboard", begin, home)
