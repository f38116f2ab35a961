"""``honed report EVAL``: one evaluation as a page, as Markdown and as JSON."""

from __future__ import annotations

from pathlib import Path

import click

from honed.cli.evaluations import stored_options
from honed.cli.options import emit_json, json_option, workspace_if_any_option
from honed.errors import ConfigError
from honed.store.workspace import Workspace


@click.command()
@click.argument("evaluation", metavar="[EVAL]", required=False)
@stored_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: the evaluation's folder]",
)
@workspace_if_any_option
@json_option
def command(
    evaluation: str | None,
    answers: Path | None,
    suite: str | None,
    out: Path | None,
    workspace: Workspace | None,
    as_json: bool,
) -> None:
    """Write what EVAL measured as a page: scores beside floors, where it fails and why, and every row.

    The page needs no network: rows can be filtered, searched and linked to. Beside it lie the same as Markdown for a
    pull request, and as JSON with every row. Two models or more: `honed compare`.

    \b
    honed report EVAL
    honed report --answers answers.jsonl --suite ifeval --out report
    """
    from honed.cli.evaluations import read
    from honed.evaluate import report_single

    made = read(workspace, evaluation, answers, suite)
    folder = out or (made.folder / "report" if made.folder else None)
    if folder is None:
        raise ConfigError("--answers needs --out", "Name the folder that the report goes to.")
    job = made.evaluation.job
    hints = [f"honed errors {job}", f"honed compare {job} OTHER_EVAL"] if made.folder else []
    path = report_single.write(folder, made.evaluation, next_commands=hints)
    if as_json:
        emit_json({"headline": report_single.headline(made.evaluation.outcome), "report": path})
        return
    click.echo(report_single.headline(made.evaluation.outcome))
    click.echo(f"Report: {path}")
