"""What an evaluation measures with, kept out of the rows that are made because of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from honed.data.curate.decontaminate import Decontaminate, Evaluated, found
from honed.data.curate.evaluation import evaluation_rows, suites
from honed.data.curate.row import Row, Turn
from honed.data.curate.view import View
from honed.errors import DataError
from honed.records import Conversation, RowsWanted
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

_SUITES = "suite"
_HARNESSES = ("lm-eval", "inspect")
"""How an evaluation's ``data`` begins if it isn't a dataset; names follow, with commas between them."""


class Screen:
    """Evaluation sets as the step ``decontaminate`` sees them, with its own limits. ``seeds`` is any dataset at hand.

    Raises as ``evaluation_rows`` does.
    """

    def __init__(self, seeds: Artifact, against: Sequence[str]) -> None:
        self._settings = Decontaminate()
        rows = evaluation_rows(View(seeds), against)
        self._sets = Evaluated(rows, self._settings.report_at, self._settings.common)

    @property
    def rows(self) -> int:
        """How many rows are kept out."""
        return len(self._sets.rows)

    def held(self, rows: Sequence[Conversation]) -> dict[int, str]:
        """Return the places of the rows that hold a part of an evaluation, each with what it holds."""
        read = (
            Row(place, row.id, tuple(Turn(turn.role, turn.content) for turn in row.messages))
            for place, row in enumerate(rows)
        )
        return {one.number: one.what for one in found(self._sets, self._settings, read) if one.action == "drop"}


def against(workspace: Workspace, document: RowsWanted, more: Sequence[str]) -> tuple[str, ...]:
    """Return the evaluation sets that made rows must be kept apart from: those of the evaluation, and ``more``.

    Raises ``StoreError`` if the evaluation's dataset isn't here, ``DataError`` if it is another one of that name or
    its suite can't be found: rows that can't be compared are not made.
    """
    kind, _, named = document.data.partition(" ")
    if named and kind in _HARNESSES:
        raise DataError(
            f"{document.evaluation} measured with {document.data}, whose text honed can't keep out of rows",
            "Make rows for an evaluation on a dataset or a suite: its text is at hand.",
        )
    if not named or kind != _SUITES:
        dataset = artifacts.resolve(workspace, "datasets", document.data)
        if dataset.manifest.hash != document.data_hash:
            raise DataError(
                f"{document.evaluation} measured another {document.data} than the one of this workspace",
                "Make rows where the evaluation was made: they must be kept apart from what it measures with.",
            )
        own = (dataset.ref,) if document.split == "heldout" else ()
        return tuple(dict.fromkeys([*own, *more]))
    folders = {_name(Path(str(folder))): str(folder) for folder in suites()}
    folders |= {_name(Path(one)): one for one in more if (Path(one) / "manifest.json").is_file()}
    names = named.split(", ")
    if missing := [name for name in names if name not in folders]:
        raise DataError(
            f"{document.evaluation} measured with the suite {missing[0]!r}, which isn't one of ours",
            "Name its folder, so that its text is kept out: --set against=[FOLDER]",
        )
    return tuple(dict.fromkeys([*(folders[name] for name in names), *more]))


def _name(folder: Path) -> str:
    try:
        return str(orjson.loads((folder / "manifest.json").read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a suite that can be read: {error}", "See: honed evaluate --help") from error
