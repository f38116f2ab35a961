"""``honed data select``: the best rows by some selectors as a new dataset, and as many random ones beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.score import measured, measuring_options, names
from honed.cli.tables import columns
from honed.store.workspace import Workspace


@click.command()
@click.argument("source", metavar="NAME")
@measuring_options
@click.option("--count", type=click.IntRange(min=1), help="How many training rows.")
@click.option(
    "--as", "name", required=True, metavar="NEW", help="Name of the new dataset; NEW-random is the other one."
)
@config_options
@workspace_option
@json_option
def select(
    source: str, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any
) -> None:
    """Choose training rows by selectors, as a new dataset; a random subset of the same size is made beside it.

    Selectors are the scores of `honed data score`, and random. Of several the ranks are averaged; diversity spreads
    among the best of the others. Held-out rows stay. Most selectors that were published don't beat a random subset:
    `honed data trial NEW --base MODEL` trains on both and says whether this one does.

    \b
    honed data select support --by ifd --count 1000 --as support-ifd --model smollm2-135m
    honed data select support --by quality,diversity --count 1000 --as support-core --model smollm2-135m
    honed data select support --by length --count 1000 --as support-long
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.select.config import SelectConfig
    from honed.data.select.run import run

    given = {"dataset": source, "by": names(flags["by"]), "count": flags["count"], "name": flags["name"]}
    settings = load(SelectConfig, "select", config, sets, given)
    job = run(workspace, settings.model_copy(update={"measure": measured(settings.measure, flags)}))
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    click.echo(_table(result))
    ref, random = result["dataset"], result["random"]
    for kind, rows in result["dropped"].items():
        say(f"left out: {rows:,} {kind}")
    if random:
        say(f"{random['shared']:,} rows are in both")
        trial = f"honed data trial {ref} --against {random['dataset']} --base MODEL"
        say(f"whether it beats chance isn't known yet: {trial}")
    say(f"next: honed data dropped {ref}  |  honed train --base MODEL --data {ref}")


def _table(result: dict[str, Any]) -> str:
    means = list(result["means"])
    lines = [
        (one["dataset"], one["train"], f"{one['answer_words']:.0f}", *(f"{one['means'][key]:.3f}" for key in means))
        for one in (result, result["random"])
        if one
    ]
    return columns(("dataset", "rows", "words of an answer (median)", *(f"mean {key}" for key in means)), lines)
