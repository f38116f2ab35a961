"""``honed data map``: what a dataset asks for, where it is thin, what to collect next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.score import measured
from honed.cli.tables import columns, short
from honed.store.workspace import Workspace

_SHOWN = 8


@click.command("map")
@click.argument("name")
@click.option("--model", metavar="MODEL", help="Let this model read the instructions; by default their words are.")
@click.option("--target", metavar="NAME", help="Dataset that says what is wanted; thin is then beside it.")
@click.option("--regions", type=int, help="How many regions.")
@config_options
@workspace_option
@json_option
def map_(
    name: str, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any
) -> None:
    """Draw a map of a dataset's instructions: regions, kinds of task, lengths, languages, audiences.

    What is thin is named, and what to collect next is said; the page needs no network, map.json beside it is for
    programs. Nothing about people is inferred: audiences are those that rows declare.

    \b
    honed data map support
    honed data map support --target exam                  # thin beside what the exam asks for
    honed data map support --model smollm2-135m           # by meaning rather than words; reads every row once
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.map.config import MapConfig
    from honed.data.map.run import run

    settings = load(MapConfig, "map", config, sets, {"dataset": name, "regions": flags["regions"]})
    job = run(workspace, settings.model_copy(update={"measure": measured(settings.measure, flags)}))
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    click.echo(result["headline"])
    click.echo(_table(result))
    for one in result["collect"][:_SHOWN]:
        say(one["sentence"])
    if len(result["collect"]) > _SHOWN:
        say(f"and {len(result['collect']) - _SHOWN:,} more on the page")
    say(f"page: {result['page']}")


def _table(result: dict[str, Any]) -> str:
    lines = [
        (
            one["part"]["name"],
            one["part"]["rows"],
            f"{one['part']['share']:.1%}",
            "thin" if one["part"]["thin"] else "",
            short(one["typical"][0]["prompt"], 60) if one["typical"] else "",
        )
        for one in result["regions"]
    ]
    return columns(("region", "rows", "share", "", "typical"), lines)
