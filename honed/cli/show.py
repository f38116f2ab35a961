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
@workspace_option
@json_option
def show(name: str, model: str, rows: int, split: Any, workspace: Workspace, as_json: bool) -> None:
    """Show rows as a model will see them; of a dataset without training rows, its preferences and rated answers.

    The chat template is rendered and special tokens are visible; what is supervised (the tokens a model is trained to
    say) is coloured in a terminal, and stands between ⟦ and ⟧ elsewhere.
    """
    from honed.data.show import conversations, seen
    from honed.models.load import load_chat
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    chat = load_chat(model, workspace, say=say)
    shown = [one for row in conversations(dataset, split, rows) for one in seen(row, chat)]
    if as_json:
        emit_json({"dataset": dataset.ref, "model": model, "split": split, "rows": [row.plain() for row in shown]})
        return
    if not shown:
        say(f"{dataset.ref} has no {split} rows")
    for row in shown:
        _print_row(row)


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
