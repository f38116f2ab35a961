"""Each tracker's own package gets the values: read back with what that package reads with, where it is installed."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.jobs.trackers import reader, trackio, wandb
from honed.jobs.trackers import tracker as trackers
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig
from tests.jobs.trackers.conftest import end

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages warn about themselves

LOSSES = [1.0, 1 / 2, 1 / 3]


def need(package: str) -> None:
    """Skip where an optional package isn't installed."""
    if find_spec(package) is None:
        pytest.skip(f"the optional package {package} isn't installed: pip install 'honed[{package}]'")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account, no server, no home but the test's own."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_EXPERIMENT_NAME", "TRACKIO_DIR", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def twice(job: Job, name: str) -> reader.Tracked:
    """Send what there is, let the job end, send the rest: as a follower that was cut off."""
    assert reader.track(job, name).events == 7
    end(job)
    return reader.track(job, name)


def test_tensorboard_reads_the_values_back(job: Job) -> None:
    need("tensorboard")
    assert str(job.path / "tensorboard") in twice(job, "tensorboard").where
    loading = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    values: dict[str, list[tuple[int, float]]] = {}
    texts: dict[str, str] = {}
    plugins: list[str] = []
    for path in sorted((job.path / "tensorboard").iterdir()):
        for event in loading.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                plugins.append(plugin)
                if plugin == "text":
                    texts[value.tag] = value.tensor.string_val[0].decode()
                elif not plugin:
                    values.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [step for step, _ in values["sft/train/loss"]] == [1, 2, 3]
    assert [value for _, value in values["sft/train/loss"]] == pytest.approx(LOSSES)
    assert values["heldout_loss"] == [(3, 0.5)] and values["result/loss"] == [(0, 0.25)]
    assert texts["notes"].strip() == "counting <b>from</b> 0"
    assert plugins.count("hparams") == 2  # the session's start with the settings, and its end


def test_tensorboard_reads_the_settings_back(job: Job) -> None:
    need("tensorboard")
    reader.track(job, "tensorboard")
    loading = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    hparams: Any = importlib.import_module("tensorboard.plugins.hparams.metadata")
    (path,) = (job.path / "tensorboard").iterdir()
    starts = [
        hparams.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
        for event in loading.LegacyEventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == hparams.SESSION_START_INFO_TAG
    ]
    assert starts[0].hparams["steps"].number_value == 3
    assert starts[0].hparams["fail"].string_value == "user"


def test_a_tensorboard_folder_that_was_deleted_gets_everything(job: Job) -> None:
    need("tensorboard")
    twice(job, "tensorboard")
    assert reader.track(job, "tensorboard").events == 0
    shutil.rmtree(job.path / "tensorboard")
    sent = reader.track(job, "tensorboard")
    assert (sent.events, sent.anew) == (8, True)
    loading = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    (path,) = (job.path / "tensorboard").iterdir()
    tags = {v.tag for event in loading.LegacyEventFileLoader(str(path)).Load() for v in event.summary.value}
    assert {"sft/train/loss", "result/loss", "notes", "_hparams_/session_start_info"} <= tags


def test_a_workspace_that_was_moved_takes_its_trackers_along(job: Job, tmp_path: Path) -> None:
    need("tensorboard")
    twice(job, "tensorboard")
    moved = shutil.move(job.workspace.path, tmp_path / "elsewhere")
    assert reader.track(Job(moved / "jobs" / job.id), "tensorboard").events == 0


def test_a_reader_beside_a_job_sends_it_while_it_runs_and_to_its_end(workspace: Workspace) -> None:
    need("tensorboard")
    job = jobs.create(workspace, "counting", CountConfig(steps=20, seconds=0.02))
    launch.start(job)
    launch.track(job, "tensorboard")
    launch.wait(job)
    deadline = time.monotonic() + 60
    while not reader.read(job, "tensorboard").ended:
        assert time.monotonic() < deadline, (job.path / "trackers" / "tensorboard.txt").read_text()
        time.sleep(0.05)
    assert reader.read(job, "tensorboard").steps == {"count": 20}
    assert reader.track(job, "tensorboard", wait=True).events == 0


def test_mlflow_reads_the_values_back(job: Job) -> None:
    need("mlflow")
    uri = f"sqlite:///{job.workspace.path / 'mlflow.db'}"
    assert uri in twice(job, "mlflow").where
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("honed").experiment_id])
    history = client.get_metric_history(run.info.run_id, "sft/train/loss")
    assert [point.step for point in history] == [1, 2, 3]
    assert [point.value for point in history] == pytest.approx(LOSSES)
    assert run.data.metrics["heldout_loss"] == 0.5 and run.data.metrics["result/loss"] == 0.25
    assert run.data.params["steps"] == "3"
    assert run.data.tags["notes.0001"] == "counting <b>from</b> 0"
    assert (run.info.status, run.info.run_name) == ("FINISHED", job.id)


