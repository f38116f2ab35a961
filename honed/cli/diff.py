"""``honed data diff A B``: what differs between two datasets, or two versions of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import emit_json, json_option, workspace_option
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.data.diff import Diff
    from honed.store.artifacts import Artifact

_WIDE = 100
_MOST = 12


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--rows", type=click.IntRange(min=0), default=3, show_default=True, help="Examples of each kind to show.")
@workspace_option
@json_option
def diff(one: str, other: str, rows: int, workspace: Workspace, as_json: bool) -> None:
    """Say what B has that A has not, and the other way round: rows, answers, tags, splits, origins.

    Rows are equal if their turns are; a prompt that both have with another answer is a changed answer. Preferences and
    ratings are counted too.

    \b
    honed data diff support@v1 support@v2
    honed data diff support support-clean --json
    """
    from honed.data import diff as differ
    from honed.store import artifacts

    before, after = (artifacts.resolve(workspace, "datasets", name) for name in (one, other))
    found = differ.diff(before, after)
    if as_json:
        emit_json(_document(found, before, after))
        return
    click.echo(_shown(found, before, after))
    for text in _examples(found, before, after, rows):
        click.echo(text)


def _document(found: Diff, before: Artifact, after: Artifact) -> dict[str, Any]:
    from honed.data import diff as differ

    def ids(numbers: list[int]) -> list[str]:
        return [f"{number:016x}" for number in numbers]

    return {
        "before": before.ref,
        "after": after.ref,
        "same": found.same,
        "added": ids(found.added),
        "removed": ids(found.removed),
        "changed_answers": [ids(list(pair)) for pair in found.answers],
        "moved": ids(found.moved),
        "retagged": ids(found.retagged),
        "tags": found.tags,
        **{
            part: {"same": some.same, "added": ids(some.added), "removed": ids(some.removed)}
            for part, some in found.others.items()
        },
        "counts": {
            "before": differ.counts(found.one),
            "after": differ.counts(found.other),
        },
        **differ.origins(before, after),
    }


def _shown(found: Diff, before: Artifact, after: Artifact) -> str:
    from honed.cli.tables import columns, facts
    from honed.data import diff as differ

    def split(ids: list[int], rows: Any) -> str:
        held = sum(rows[id_].split == "heldout" for id_ in ids)
        return f"{len(ids):,}" + (f", {held:,} of them held out" if held else "")

    lines = [
        ("rows in both", f"{found.same:,}"),
        ("added", split(found.added, found.other)),
        ("removed", split(found.removed, found.one)),
        ("changed answers", split([pair.after for pair in found.answers], found.other)),
        ("other split", f"{len(found.moved):,}"),
        ("other tags", f"{len(found.retagged):,}"),
    ]
    for part, some in found.others.items():
        numbers = (("in both", some.same), ("added", len(some.added)), ("removed", len(some.removed)))
        lines += [(f"{part} {what}", f"{number:,}") for what, number in numbers]
    said = [f"{before.ref} -> {after.ref}", facts(lines)]
    if found.tags:
        header = ("tag", "rows that got it", "lost it", "other value")
        cells = [
            (tag, *(how.get(one, 0) for one in ("added", "removed", "changed"))) for tag, how in found.tags.items()
        ]
        said.append(columns(header, cells))
    one, two = differ.counts(found.one), differ.counts(found.other)
    cells = []
    for tag in dict.fromkeys([*one, *two]):
        was, now = one.get(tag, {}), two.get(tag, {})
        values = sorted({*was, *now}, key=lambda value: -was.get(value, 0) - now.get(value, 0))
        for value in values[:_MOST]:
            change = now.get(value, 0) - was.get(value, 0)
            cells.append((f"{tag}: {_line(value, 40)}", was.get(value, 0), now.get(value, 0), f"{change:+,}"))
        if rest := values[_MOST:]:
            cells.append(
                (f"{tag}: {len(rest):,} more", *(sum(one_.get(value, 0) for value in rest) for one_ in (was, now)), "")
            )
    said.append(columns(("rows by", before.ref, after.ref, "change"), cells))
    origins = differ.origins(before, after)
    parents = origins["parents"]
    if parents["before"] != parents["after"]:
        said.append(
            facts([(f"parents of {one.ref}", ", ".join(one.manifest.parents) or "none") for one in (before, after)])
        )
    return "\n\n".join(said)


def _examples(found: Diff, before: Artifact, after: Artifact, rows: int) -> list[str]:
    from honed.data import diff as differ

    pairs = found.answers[:rows]
    old = differ.texts(before, [*found.removed[:rows], *(pair.before for pair in pairs)])
    new = differ.texts(after, [*found.added[:rows], *(pair.after for pair in pairs)])
    said = []
    for pair in pairs:
        asked = _line(old[pair.before].prompt[-1].content, _WIDE)
        said.append(f"\nanswer to {asked!r}")
        said.append(f"  - {_line(old[pair.before].answer, _WIDE)}\n  + {_line(new[pair.after].answer, _WIDE)}")
    for sign, ids, texts in (("-", found.removed, old), ("+", found.added, new)):
        for id_ in ids[:rows]:
            row = texts[id_]
            said.append(f"\n{sign} {_line(row.prompt[-1].content, _WIDE)}\n    {_line(row.answer, _WIDE)}")
    return said


def _line(text: str, most: int) -> str:
    """Return a text on one line."""
    from honed.cli.tables import short

    return short(" ".join(text.split()), most)
