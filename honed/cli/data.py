"""``honed data``: import, check, list, show, dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.errors import HonedError
    from honed.jobs.job import Job
    from honed.records import Fault

_SHOWN = 20
_SHAPES = ("alpaca", "prompt-response", "messages", "sharegpt")
_shape_option = click.option("--shape", type=click.Choice(_SHAPES), help="Shape of the rows; detected if not given.")


@click.group()
def command() -> None:
    """Import instruction data; see it as a model will."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the dataset: NAME@v1, then @v2 ...")
@_shape_option
@click.option("--heldout", type=float, metavar="SHARE", help="Share of rows held out, by content hash.  [default: 0.1]")
@click.option("--heldout-file", metavar="FILE", help="The held-out rows themselves, instead of a share.")
@click.option("--allow-faults", is_flag=True, default=None, help="Import the usable rows although others have faults.")
@workspace_option
@json_option
def import_(files: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any) -> None:
    """Import files of instructions as a dataset.

    JSON, JSON lines (plain or gzip) and Parquet, in Alpaca, prompt/response, messages or ShareGPT shape: both are
    detected and said aloud. `builtin` in place of a file is the embedded instruction set. Any fault stops the import,
    with every fault of the file listed and nothing written.

    \b
    honed data import support.jsonl --as support
    honed data import builtin --as helpdesk
    """
    from honed.config import load
    from honed.data.config import DataConfig
    from honed.data.run import run
    from honed.errors import JobError

    job = run(workspace, load(DataConfig, "data", None, (), {"files": files, **flags}))
    from honed.cli.progress import follow  # while the worker is at work already: an import is over in a second

    try:
        result = follow(job, as_json)
    except JobError as error:
        _failed(job, error, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    say(_imported(result))
    if result["dropped"]:
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in result["dropped"].items())
        say(f"left out: {reasons}; see them: honed data dropped {result['dataset']}")
    ref = result["dataset"]
    say(f"next: honed data show {ref} --model MODEL  |  honed train --base MODEL --data {ref}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@_shape_option
@json_option
@click.pass_context
def check(context: click.Context, file: Path, shape: Any, as_json: bool) -> None:
    """Say what a file is and list every fault in it; exit 1 if there are any."""
    from honed.data.check import check as check_file

    facts, faults = check_file(file, shape)
    if as_json:
        kinds = facts.pop("faults")
        emit_json({**facts, "kinds": kinds, "faults": [fault.model_dump() for fault in faults]})
    else:
        say(facts["detected"])
        _list_faults(faults)
        number = f"{len(faults):,} fault{'' if len(faults) == 1 else 's'}"
        click.echo(f"{file}: {facts['usable']:,} of {facts['rows']:,} rows usable, {number}")
    context.exit(1 if faults else 0)


@command.command("list")
@workspace_option
@json_option
def list_(workspace: Workspace, as_json: bool) -> None:
    """List the datasets of the workspace."""
    from honed.cli.tables import columns
    from honed.store import artifacts

    found = [(artifact.ref, artifact.manifest) for artifact in artifacts.listing(workspace, "datasets")]
    if as_json:
        emit_json([{"dataset": ref, **manifest.model_dump(mode="json")} for ref, manifest in found])
    elif not found:
        say("no datasets yet; import one: honed data import FILE --as NAME")
    else:
        rows = [
            (ref, m.facts["train"], m.facts["heldout"], sum(m.facts.get("dropped", {}).values()), m.created)
            for ref, m in found
        ]
        click.echo(columns(("dataset", "train", "heldout", "left out", "created"), rows))


@command.command()
@click.argument("name")
@click.option("--model", required=True, metavar="MODEL", help="Whose chat template and tokenizer to use.")
@click.option("--rows", type=click.IntRange(min=1), default=3, show_default=True, help="How many rows to show.")
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True)
@workspace_option
@json_option
def show(name: str, model: str, rows: int, split: Any, workspace: Workspace, as_json: bool) -> None:
    """Show rows as a model will see them.

    The chat template is rendered and special tokens are visible; what is supervised (the tokens a model is trained to
    say) is coloured in a terminal, and stands between ⟦ and ⟧ elsewhere.
    """
    from honed.data.show import seen
    from honed.models.load import load_chat
    from honed.store import artifacts, datasets

    dataset = artifacts.resolve(workspace, "datasets", name)
    chat = load_chat(model, workspace, say=say)
    shown = [seen(row, chat) for row in datasets.rows(dataset, split, rows)]
    if as_json:
        emit_json({"dataset": dataset.ref, "model": model, "split": split, "rows": [row.plain() for row in shown]})
        return
    if not shown:
        say(f"{dataset.ref} has no {split} rows")
    for row in shown:
        _print_row(row)


@command.command()
@click.argument("name")
@workspace_option
@json_option
def dropped(name: str, workspace: Workspace, as_json: bool) -> None:
    """List the rows that an import left out, each with its reason."""
    from honed.data.dropped import read
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    left = read(dataset.path)
    if as_json:
        rows = [{"fault": fault.model_dump(), "row": row} for fault, row in left]
        emit_json({"dataset": dataset.ref, "dropped": rows})
        return
    count = 0
    for fault, row in left:
        count += 1
        click.echo(f"{fault}\n    {row}")
    say(f"{dataset.ref}: {count:,} left out")


def _failed(job: Job, error: HonedError, as_json: bool) -> NoReturn:
    """List what stopped the import, if it was faults, then let the edge say the error itself."""
    from honed.data.dropped import read

    faults = [fault for fault, _ in read(job.path)]
    if as_json and faults:
        say(f"error: {error.message}\n  {error.hint}")
        plain = [fault.model_dump() for fault in faults]
        emit_json({"job": job.id, "error": {"message": error.message, "hint": error.hint}, "faults": plain})
        click.get_current_context().exit(1)
    if len(faults) > 1:
        _list_faults(faults)
    raise error


def _list_faults(faults: Sequence[Fault]) -> None:
    for fault in faults[:_SHOWN]:
        say(str(fault))
    if len(faults) > _SHOWN:
        say(f"and {len(faults) - _SHOWN:,} more; all of them: honed data check FILE --json")


def _imported(result: dict[str, Any]) -> str:
    was = "" if result["new"] else " (the same content as before: no new version)"
    parts = [f"{result['train']:,} train and {result['heldout']:,} held-out rows"]
    if result["duplicates"]:
        parts.append(f"{result['duplicates']:,} exact duplicates merged")
    if result["same_prompt"]:
        parts.append(f"{result['same_prompt']:,} more answers to a prompt already there, kept")
    return f"{result['dataset']}{was}: {', '.join(parts)}, of {result['rows']:,} read"


def _print_row(row: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    coloured = console.is_terminal and not console.no_color
    click.echo(row.heading())
    for piece, supervised in row.pieces:
        if coloured:
            console.print(Text(piece, style="bold green" if supervised else "dim"), end="", soft_wrap=True)
        else:
            click.echo(f"⟦{piece}⟧" if supervised else piece, nl=False)
    click.echo("\n")
