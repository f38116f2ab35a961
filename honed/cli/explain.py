"""``honed explain MODEL``: down to datasets, rows and events; ``honed explain EVENT``: up to the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from honed.rounds.lineage import Node


@click.command()
@click.argument("spec", metavar="MODEL|EVENT")
@click.option("--rows", type=click.IntRange(min=0), default=3, show_default=True, help="Records shown per dataset.")
@workspace_option
@json_option
def command(spec: str, rows: int, workspace: Workspace, as_json: bool) -> None:
    """Show what a model was made of, down to what people said, and what was made of it.

    A dataset or a round does too; of the id of an interaction or of feedback, every model that learned from it is
    shown. `datasets/NAME` is the dataset where a model has the same name.
    """
    from honed.rounds.lineage import explain

    found = explain(workspace, spec, rows)
    if as_json:
        emit_json(found.model_dump(mode="json"))
        return
    from rich.console import Console

    console = Console()
    if found.sources:
        console.print(_tree(found.sources))
    if found.uses.nodes or not found.sources:
        console.print()
        console.print("what was made of it:", style="dim")
        console.print(_tree(found.uses))


def _tree(node: Node, above: Tree | None = None) -> Tree:
    from rich.tree import Tree

    branch = Tree(_label(node)) if above is None else above.add(_label(node))
    for one in node.nodes:
        _tree(one, branch)
    return branch


def _label(node: Node) -> Text:
    """A node in one line; what people and models said is text, never markup."""
    from rich.text import Text

    from honed.cli.tables import short

    facts = node.facts
    if node.kind == "row":
        text = f": {short(facts['asked'], 40)!r} -> {short(facts['answer'], 40)!r}"
        return Text.assemble(f"{facts['part']} ", (node.ref, "cyan"), text)
    if node.kind == "outside":
        return Text.assemble((node.ref, "bold"), (" (outside this workspace)", "dim"))
    if node.kind == "event":
        return Text.assemble("event ", (node.ref, "magenta"))
    said = [f"{facts[key]} {key}" for key in ("train", "heldout", "preferences", "ratings") if key in facts]
    said += [f"{facts['from feedback']} from feedback"] if "from feedback" in facts else []
    said += [str(facts["verdict"])] if "verdict" in facts else []
    said += [facts["created"]]
    names = "".join(f" [{name}]" for name in facts.get("aliases", ()))
    again = " (see above)" if node.again else ""
    return Text.assemble(f"{node.kind} ", (node.ref, "bold"), (names, "green"), (f"  {', '.join(said)}{again}", "dim"))
