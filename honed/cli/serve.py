"""``honed serve``: models behind OpenAI's API, with the chat page and what people say of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, json_option, say, workspace_option
from honed.errors import ConfigError
from honed.store.workspace import Workspace


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option("--host", metavar="ADDRESS", help="Listen here; any but this machine's own address demands --token.")
@click.option("--port", type=int, help="Listen on this port; 0 takes any free one.  [default: 8000]")
@click.option("--token", envvar="HONED_TOKEN", show_envvar=True, metavar="SECRET", help="Demand it of every request.")
@click.option(
    "--database", envvar="HONED_DATABASE", show_envvar=True, metavar="URL", help="Store answers and feedback here."
)
@click.option(
    "--segment",
    "segments",
    multiple=True,
    metavar="NAME=V1,V2",
    help="Let people state an attribute of themselves; may be given several times.",
)
@click.option("--batch-size", type=int, help="Requests of one model computed together at most.")
@config_options
@workspace_option
@json_option
def command(
    models: tuple[str, ...],
    segments: tuple[str, ...],
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    **flags: Any,
) -> None:
    """Serve models until Ctrl-C: OpenAI's API under /v1, the chat page at /.

    MODEL is an alias such as live, name@vN, smollm2-135m, a folder or a .gguf file. An alias is followed: when a
    round promotes a model, the next answers are its own. Every answer is stored before it is acknowledged.

    Whoever may use the API speaks for the people whom its requests name as user: a program that serves several people
    must keep their tokens and their consent apart. On the chat page each browser is a person.

    \b
    honed serve live
    honed serve live helpdesk@v1 --segment audience=beginner,expert
    """
    from honed.config import load
    from honed.serve.config import ServeConfig

    flags |= {"models": models or None, "segments": _segments(segments)}
    _serve(workspace, load(ServeConfig, "serve", config, sets, flags), as_json)


def _segments(given: tuple[str, ...]) -> dict[str, tuple[str, ...]] | None:
    """``audience=beginner,expert`` as a setting."""
    segments = {}
    for item in given:
        name, eq, values = item.partition("=")
        if not eq:
            raise ConfigError(f"--segment {item}: there is no '='", "Write --segment NAME=VALUE,VALUE.")
        segments[name.strip()] = tuple(value.strip() for value in values.split(",") if value.strip())
    return segments or None


def _serve(workspace: Workspace, config: Any, as_json: bool) -> None:
    import logging

    import orjson

    from honed.serve import server
    from honed.serve.opened import opened
    from honed.web.app import make_app

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    sock, url = server.listen(config)
    with sock, opened(workspace, config, say) as (pool, store, signer):
        app = make_app(workspace, pool, store, signer, config)

        def ready() -> None:
            say("serving " + ", ".join(_told(entry) for entry in pool.names()))
            say(f"chat: {url}/  |  OpenAI's API: {url}/v1  |  Ctrl-C ends it")
            if as_json:
                click.echo(orjson.dumps({"url": url, "models": pool.names()}).decode())

        in_order = server.run(app, sock, ready)
    say("ended; every answer is stored" if in_order else "ended at once; answers that were running are lost")


def _told(entry: Mapping[str, Any]) -> str:
    return f"{entry['id']} ({entry['ref']})" if "alias" in entry else str(entry["id"])
