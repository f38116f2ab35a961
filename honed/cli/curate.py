"""``honed data curate``: a recipe of steps on a dataset, with a table of what each did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.tables import columns, short
from honed.store.workspace import Workspace

_SHOWN = 2
_PARTS = (("rows", "train", "training rows"), ("preferences",) * 3, ("ratings",) * 3)
"""Parts of a dataset, the facts that count what is left of them, and what they are called."""


@click.command()
@click.argument("name")
@click.option("--as", "new", required=True, metavar="NEW", help="Name of the curated dataset: NEW@v1, then @v2 ...")
@click.option("--on", metavar="RAY", help="Work on Ray: ray (this machine), or ray://HOST:PORT; to the same result.")
@config_options
@workspace_option
@json_option
def curate(  # noqa: PLR0913 - the flags of a command
    name: str, new: str, on: str | None, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool
) -> None:
    """Clean what a dataset is trained on, step by step; held-out rows are never touched.

    The recipe is a list of steps: decontaminate, pii, secrets, toxicity, exact, near, contradictions, triggers,
    languages and length, if nothing else is said. Each reports what it found; every row that is left out is listed
    with its reason (honed data dropped NEW).

    \b
    honed data curate support --as support-clean
    honed data curate support --as support-clean --set near.threshold=0.8 --set pii.action=drop
    honed data curate support --as support-clean --config recipe.yaml
    honed data curate support --as support-clean --on ray
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.curate.recipe import CurateConfig
    from honed.data.curate.run import run

    job = run(workspace, load(CurateConfig, "curate", config, sets, {"dataset": name, "name": new, "on": on}))
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result, "steps": _steps(workspace, result)})
        return
    click.echo(_table(result))
    for step in _steps(workspace, result):
        for kind, examples in step["examples"].items():
            say(f"{step['step']}: {step['kinds'][kind]:,} {kind}, such as")
            for one in examples[:_SHOWN]:
                say(f"  {one['row']}: {short(one['what'], 200)}")
    ref = result["dataset"]
    was = "" if result["new"] else " (the same content as before: no new version)"
    parts = result["curation"][0]["parts"]
    kept = [f"{result.get(out, 0):,} of {parts[part]['in']:,} {name}" for part, out, name in _PARTS if part in parts]
    say(f"{ref}{was}: {', '.join(kept)}; {result['heldout']:,} held out, untouched")
    say(f"next: honed data dropped {ref}  |  honed data show {ref} --model MODEL")


def _steps(workspace: Workspace, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reports with their examples, as they lie beside the rows."""
    import orjson

    from honed.store import artifacts

    path = artifacts.resolve(workspace, "datasets", result["dataset"]).path / "curation.json"
    return [{**step, "seconds": result["step_seconds"][step["step"]]} for step in orjson.loads(path.read_bytes())]


def _table(result: dict[str, Any]) -> str:
    names = ("rows_in", "dropped", "rows_out", "changed", "reported")
    lines = [
        (step["step"], *(step[name] for name in names), result["step_seconds"][step["step"]])
        for step in result["curation"]
    ]
    return columns(("step", "rows in", "dropped", "rows out", "changed", "reported", "seconds"), lines)
