"""``honed data card NAME``: what a dataset is, as a page to read and Markdown for a repository."""

from __future__ import annotations

from pathlib import Path

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the card goes.  [default: cards/NAME@vN in the workspace]",
)
@workspace_option
@json_option
def card(name: str, out: Path | None, workspace: Workspace, as_json: bool) -> None:
    """Write a data card: what is in a dataset, where it comes from, what was left out, what nobody knows.

    Two files: card.md, and card.html with the charts, which needs no network.

    \b
    honed data card support
    honed data card support@v2 --out docs/data
    """
    from honed.rounds.card import facts, page
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    made = facts.card(workspace, dataset)
    paths = page.write(out or workspace.path / "cards" / dataset.ref, made)
    if as_json:
        emit_json({"dataset": dataset.ref, "files": paths, "said": page.sentences(made), "unknown": made.unknown})
        return
    for sentence in (*page.sentences(made), *made.unknown):
        click.echo(sentence)
    for path in paths:
        click.echo(path)
