"""The rows that a model will be measured on: held-out rows of datasets, suites, and files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from honed.data.curate.view import View
from honed.data.intake import Taken
from honed.data.sources.row import Meter
from honed.data.survey import Wanted, surveying
from honed.errors import ConfigError, DataError, JobError
from honed.jobs import job as jobs
from honed.jobs.job import Job
from honed.records import Conversation, Preference, Rating
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

DATASETS = "datasets"
SUITES = "suites"
EVALUATIONS = "evaluations"
_HARNESSES = ("lm-eval:", "inspect:")
"""How suites of other harnesses begin in the settings of an evaluation."""
_MANIFEST = "manifest.json"


class Asked(NamedTuple):
    """A row of an evaluation set: whose it is, its id there, the prompt's texts without the system's, the answer."""

    source: str
    id: str
    prompts: tuple[str, ...]
    answer: str = ""


def evaluation_rows(view: View, against: Sequence[str]) -> Iterator[Asked]:
    """Yield the rows of every set that ``against`` names.

    ``datasets``: held-out rows of each dataset of the workspace (of the one at hand, and the newest version of the
    others); ``suites``: the embedded suites; ``evaluations``: suites that evaluations here measured with; else
    the ref of a dataset, a suite's folder, or a file of rows. Raises ``ConfigError`` if a name stands for nothing,
    ``DataError`` if a file can't be read.
    """
    workspace = Workspace(view.dataset.path.parents[2])
    for name in against:
        path = Path(name)
        if name == DATASETS:
            yield from _datasets(workspace, view.dataset)
        elif name == SUITES:
            for folder in suites():
                yield from _suite(folder)
        elif name == EVALUATIONS:
            for folder in measured(workspace).folders:
                yield from _suite(folder)
        elif path.is_dir() and (path / _MANIFEST).is_file():
            yield from _suite(path)
        elif path.is_file():
            yield from _file(name)
        elif "/" in name or path.suffix:
            raise ConfigError(f"decontaminate.against: {name}: no such file or suite", "Check the path.")
        else:
            yield from _heldout(artifacts.resolve(workspace, "datasets", name))


class Used(NamedTuple):
    """Suites that evaluations measured with: folders to read, and what can't be read, each with the reason."""

    folders: tuple[Path, ...]
    unread: tuple[str, ...]


def measured(workspace: Workspace) -> Used:
    """Return the suites beside the embedded ones that evaluations of the workspace, finished or not, measured with."""
    named: dict[str, None] = {}
    damaged: list[str] = []
    for job in jobs.listing(workspace):
        try:
            named |= dict.fromkeys(_named(job))
        except JobError as error:
            damaged.append(f"those of {job.id} ({error.message})")
    folders = [Path(name) for name in named if Path(name).is_absolute()]
    gone = [f"{folder} (no suite lies there any more)" for folder in folders if not (folder / _MANIFEST).is_file()]
    foreign = [f"{name} (another harness has its text)" for name in named if name.startswith(_HARNESSES)]
    return Used(tuple(folder for folder in folders if (folder / _MANIFEST).is_file()), (*foreign, *gone, *damaged))


def _named(job: Job) -> tuple[str, ...]:
    """Return the suites in the settings of an evaluation; a folder stands there as an absolute path."""
    if not job.id.startswith("evaluate-"):
        return ()
    return tuple(job.settings().get("suite") or ())


def suites() -> list[Traversable]:
    """Return the folders of the embedded suites."""
    home = resources.files("honed").joinpath("evaluate", "suites")
    found = [folder for folder in home.iterdir() if folder.is_dir() and folder.joinpath(_MANIFEST).is_file()]
    return sorted(found, key=lambda folder: folder.name)


def _datasets(workspace: Workspace, own: Artifact) -> Iterator[Asked]:
    newest = {artifact.manifest.name: artifact for artifact in artifacts.listing(workspace, "datasets")}
    for dataset in {own.manifest.name: own, **newest, own.manifest.name: own}.values():
        yield from _heldout(dataset)


def _heldout(dataset: Artifact) -> Iterator[Asked]:
    for row in View(dataset).heldout():
        yield Asked(dataset.ref, row.id, tuple(row.prompts()), row.answer)


def _suite(folder: Traversable) -> Iterator[Asked]:
    try:
        manifest = orjson.loads(folder.joinpath(_MANIFEST).read_bytes())
        rows = str(manifest.get("rows", "rows.jsonl"))
        data = folder.joinpath(rows).read_bytes()
        lines = (gzip.decompress(data) if rows.endswith(".gz") else data).splitlines()
        for number, line in enumerate(filter(None, lines), 1):
            row = orjson.loads(line)
            yield Asked(str(manifest["name"]), str(row.get("id") or number), _prompts(row), str(row.get("ideal", "")))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: not a suite that can be read: {error}", "See: honed evaluate --help") from error


def _prompts(row: dict[str, Any]) -> tuple[str, ...]:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return (prompt,)
    return tuple(turn["content"] for turn in prompt if turn["role"] != "system")


def _file(name: str) -> Iterator[Asked]:
    with surveying(name, Wanted(), Meter()) as survey:
        for found in survey.rows():
            if not isinstance(found, Taken):
                first = found.faults[0]
                raise DataError(f"{first}", f"Every row of an evaluation set must be read. {first.hint}")
            for record in found.records:
                yield _asked(Path(name).name, found.source.line, record)


def _asked(file: str, line: int, drawn: Any) -> Asked:
    record = drawn if isinstance(drawn, Preference | Rating) else drawn.record()
    prompt = tuple(turn.content for turn in record.prompt if turn.role != "system")
    answer = record.answer if isinstance(record, Conversation | Rating) else f"{record.chosen}\n{record.rejected}"
    return Asked(file, f"line {line}", prompt, answer)
