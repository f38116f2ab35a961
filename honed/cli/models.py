"""``honed models``: the workspace's models, and where each came from."""

from __future__ import annotations

from typing import Any

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.cli.tables import columns, facts, short
from honed.store.workspace import Workspace


@click.group()
def command() -> None:
    """List the workspace's models, and show where each came from."""


@command.command("list")
@workspace_option
@json_option
def list_(workspace: Workspace, as_json: bool) -> None:
    """List the models: name, version, parents, when made."""
    from honed.store import artifacts

    models = [{"ref": model.ref, **model.manifest.model_dump()} for model in artifacts.listing(workspace, "models")]
    if as_json:
        emit_json({"models": models})
    elif not models:
        click.echo(f"{workspace.path} has no models yet. Train one: honed train --help")
    else:
        rows = [[model["ref"], ", ".join(model["parents"]), model["created"], model["hash"][:12]] for model in models]
        click.echo(columns(["model", "made from", "when (UTC)", "hash"], rows))


@command.command()
@click.argument("model")
@workspace_option
@json_option
def show(model: str, workspace: Workspace, as_json: bool) -> None:
    """Show MODEL (`name@vN`, or `name` for the newest): what it was made from, with what settings, and its facts."""
    from honed.store import artifacts

    artifact = artifacts.resolve(workspace, "models", model)
    manifest: dict[str, Any] = artifact.manifest.model_dump()
    if as_json:
        emit_json({"ref": artifact.ref, "path": artifact.path, **manifest})
        return
    head = [("model", artifact.ref), ("folder", artifact.path), ("hash", manifest["hash"])]
    click.echo(facts([*head, ("made", f"{manifest['created']} by honed {manifest['honed']}")]))
    for title, key in (("made from", "parents"), ("settings", "config"), ("facts", "facts")):
        if manifest[key]:
            click.echo(f"\n{title}")
            click.echo(facts([(f"  {name}", short(value)) for name, value in manifest[key].items()]))
