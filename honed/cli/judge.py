"""``honed judge``: two evaluations compared by a judge or by people, answers scored by a rubric, a judge measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.judge.config import JudgeConfig
    from honed.evaluate.judge.outcome import AnyResult

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("answers", nargs=-1, metavar="[BASE_EVAL] [TUNED_EVAL]")
@click.option("--judge", metavar="MODEL", help="Who judges: a model on this machine, or the endpoint's.")
@click.option("--endpoint", metavar="URL", help="Server of the judge, up to /v1.  [default: this machine]")
@click.option("--rubric", type=_FILE, metavar="FILE", help="Score each answer by these criteria (YAML), from 1 to 5.")
@click.option("--agreement", "labels", type=_FILE, metavar="FILE", help="Measure the judge on people's labels (JSONL).")
@click.option("--people", is_flag=True, help="Let people judge, on a blind page of this machine.")
@click.option("--guide", metavar="TEXT", help="What makes an answer better here, told to whoever judges.")
@click.option("--rows", type=int, metavar="N", help="How many prompts, chosen by hash.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it costs at most; ask nothing.")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="With --people: listen here.")
@click.option("--port", default=8001, metavar="N", help="With --people: 0 takes any free port.  [default: 8001]")
@click.option(
    "--token", envvar="HONED_TOKEN", show_envvar=True, metavar="SECRET", help="With --people: demand it of browsers."
)
@config_options
@workspace_option
@json_option
def command(
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    dry_run: bool,
    **given: Any,
) -> None:
    """Say whose answers are better where no verifier can: by a judge's word, or by people's.

    BASE_EVAL and TUNED_EVAL are jobs of `honed evaluate` on the same rows, or JSONL files of {prompt, response}. A
    judge sees both answers in both orders; a verdict that doesn't stand in both is a tie. With --rubric, the answers
    of one evaluation or two are scored. A judge is trusted once its agreement with people was measured (--agreement)
    and is good enough; until then its word is only indicative. People's labels come from --people.

    \b
    honed judge BASE_EVAL TUNED_EVAL --judge MODEL --endpoint http://127.0.0.1:8000/v1
    honed judge TUNED_EVAL --rubric rubric.yaml --judge smollm2-135m
    honed judge BASE_EVAL TUNED_EVAL --people
    honed judge --agreement labels.jsonl --judge MODEL --endpoint http://127.0.0.1:8000/v1
    """
    from honed.evaluate.judge.run import settled

    settings = settled(workspace, _settings(config, sets, given))
    if dry_run:
        _ahead(workspace, settings, as_json)
    elif settings.people:
        _people(workspace, settings, {name: given[name] for name in ("host", "port", "token")}, as_json)
    else:
        _judge(workspace, settings, as_json)


def _settings(config: Path | None, sets: tuple[str, ...], given: dict[str, Any]) -> JudgeConfig:
    import json

    from honed.config import load
    from honed.evaluate.judge import rubric
    from honed.evaluate.judge.config import JudgeConfig

    flags: dict[str, Any] = {"answers": given["answers"] or None, "rows": given["rows"]}
    flags |= {"people": given["people"] or None, "labels": str(given["labels"]) if given["labels"] else None}
    if given["rubric"]:
        read = rubric.read(given["rubric"])
        flags |= {"criteria": read.criteria, "guide": read.guide or None}
    if given["guide"]:
        flags["guide"] = given["guide"]
    if given["endpoint"]:
        sets = (f"endpoint.base_url={json.dumps(given['endpoint'])}", *sets)
        if given["judge"]:
            sets = (*sets, f"endpoint.model={json.dumps(given['judge'])}")
    elif given["judge"]:
        flags["model"] = given["judge"]
    return load(JudgeConfig, "judge", config, sets, flags)


def _ahead(workspace: Workspace, settings: JudgeConfig, as_json: bool) -> None:
    from honed.evaluate.judge import words
    from honed.evaluate.judge.cost import ahead

    found = ahead(workspace, settings)
    if as_json:
        emit_json(found.model_dump(mode="json"))
        return
    click.echo(words.ahead(found.questions, found.estimate))


def _judge(workspace: Workspace, settings: JudgeConfig, as_json: bool) -> None:
    from honed.cli import progress
    from honed.evaluate.judge import outcome
    from honed.evaluate.judge.page import HTML
    from honed.evaluate.judge.run import run

    job = run(workspace, settings)
    say(f"job {job.id}")
    result = progress.follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    _print(outcome.result(result))
    click.echo(f"Report: {job.path / HTML}")


def _people(workspace: Workspace, settings: JudgeConfig, where: dict[str, Any], as_json: bool) -> None:
    from honed.evaluate.judge import people
    from honed.evaluate.judge.page import HTML
    from honed.serve import server
    from honed.web.blind import make_app

    job = people.opened(workspace, settings)
    ballots = people.ballots(job, settings)
    place = server.Place(**where)
    sock, url = server.listen(place)
    with sock, people.at_work(job):
        app = make_app(ballots, settings.guide, place.token)
        say(f"job {job.id}: {ballots.total} pairs of answers")

        def ready() -> None:
            say(f"judge at {url}/  |  Ctrl-C ends it; every label is kept, and the same command goes on")

        server.run(app, sock, ready)
        found = people.finish(job, settings)
    if as_json:
        emit_json({"job": job.id, **found.model_dump(mode="json")})
        return
    _print(found)
    click.echo(f"Labels: {found.file}\nReport: {job.path / HTML}")


def _print(found: AnyResult) -> None:
    from honed.cli.tables import columns, plain
    from honed.evaluate.judge import tables, words
    from honed.evaluate.judge.outcome import People

    click.echo(plain(words.headline(found)))
    for line in words.details(found):
        click.echo(plain(f"  {line}"))
    for table in tables.of(found):
        click.echo(plain("\n" + columns(table.header, table.rows)))
        for note in table.notes:
            click.echo(plain(note))
    if not isinstance(found, People):
        click.echo(f"\n{words.spent(found.usage)}")
