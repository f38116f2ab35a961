"""``honed data``: import, check, list, show, dropped, export; the other subcommands have files of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

import click

from honed.cli.card import card
from honed.cli.curate import curate
from honed.cli.diff import diff
from honed.cli.dropped import dropped
from honed.cli.map import map_
from honed.cli.mix import mix
from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.cli.score import score
from honed.cli.select import select
from honed.cli.show import show
from honed.cli.synthesize import synthesize
from honed.cli.trial import trial
from honed.data.formats import Format
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.data.check import Checking
    from honed.data.survey import Wanted
    from honed.errors import HonedError
    from honed.jobs.job import Job
    from honed.records import Fault

_SHOWN = 20
_WARNINGS = 2
_SHAPES = (
    "messages",
    "sharegpt",
    "alpaca",
    "dolly",
    "prompt-response",
    "oasst",
    "seed-tasks",
    "preference",
    "kto",
    "label-studio",
    "argilla",
)
F = TypeVar("F", bound=Callable[..., Any])


def _reading_options(function: F) -> F:
    """Add what says how files are read: ``--shape``, ``--map``, ``--paths``, ``--container``, ``--delimiter``."""
    shape = click.option("--shape", type=click.Choice(_SHAPES), help="Shape of the rows; detected if not given.")
    columns = click.option(
        "--map",
        "columns",
        multiple=True,
        metavar="NAME=FIELD,...",
        help="Read the file's field FIELD as NAME: instruction=q,response=a.",
    )
    paths = click.option(
        "--paths", type=click.Choice(("all", "best")), help="Of OASST trees: every path, or the best-ranked.  [all]"
    )
    container = click.option(
        "--container",
        type=click.Choice(("json", "jsonl", "csv", "tsv")),
        help="What the files are; detected if not given.",
    )
    delimiter = click.option(
        "--delimiter",
        metavar="CHAR",
        callback=lambda _context, _option, value: value and value.replace("\\t", "\t"),
        help="What stands between the fields of CSV files; detected if not given.",
    )
    return shape(columns(paths(container(delimiter(function)))))


@click.group()
def command() -> None:
    """Import instruction data; see it as a model will."""


command.add_command(card)
command.add_command(curate)
command.add_command(map_)
command.add_command(score)
command.add_command(select)
command.add_command(trial)
command.add_command(diff)
command.add_command(dropped)
command.add_command(mix)
command.add_command(show)
command.add_command(synthesize)


@command.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the dataset: NAME@v1, then @v2 ...")
@_reading_options
@click.option("--heldout", type=float, metavar="SHARE", help="Share of rows held out, by content hash.  [default: 0.1]")
@click.option("--heldout-file", metavar="FILE", help="The held-out rows themselves, instead of a share.")
@click.option("--licence", metavar="NAME", help="Licence of the rows, such as cc-by-4.0; it goes with them.")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Declare an attribute of all rows that don't say it themselves: locale=de.",
)
@click.option("--allow-faults", is_flag=True, default=None, help="Import the usable rows although others have faults.")
@workspace_option
@json_option
def import_(
    files: tuple[str, ...],
    columns: tuple[str, ...],
    attributes: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    **flags: Any,
) -> None:
    """Import files of instructions as a dataset.

    JSON, JSON lines, CSV, TSV (plain, gzip or zstd) and Parquet; a folder or a pattern stands for the files in it,
    hub:ORG/NAME for a dataset of the hub, `builtin` for the embedded instruction set. What a file is and which shape
    its rows have is detected and said aloud. Any fault stops the import, with every fault listed and nothing written.

    \b
    honed data import support.jsonl --as support
    honed data import questions.csv --map instruction=q,response=a --as questions
    honed data import hub:databricks/databricks-dolly-15k --as dolly
    honed data import builtin --as helpdesk
    """
    from honed.config import load
    from honed.data import attributes as declared
    from honed.data.config import DataConfig
    from honed.data.mapping import parsed
    from honed.data.run import run
    from honed.errors import JobError

    mapped = parsed(columns) or None
    flags |= {"files": files, "columns": mapped, "attributes": declared.parsed(attributes) or None}
    job = run(workspace, load(DataConfig, "data", None, (), flags))
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
        say(f"left out: {_counted(result['dropped'], ', ')}; see them: honed data dropped {result['dataset']}")
    if result["warnings"]:
        say(f"suspicious, and used: {_counted(result['warnings'], ', ')}; see them: honed data check FILE")
    ref = result["dataset"]
    objective = " --objective dpo" if result.get("preferences") else " --objective kto" if result.get("ratings") else ""
    say(f"next: honed data show {ref} --model MODEL  |  honed train --base MODEL --data {ref}{objective}")


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_reading_options
@click.option("--fix", "out", type=click.Path(path_type=Path), metavar="OUT", help="Write a mended copy of one file.")
@json_option
@click.pass_context
def check(
    context: click.Context, /, files: tuple[str, ...], columns: tuple[str, ...], out: Path | None, **flags: Any
) -> None:
    """Say what files are and list all that is wrong with them; exit 1 if there are faults.

    A fault makes a row unusable; a warning is only suspicious (a refusal, a placeholder left in, an answer cut short, a
    duplicate ...), and the row is used. --fix writes a mended copy as JSON lines: encoding, blanks at the ends of texts
    and names of roles; the file itself is never changed.

    \b
    honed data check support.jsonl
    honed data check support.csv --fix support-mended.jsonl
    """
    from honed.data.check import Checking
    from honed.data.intake import unread
    from honed.data.mapping import ColumnMap, parsed
    from honed.data.sources.container import Told
    from honed.data.sources.find import found
    from honed.data.survey import Wanted

    as_json = flags.pop("as_json")
    told = Told(flags["container"], flags["delimiter"] or "")
    wanted = Wanted(flags["shape"], ColumnMap(parsed(columns)), flags["paths"] or "all", told=told)
    checking = Checking(found(files), wanted)
    faults = checking.faults()
    if out:
        _fix(checking.sources, out, wanted, as_json)
    elif as_json:
        _emit_check(checking, faults)
    else:
        listed = _listed(faults)
        facts = checking.facts()
        for one in facts["files"]:
            say(one["detected"])
            if lacking := unread(one["file"], one["ignored"]):
                say(lacking)
        _say_check(listed, facts)
    context.exit(0 if out else 1 if checking.facts()["kinds"] else 0)


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
@click.option("--as", "form", type=click.Choice(get_args(Format)), required=True, help="Shape of the rows.")
@click.option("--to", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A new file.")
@click.option("--split", type=click.Choice(["train", "heldout", "all"]), default="train", show_default=True)
@workspace_option
@json_option
def export(name: str, form: Any, path: Path, split: Any, workspace: Workspace, as_json: bool) -> None:
    """Write a dataset as a file for other tools, and say what the format can't hold.

    JSON lines; one array if FILE is named .json, or the tool reads arrays. `honed data import` reads all of them again,
    label-studio and argilla with what people answered there. Of preferences, dpo is TRL's shape, llama-factory and
    hh-rlhf those of LLaMA-Factory and Anthropic. oasst makes one tree of rows that share turns.

    \b
    honed data export support --as sharegpt --to support.jsonl
    honed data export pairs --as hh-rlhf --to pairs.jsonl
    """
    from honed.data.export import export as write
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    done = write(dataset, form, path, split)
    if as_json:
        counts = {"written": done.written, "rows": done.rows, "left_out": done.left_out, "lost": done.lost}
        counts["listing"] = done.listing
        emit_json({"dataset": dataset.ref, "format": form, "file": path, **counts})
        return
    trees = "" if done.rows == done.written else f", in {done.rows:,} {'tree' if done.rows == 1 else 'trees'}"
    click.echo(f"{path}: {done.written:,} records of {dataset.ref} as {form}{trees}")
    if split == "train" and dataset.manifest.facts["heldout"]:
        say(f"{dataset.manifest.facts['heldout']:,} held-out rows are not in it: --split all")
    if done.left_out:
        say(f"left out, since {form} can't hold them: {_counted(done.left_out, ', ')}; see {done.listing}")
    if done.lost:
        say(f"not in the file, since {form} has no place for it: " + _counted(done.lost, ", "))


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
        say(f"{fault}. {fault.hint}")
    if len(faults) > _SHOWN:
        say(f"and {len(faults) - _SHOWN:,} more; all of them: honed data check FILE --json")


def _listed(faults: Iterable[Fault]) -> tuple[list[Fault], list[Fault]]:
    """Go through all faults; return the first faults, and the first warnings of each kind."""
    first: list[Fault] = []
    warnings: dict[str, list[Fault]] = {}
    whole: Counter[str] = Counter()  # the same words of whole rows: a few of them say it all
    for fault in faults:
        kept = first if fault.severity == "fault" else warnings.setdefault(fault.kind, [])
        whole[fault.message] += fault.field == "row"
        if len(kept) < (_SHOWN if fault.severity == "fault" else _WARNINGS) and whole[fault.message] <= _WARNINGS:
            kept.append(fault)
    return first, [fault for kind in warnings.values() for fault in kind]


def _say_check(listed: tuple[list[Fault], list[Fault]], facts: dict[str, Any]) -> None:
    faults, warnings = listed
    number, suspicious = sum(facts["kinds"].values()), sum(facts["warnings"].values())
    for fault in faults:
        say(f"{fault}. {fault.hint}")
    if number > len(faults):
        say(f"and {number - len(faults):,} more faults; all of them: honed data check FILE --json")
    for kind, count in facts["warnings"].items():
        say(f"warning: {count:,} {kind}, such as")
        for fault in warnings:
            if fault.kind == kind:
                say(f"  {fault}. {fault.hint}")
    files = facts["files"]
    name = files[0]["file"] if len(files) == 1 else f"{len(files)} files"
    total = f"{number:,} fault{'' if number == 1 else 's'}, {suspicious:,} warning{'' if suspicious == 1 else 's'}"
    click.echo(f"{name}: {facts['usable']:,} of {facts['rows']:,} rows usable, {total}")


def _emit_check(checking: Checking, faults: Iterable[Fault]) -> None:
    """Write one document, the faults as they come: a large file may have any number of them."""
    import orjson

    opening = b'{"faults": ['
    for fault in faults:
        click.echo(opening + b"\n" + orjson.dumps(fault.model_dump()), nl=False)
        opening = b","
    facts = orjson.dumps(checking.facts(), option=orjson.OPT_INDENT_2)
    click.echo((opening if opening != b"," else b"") + b"\n]," + facts.removeprefix(b"{"))


def _fix(sources: Sequence[str], out: Path, wanted: Wanted, as_json: bool) -> None:
    from honed.data.fix import fix

    if len(sources) != 1:
        raise click.UsageError(f"--fix mends one file at a time, and here are {len(sources)}")
    done = fix(sources[0], out, wanted)
    if as_json:
        emit_json({"file": out, **done})
        return
    click.echo(
        f"{out}: {done['written']:,} of {done['rows']:,} rows; mended: {_counted(done['mended'], ', ') or 'nothing'}"
    )
    if done["unreadable"]:
        say(f"{done['unreadable']:,} rows can't be read and are not in it; see them: honed data check {sources[0]}")
    say(f"next: honed data check {out}")


def _counted(counts: Mapping[str, int], between: str) -> str:
    return between.join(f"{count:,} {name}" for name, count in counts.items())


def _imported(result: dict[str, Any]) -> str:
    was = "" if result["new"] else " (the same content as before: no new version)"
    parts = [f"{result['train']:,} train and {result['heldout']:,} held-out rows"]
    parts += [f"{result[part]:,} {part}" for part in ("preferences", "ratings") if result.get(part)]
    if result["duplicates"]:
        parts.append(f"{result['duplicates']:,} exact duplicates merged")
    if result["same_prompt"]:
        parts.append(f"{result['same_prompt']:,} more answers to a prompt already there, kept")
    return f"{result['dataset']}{was}: {', '.join(parts)}, of {result['rows']:,} read"
