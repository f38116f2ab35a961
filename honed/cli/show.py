"""``honed data show NAME``: rows as a model will see them, with what is supervised."""

from __future__ import annotations

from typing import Any

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.argument("name")
@click.option("--model", required=True, metavar="MODEL", help="Whose chat template and tokenizer to use.")
@click.option("--rows", type=click.IntRange(min=1), default=3, show_default=True, help="How many rows to show.")
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True)
@click.option("--row", metavar="ID", help="Show the one whose id is ID, or alone begins so, wherever it is.")
@workspace_option
@json_option
def show(  # noqa: PLR0913 - click gives one argument an option
    name: str, model: str, rows: int, split: Any, row: str | None, workspace: Workspace, as_json: bool
) -> None:
    """Show rows as a model will see them; of a dataset without training rows, its preferences and rated answers.

    The chat template is rendered and special tokens are visible; what is supervised (the tokens a model is trained to
    say) is coloured in a terminal, and stands between ⟦ and ⟧ elsewhere.

    \b
    honed data show support --model smollm2-135m
    honed data show support --model smollm2-135m --row 3fa1b2
    """
    from honed.data.show import conversations, named, seen
    from honed.models.load import load_chat
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    found = named(dataset, row) if row is not None else conversations(dataset, split, rows)
    chat = load_chat(model, workspace, say=say)
    shown = [one for each in found for one in seen(each, chat)]
    if as_json:
        of = None if row is not None else split
        emit_json({"dataset": dataset.ref, "model": model, "split": of, "rows": [one.plain() for one in shown]})
        return
    if not shown:
        say(f"{dataset.ref} has no {split} rows")
    for one in shown:
        _print_row(one)


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
