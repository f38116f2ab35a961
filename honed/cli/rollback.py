"""``honed rollback``: the alias goes back to the model before."""

from __future__ import annotations

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.option("--alias", default="live", show_default=True, metavar="NAME", help="The alias that moves.")
@click.option("--why", default="", metavar="TEXT", help="The reason, which is kept.")
@workspace_option
@json_option
def command(alias: str, why: str, workspace: Workspace, as_json: bool) -> None:
    """Let an alias name the model that it named before; a second time, the one before that.

    A server that serves the alias takes the other model within seconds, without losing a request.
    """
    from honed.rounds.promote import rollback

    moved = rollback(workspace, alias, why)
    if as_json:
        emit_json(moved.model_dump())
        return
    click.echo(f"{moved.alias} is {moved.now} again; {moved.before} had it because: {moved.was}")
