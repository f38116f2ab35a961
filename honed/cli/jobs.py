"""``honed jobs``: list, show, follow, track, stop and resume the jobs of a workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.cli.tables import bytes_, clock, columns, facts, moment, plain, short
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.jobs.job import Job

F = TypeVar("F", bound=Callable[..., Any])


def _job_options(function: F) -> F:
    named = click.argument("id_", metavar="ID")
    return named(workspace_option(json_option(function)))


@click.group()
def command() -> None:
    """List, show, follow, track, stop and resume jobs.

    ID is a job's name, its unique beginning or end, or `last` for the newest job.
    """


@command.command("list")
@workspace_option
@json_option
def list_(workspace: Workspace, as_json: bool) -> None:
    """List the workspace's jobs, oldest first."""
    from honed.jobs import job as jobs
    from honed.jobs.describe import summary

    rows = [summary(job) for job in jobs.listing(workspace)]
    if as_json:
        emit_json({"jobs": rows})
    elif not rows:
        click.echo(f"{workspace.path} has no jobs yet. Start one: honed train --help")
    else:
        shown = [
            [plain(row["id"]), row["state"], moment(row["started"]), _took(row), short(_line(row["message"]), 200)]
            for row in rows
        ]
        click.echo(columns(["job", "state", "started", "took", "message"], shown))


@command.command()
@_job_options
def show(id_: str, workspace: Workspace, as_json: bool) -> None:
    """Show a job: its settings, how far it is, what came of it, its files."""
    from honed.jobs import job as jobs
    from honed.jobs.describe import describe

    document = describe(jobs.find(workspace, id_))
    if as_json:
        emit_json(document)
        return
    status = document["status"]
    head = [("job", document["id"]), ("folder", document["path"]), ("state", _state(status))]
    click.echo(facts([*head, ("started", moment(status["started"])), ("took", _took(status))]))
    settings = document["settings"].items()
    _section("settings", facts([(key, "not given" if value is None else short(value)) for key, value in settings]))
    _section("progress", "\n".join(f"{at['stage']} {at['step']}/{at['total']}" for at in document["progress"]))
    _section("notes", "\n".join(document["notes"]))
    _section("result", facts([(key, short(value)) for key, value in (document["result"] or {}).items()]))
    _section("files", facts([(name, bytes_(size)) for name, size in document["files"].items()]))
    if status["state"] in ("failed", "interrupted"):
        _section("last lines of log.txt", "\n".join(document["log"]))
    if status["state"] in ("failed", "interrupted", "stopped"):
        _section("next", f"honed jobs resume {document['id']}")
    if status["state"] == "queued":
        follow = f"honed jobs follow {document['id']}"
        _section("next", f"{follow}\nhoned jobs resume {document['id']}   (if nothing starts it)")


@command.command()
@_job_options
def follow(id_: str, workspace: Workspace, as_json: bool) -> None:
    """Watch a job until it ends; Ctrl-C stops watching, not the job."""
    from honed.cli import progress
    from honed.jobs import job as jobs

    job = jobs.find(workspace, id_)
    _finish(job, progress.follow(job, as_json, owner=False), as_json)


@command.command()
@_job_options
def stop(id_: str, workspace: Workspace, as_json: bool) -> None:
    """Ask a job to save its state and end; it can be resumed."""
    from honed.cli.options import say
    from honed.jobs import job as jobs
    from honed.jobs import launch

    job = jobs.find(workspace, id_)
    if job.status().state == "running":
        say(f"stopping job {job.id}: it saves its state first")
    launch.stop(job, timeout=launch.SAVE_SECONDS)
    state = job.status().state
    go_on = "" if state == "done" else f" Go on with: honed jobs resume {job.id}"
    if as_json:
        emit_json({"id": job.id, "state": state})
    else:
        click.echo(f"job {job.id} is {state}.{go_on}")


@command.command()
@click.option("--ranks", type=click.IntRange(0), help="A training: go on with this many ranks (0: one per GPU).")
@_job_options
def resume(id_: str, workspace: Workspace, ranks: int | None, as_json: bool) -> None:
    """Go on with a stopped, interrupted or failed job from its last checkpoint."""
    from honed.cli import progress
    from honed.jobs import job as jobs
    from honed.jobs import launch
    from honed.train.run import resume as resume_on

    job = jobs.find(workspace, id_)
    job.status()  # which says what is wrong with a folder that can't be looked into
    events = job.path / "events.jsonl"
    start_at = events.stat().st_size if events.exists() else 0
    launch.resume(job) if ranks is None else resume_on(job, ranks)
    _finish(job, progress.follow(job, as_json, start_at), as_json)


@command.command()
@click.option("--to", "tracker", required=True, metavar="NAME", help="tensorboard, wandb, mlflow or trackio.")
@click.option("--follow", is_flag=True, help="Go on until the job ends; Ctrl-C stops the sending, not the job.")
@_job_options
def track(id_: str, tracker: str, follow: bool, workspace: Workspace, as_json: bool) -> None:
    """Send a job's numbers, settings and notes to a tracker: what isn't there yet.

    It reads the job's events from outside, so that the job is neither slowed nor stopped by it. TensorBoard's files
    go into the job's folder, all else stays on this machine too unless you are logged in or name a server. A
    destination other than before gets everything, which is said.
    """
    from honed.errors import HonedError, JobError
    from honed.jobs import job as jobs
    from honed.jobs.trackers import reader
    from honed.jobs.trackers.tracker import masked

    job = jobs.find(workspace, id_)
    try:
        sent = reader.track(job, tracker, follow=follow)
    except HonedError:
        raise
    except Exception as error:  # each tracker's package has errors of its own
        raise JobError(
            masked(f"sending job {job.id} to {tracker} failed: {type(error).__name__}: {error}"),
            "Is its server there, and are you logged in? The same command sends what is missing, and nothing twice.",
        ) from error
    if as_json:
        emit_json({"id": job.id, **asdict(sent)})
    else:
        click.echo(f"{sent.events} events of job {job.id} are in {sent.tracker}: {sent.where}")


def _finish(job: Job, result: dict[str, Any], as_json: bool) -> None:
    """Tell what came of a job as the command that starts such jobs does, else fact by fact."""
    from honed.cli import curve, plan, train

    tell = {"curve": curve.tell, "plan": plan.tell, "train": train.tell}.get(job.status().stage)
    if as_json:
        emit_json({"id": job.id, "result": result})
    elif tell:
        tell(result)
    else:
        click.echo(facts([(key, short(value)) for key, value in result.items()]))


def _state(status: dict[str, Any]) -> str:
    words = f"{status['state']} (attempt {status['attempt']})" if status["attempt"] > 1 else str(status["state"])
    return ": ".join(part for part in (words, plain(_line(status["message"]))) if part)


def _line(text: str) -> str:
    return " ".join(text.splitlines())


def _took(status: dict[str, Any]) -> str:
    end = time.time() if status["state"] == "running" else status["ended"]
    return clock(status["earlier_seconds"] + end - status["started"]) if end else ""


def _section(title: str, text: str) -> None:
    if text:
        indented = "\n".join(f"  {line}" for line in plain(text).splitlines())
        click.echo(f"\n{title}\n{indented}")
