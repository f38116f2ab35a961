"""``honed data synthesize``: rows that a model writes, checked, marked, and never paid for twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.tables import columns, short
from honed.store.workspace import Workspace

_METHODS = ("self-instruct", "evolve", "paraphrase", "continue", "constrain", "documents", "asked")


@click.command()
@click.argument("method", type=click.Choice(_METHODS))
@click.option("--from", "source", required=True, metavar="SEEDS", help="Dataset of seeds; for documents, a folder.")
@click.option("--as", "new", required=True, metavar="NEW", help="Name of the new dataset: NEW@v1, then @v2 ...")
@click.option("--for", "evaluation", metavar="EVAL", help="asked: the evaluation whose failures ask for rows.")
@click.option("--rows", type=int, help="Rows to be made, at most.  [100; asked: as many as are suggested]")
@click.option("--endpoint", "url", metavar="URL", help="An OpenAI-compatible server: http://127.0.0.1:8000/v1.")
@click.option("--model", metavar="NAME", help="The model, by the name that the endpoint knows it by.")
@click.option("--key-env", metavar="VARIABLE", help="Environment variable that holds the endpoint's key.")
@click.option("--max-cost", type=float, metavar="MONEY", help="Most it may cost; needs the endpoint's prices.")
@click.option("--local", metavar="MODEL", help="Write with a model on this machine instead of an endpoint.")
@click.option("--estimate", "only", is_flag=True, help="Say what it would take; send nothing.")
@config_options
@workspace_option
@json_option
def synthesize(workspace: Workspace, config: Path | None, sets: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Let a model write rows: new tasks, harder ones, other words, further turns, constraints, questions on documents.

    Each is checked (by our verifiers where there are any), compared with the seeds and the others, and marked as
    synthetic for ever. What is left out is listed with its reason (honed data dropped NEW). Ctrl-C leaves a job that
    goes on where it was: every reply is kept, and nothing is paid for twice.

    With the method asked, the failures of EVAL (honed errors) say of which kinds rows are made, and how many of each.
    Only the kinds' names are used, and no row that holds a part of the evaluation is kept.

    \b
    honed data synthesize constrain --from support --as support-form --local smollm2-135m --rows 20
    honed data synthesize evolve --from support --as support-hard --endpoint http://127.0.0.1:8000/v1 --model writer
    honed data synthesize documents --from handbook/ --as questions --config writer.yaml --estimate
    honed data synthesize asked --for EVAL --from support --as support-asked --config writer.yaml
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.synthesize import run
    from honed.data.synthesize.config import SynthesizeConfig

    only = flags.pop("only")
    flags |= _wanted(workspace, flags.pop("evaluation"))
    settings = load(SynthesizeConfig, "synthesize", config, _sets(flags, sets), _settings(flags))
    if only:
        found, words = run.estimate(workspace, settings)
        if as_json:
            emit_json({"estimate": found.model_dump(), "rows": settings.rows, "attempts": settings.attempts})
        else:
            click.echo(words)
        return
    job = run.run(workspace, settings)
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    _say(result)


def _settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags as settings of the top."""
    source = {"documents": (flags["source"],)} if flags["method"] == "documents" else {"seeds": flags["source"]}
    named = {key: flags.get(key) for key in ("method", "rows", "local", "wanted")}
    return {**named, "name": flags["new"], **source}


def _wanted(workspace: Workspace, evaluation: str | None) -> dict[str, Any]:
    """Return where an evaluation's errors.json lies, written now if it wasn't, and the folders of suites it is of.

    A file that is named is such a document itself.
    """
    from honed import config
    from honed.cli.evaluations import read
    from honed.evaluate.config import EvaluateConfig
    from honed.evaluate.errors import analysis
    from honed.jobs import job as jobs

    if evaluation is None or Path(evaluation).is_file():
        return {"wanted": evaluation, "suites": []}
    folder = jobs.find(workspace, evaluation).path
    if not (folder / analysis.FILE).is_file():
        analysis.write(folder, analysis.analyse(read(workspace, evaluation).evaluation))
    suites = config.read(EvaluateConfig, folder / "config.yaml").suite or ()
    return {"wanted": str(folder / analysis.FILE), "suites": [name for name in suites if Path(name).is_dir()]}


def _sets(flags: dict[str, Any], sets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags about the endpoint as settings of it, before those that were given with ``--set``.

    So are the folders of an evaluation's suites, whose text is kept out.
    """
    import json

    names = {"base_url": "url", "model": "model", "api_key_env": "key_env", "max_cost": "max_cost"}
    given = {key: flags[flag] for key, flag in names.items() if flags[flag] is not None}
    against = [f"against={json.dumps(flags['suites'])}"] if flags["suites"] else []
    return (*(f"endpoint.{key}={json.dumps(value)}" for key, value in given.items()), *against, *sets)


def _say(result: dict[str, Any]) -> None:
    left = [(kind, count) for kind, count in result["dropped"].items()]
    if left:
        click.echo(columns(("left out", "tries"), left))
    if asked := result.get("asked"):
        header = ("kind of rows", "by", "suggested", "asked", "made", "kept", "")
        counts = ("suggested", "asked", "made", "kept")
        rows = [
            [short(one["kind"], 60), one["method"], *(one[name] for name in counts), short(one["why"], 80)]
            for one in asked
        ]
        click.echo(columns(header, rows))
    mended = ", ".join(f"{count:,} {kind}" for kind, count in result["synthetic"]["mended"].items())
    if mended:
        say(f"mended before they could be read: {mended}")
    lost = f", and at most {result['lost_cost']:.4f} for answers that never arrived" if result["lost_cost"] else ""
    cost = f"; cost {result['cost']:.4f}{lost}" if result["cost"] or lost else ""
    tokens = f"{result['prompt_tokens']:,} tokens of prompts, {result['completion_tokens']:,} of answers"
    say(f"{result['requests']:,} requests, {result['cached']:,} answered by kept replies; {tokens}{cost}")
    was = "" if result["new"] else " (the same content as before: no new version)"
    mark = f"marked synthetic: {result['synthetic']['method']} by {result['synthetic']['generator']}"
    click.echo(f"{result['dataset']}{was}: {result['train']:,} rows of {result['rows']:,} tries, {mark}")
    if result["ended"]:
        say(f"fewer than were wanted: {result['ended']}")
    say(f"next: honed data dropped {result['dataset']}  |  honed data curate {result['dataset']} --as NAME")
