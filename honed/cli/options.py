"""What the commands share: the options with one meaning everywhere, and the two ways to speak.

Answers go to stdout (``emit_json`` under ``--json``), everything said along the way to stderr (``say``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from honed.errors import HonedError, StoreError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])


class HaltedError(HonedError):
    """The user stopped the work; nothing went wrong. The edge exits 130 and doesn't call it an error."""


def workspace_option(function: F) -> F:
    """Add ``--workspace``; the command gets ``workspace: Workspace``, found from the current folder upwards."""
    return click.option(
        "--workspace",
        metavar="PATH",
        envvar="HONED_WORKSPACE",
        show_envvar=True,
        callback=lambda _context, _option, value: _open(value),
        help="The workspace; by default the one that the current folder lies in.",
    )(function)


def workspace_if_any_option(function: F) -> F:
    """Add ``--workspace`` to a command that can do without; it gets ``workspace: Workspace | None``."""
    return click.option(
        "--workspace",
        metavar="PATH",
        envvar="HONED_WORKSPACE",
        show_envvar=True,
        callback=lambda _context, _option, value: _open_if_any(value),
        help="The workspace; by default the one that the current folder lies in.",
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``; the command gets ``as_json: bool`` and then prints one document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def config_options(function: F) -> F:
    """Add ``--config FILE`` and ``--set key=value``; the command gets ``config: Path | None``, ``sets: tuple``."""
    sets = click.option(
        "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override one setting; may be given several times."
    )
    file = click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Read the settings from a YAML file."
    )
    return file(sets(function))


def say(text: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    click.echo(text, err=True)


def emit_json(document: object) -> None:
    """Print one JSON document on stdout. Paths become text, NaN becomes null."""
    text = orjson.dumps(document, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    click.echo(text.decode())
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def needed() -> Workspace:
    """Return the workspace that the current folder lies in. Raises ``StoreError``, which says how to make one."""
    return _open(None)


def _open(value: str | None) -> Workspace:
    return workspaces.open_at(Path(value)) if value else workspaces.find(Path.cwd())


def _open_if_any(value: str | None) -> Workspace | None:
    try:
        return _open(value)
    except StoreError:
        if value:
            raise
        return None
