"""``honed init [PATH]``: make a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from honed.cli.options import emit_json, json_option
from honed.store import workspace as workspaces


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@json_option
def command(path: Path, as_json: bool) -> None:
    """Make PATH (by default the current folder) a workspace.

    A workspace is a folder with honed.json, datasets/, models/ and jobs/. Commands that are run in it or below find
    it by themselves. Making one that is there already changes nothing.
    """
    there = (path / workspaces.MARKER).exists()
    workspace = workspaces.init(path)
    if as_json:
        emit_json({"workspace": workspace.path, "created": not there})
        return
    click.echo(f"{workspace.path}: {'is a workspace already' if there else 'a new workspace'}")
    if not there:
        at = "" if workspace.path == Path.cwd() else f" --workspace {path}"
        click.echo(f"Next, bring your data in: honed data import FILE --as NAME{at}")