def test_each_mlflow_server_gets_everything_once(job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need("mlflow")
    twice(job, "mlflow")
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert reader.track(job, "mlflow").events == 8
    assert reader.track(job, "mlflow").events == 0
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    assert reader.track(job, "mlflow").events == 8
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
    for name in ("honed", "theirs"):
        (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert [point.step for point in client.get_metric_history(run.info.run_id, "sft/train/loss")] == [1, 2, 3]
        assert run.data.metrics["result/loss"] == 0.25 and run.data.params["steps"] == "3"
        assert run.info.status == "FINISHED"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert reader.track(job, "mlflow").events == 0, "it went on from where it was with the first"


def test_an_mlflow_run_that_was_deleted_is_made_anew(job: Job) -> None:
    need("mlflow")
    twice(job, "mlflow")
    uri = f"sqlite:///{job.workspace.path / 'mlflow.db'}"
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("honed").experiment_id
    client.delete_run(client.search_runs([experiment])[0].info.run_id)
    assert reader.track(job, "mlflow").events == 8
    (run,) = client.search_runs([experiment])
    assert run.data.metrics["result/loss"] == 0.25 and run.data.tags["notes.0001"]


def test_an_mlflow_run_is_found_again_though_how_far_it_came_was_lost(job: Job) -> None:
    need("mlflow")
    twice(job, "mlflow")
    reader.place(job, "mlflow").unlink()
    assert reader.track(job, "mlflow").events == 8
    uri = f"sqlite:///{job.workspace.path / 'mlflow.db'}"
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("honed").experiment_id])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "sft/train/loss")] == [1, 2, 3]


