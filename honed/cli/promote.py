"""``honed promote MODEL``: put a model in use by hand, the first one above all."""

from __future__ import annotations

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.argument("model")
@click.option("--alias", default="live", show_default=True, metavar="NAME", help="The alias that moves.")
@click.option("--why", required=True, metavar="TEXT", help="The reason, which is kept.")
@workspace_option
@json_option
def command(model: str, alias: str, why: str, workspace: Workspace, as_json: bool) -> None:
    """Let an alias name MODEL (`name@vN`, or `name` for the newest), without a round.

    The first `live` is set like this; after that, rounds move it when their gate lets a candidate through. If `honed
    gate` was asked about MODEL and its decision lies beside the evaluation, what it said is said again.

    \b
    honed promote helpdesk --why 'the first one'
    """
    from honed.cli.tables import plain
    from honed.rounds.promote import promote

    moved = promote(workspace, model, alias, why)
    if as_json:
        emit_json(moved.model_dump())
        return
    if moved.gate:
        say(plain(moved.gate))
    if moved.before is None:
        click.echo(f"{alias} is {moved.now}.")
        return
    back = "honed rollback" + ("" if alias == "live" else f" --alias {alias}")
    click.echo(f"{alias} is {moved.now}, it was {moved.before}. Take it back: {back}")
