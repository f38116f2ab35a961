"""``honed data dropped NAME``: the rows that were left out on the way to a dataset, each with its reasons."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from honed.cli.options import emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.argument("name")
@click.option("--reason", metavar="KIND", help="Only rows with this reason, such as 'duplicate'.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of them.  [default: all]")
@workspace_option
@json_option
def dropped(name: str, reason: str | None, limit: int | None, workspace: Workspace, as_json: bool) -> None:
    """List the rows that an import, a curation or a mix left out, each once, with all its reasons.

    \b
    honed data dropped support
    honed data dropped support --reason 'empty answer' --limit 20
    """
    from honed.data.dropped import rows
    from honed.errors import DataError
    from honed.store import artifacts

    dataset = artifacts.resolve(workspace, "datasets", name)
    kinds: Counter[str] = Counter()
    found = 0
    shown: list[dict[str, Any]] = []
    for left in rows(dataset.path):
        here = list(dict.fromkeys(fault.kind for fault in left.faults))
        kinds.update(here)
        if reason is not None and reason not in here:
            continue
        found += 1
        if limit is not None and found > limit:
            continue
        if as_json:
            shown.append({"faults": [fault.model_dump() for fault in left.faults], "row": left.row})
        else:
            click.echo("\n".join([*map(str, left.faults), f"    {left.row}"]))
    if reason is not None and not found:
        there = f"The reasons are: {', '.join(kinds)}." if kinds else "Nothing was left out."
        raise DataError(f"{dataset.ref}: no row was left out for {reason!r}", there)
    if as_json:
        emit_json({"dataset": dataset.ref, "left_out": found, "reasons": dict(kinds.most_common()), "dropped": shown})
        return
    why = reason or ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    part = f"; {limit:,} of them shown" if limit is not None and found > limit else ""
    say(f"{dataset.ref}: {found:,} left out{f': {why}' if why else ''}{part}")