def test_an_mlflow_database_of_another_name_is_the_same_one(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    need("mlflow")
    twice(job, "mlflow")
    (job.workspace.path / "mlflow.db").rename(job.workspace.path / "moved.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{job.workspace.path / 'moved.db'}")
    assert reader.track(job, "mlflow").events == 0


def test_trackio_reads_the_values_back(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    need("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(job.workspace.path / "trackio"))
    assert "trackio show" in twice(job, "trackio").where
    storage = importlib.import_module("trackio").SQLiteStorage
    logs = storage.get_logs("honed", job.id)
    losses = {line["step"]: line["sft/train/loss"] for line in logs if "sft/train/loss" in line}
    assert losses == pytest.approx(dict(zip((1, 2, 3), LOSSES, strict=True)))
    assert next(line["result/loss"] for line in logs if "result/loss" in line) == 0.25
    assert storage.get_run_config("honed", job.id)["steps"] == 3
    assert reader.track(job, "trackio").events == 0


def test_trackio_tells_its_destinations_apart(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create(workspace, "counting", CountConfig(steps=1))
    run = trackers.describe(job, again=True, texts=list)
    assert trackio.home(run) == "", "there is no folder yet"
    (workspace.path / "trackio").mkdir()
    here = trackio.home(run)
    moved = Path(shutil.move(workspace.path, tmp_path / "elsewhere")).resolve()
    assert trackio.home(replace(run, workspace=moved)) == here
    (folder := tmp_path / "folder").mkdir()
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    there = trackio.home(run)
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://host:7860/?write_token=one")
    server = trackio.home(run)
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://host:7860/?write_token=two")
    assert trackio.home(run) == server
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    assert len({here, there, server, trackio.home(run), ""}) == 5


def test_wandb_keeps_the_values_offline(job: Job) -> None:
    need("wandb")
    assert "wandb sync" in twice(job, "wandb").where
    assert reader.track(job, "wandb").events == 0
    importlib.import_module("wandb").teardown()  # its own process writes the last lines when it ends
    protos = importlib.import_module("wandb.proto.wandb_internal_pb2")
    losses: list[float] = []
    found: dict[str, str] = {}
    settings: dict[str, str] = {}
    for path in sorted(job.path.glob("wandb/offline-run-*/*.wandb")):
        for content in _records(path.read_bytes()):
            record = protos.Record.FromString(content)
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            losses += [float(items[key]) for key in items if key == "sft/train/loss"]
            found |= items
            settings |= {item.key: item.value_json for item in record.run.config.update}
    assert losses == pytest.approx(LOSSES)
    assert found["heldout_loss"] == "0.5" and found["result/loss"] == "0.25"
    assert settings["steps"] == "3"
    tables = [
        json.loads(path.read_text())["data"] for path in job.path.glob("wandb/offline-run-*/files/**/texts_*.json")
    ]
    assert [name for name, _ in max(tables, key=len)] == ["notes", "answers", "artifacts", "result"]


class Offline:
    """As much of the package wandb, and of a run of it, as is used: it keeps the tables. No one is ``logged`` in."""

    offline, url = True, "https://default/run"

    def __init__(self) -> None:
        self.tables: list[list[str]] = []
        self.finished = 0
        self.logged = False
        self.run: Offline | None = None
        self.settings = self.Settings()

    def login(self, **_: object) -> bool:
        return self.logged and self.run is None  # as the package does: while a run is open it says no

    def setup(self) -> Offline:
        return self

    def Settings(self, **_: object) -> SimpleNamespace:  # noqa: N802 - the package's own name
        return SimpleNamespace(base_url="https://default", entity=None)

    def init(self, *, mode: str, dir: str, **_: object) -> Offline:  # noqa: A002 - the package's own name
        self.run, self.offline = self, mode == "offline"
        if self.offline:
            file = Path(dir) / "wandb" / "offline-run-1" / "run-1.wandb"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return self

    def define_metric(self, *_: str, **__: str) -> None: ...

    def Table(self, columns: list[str], data: list[list[str]]) -> list[list[str]]:  # noqa: N802 - as above
        assert columns == ["what", "text"]
        return data

    def log(self, values: dict[str, Any]) -> None:
        if "texts" in values:
            self.tables.append([name for name, _ in values["texts"]])

    def finish(self, exit_code: int) -> None:
        assert exit_code == 0
        self.finished += 1
        self.run = None


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Offline:
    """The package wandb, which is no more than what is used of it."""
    made = Offline()
    monkeypatch.setitem(sys.modules, "wandb", made)
    monkeypatch.setattr(trackers, "find", lambda _: wandb.backend)
    return made


def test_wandb_has_all_texts_though_a_reader_was_killed_and_another_went_on(
    job: Job, package: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(wandb.Wandb, "close", lambda *_: None)
        reader.track(job, "wandb")
    assert package.tables == [["notes", "answers", "artifacts"]] and not package.finished
    end(job)
    reader.track(job, "wandb")
    assert package.tables[1:] == [["notes", "answers", "artifacts", "result"]] and package.finished
    reader.track(job, "wandb")
    assert len(package.tables) == 2, "nothing is new"
    job.log.note("another tracker failed")
    reader.track(job, "wandb")
    assert sorted(package.tables[-1]) == ["answers", "artifacts", "notes", "notes", "result"]


def test_wandb_gets_everything_once_the_user_is_logged_in_also_if_the_files_are_synced_later(
    job: Job, package: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = job.path / "wandb" / "offline-run-1" / "run-1.wandb"
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    assert wandb.home(trackers.describe(job, again=True, texts=list)) == ""
    assert os.environ["WANDB_ERROR_REPORTING"] == "false", "it is read when the package is imported"
    reader.track(job, "wandb")
    package.logged = True
    job.log.note("one more")
    assert reader.track(job, "wandb").events == 8
    assert reader.track(job, "wandb").events == 0, "logged in as before"
    package.settings.base_url = "https://ours"
    assert reader.track(job, "wandb").events == 8
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert reader.track(job, "wandb").events == 8
    assert reader.track(job, "wandb").events == 0
    monkeypatch.delenv("WANDB_PROJECT")
    file.with_name("run-1.wandb.synced").touch()
    assert reader.track(job, "wandb").events == 0, "what came since the files was sent there before they were"
    package.settings.base_url = "https://another"
    assert reader.track(job, "wandb").events == 8
    shutil.rmtree(job.path / "wandb")
    package.logged = False
    assert reader.track(job, "wandb").events == 8, "the files are gone"


def test_wandb_goes_on_from_files_that_were_synced_and_another_server_gets_everything(
    job: Job, package: Offline
) -> None:
    reader.track(job, "wandb")
    (job.path / "wandb" / "offline-run-1" / "run-1.wandb.synced").touch()
    assert reader.track(job, "wandb").events == 0, "not logged in, as before"
    package.logged = True
    job.log.note("one more")
    sent = reader.track(job, "wandb")
    assert (sent.events, sent.anew) == (1, False)
    assert reader.track(job, "wandb").events == 0
    package.settings.base_url = "https://ours"
    assert reader.track(job, "wandb").events == 8


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a ``.wandb`` file: blocks of 32 KiB of parts with a header of checksum, length and kind.

    The package has no public reader of it. The form is LevelDB's log format, behind a header of seven bytes.
    """
    block, at, parts = 32768, 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""
