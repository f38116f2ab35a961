"""A dataset as a file in the shape that other tools read, and what that shape can't hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedWriter
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from honed.data.formats import Format
from honed.data.forms import annotation, chat, pairs, single, trees
from honed.data.forms.held import Form, Record, Tally
from honed.data.sources.row import as_json
from honed.errors import DataError, StoreError
from honed.records import Split
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import writing

FORMATS: Mapping[Format, Form] = {
    "messages": chat.MESSAGES,
    "sharegpt": chat.SHAREGPT,
    "alpaca": single.ALPACA,
    "dolly": single.DOLLY,
    "prompt-response": single.PROMPT_RESPONSE,
    "prompt-completion": single.PROMPT_COMPLETION,
    "oasst": trees.OASST,
    "seed-tasks": single.SEED_TASKS,
    "dpo": pairs.DPO,
    "llama-factory": pairs.LLAMA_FACTORY,
    "hh-rlhf": pairs.HH,
    "kto": pairs.KTO,
    "label-studio": annotation.LABEL_STUDIO,
    "argilla": annotation.ARGILLA,
}


@dataclass(frozen=True)
class Exported:
    """How many records were written in how many rows, how often what was left out why, and what the rest lost.

    ``listing`` is the file that holds those left out, each with its reason, if there are any.
    """

    written: int
    rows: int
    left_out: Mapping[str, int]
    lost: Mapping[str, int]
    listing: Path | None = None


def export(dataset: Artifact, form: Format, path: Path, split: Split | Literal["all"]) -> Exported:
    """Write the records of ``split`` that the shape holds to ``path``: an array if it is named .json, else JSON lines.

    Those that it can't hold go to ``<path>.left-out.jsonl``, each with its reason. Raises ``DataError`` if there is
    none, ``StoreError`` if the file is there already or can't be written.
    """
    with _listing(path.with_name(f"{path.name}.left-out.jsonl")) as listing:
        return _exported(dataset, form, path, split, listing)


def _exported(
    dataset: Artifact, form: Format, path: Path, split: Split | Literal["all"], listing: _Listing
) -> Exported:
    tally = Tally(listed=listing.add)
    array = path.suffix == ".json" or (FORMATS[form].array and path.suffix != ".jsonl")
    stream = FORMATS[form].rows(_records(dataset, split), tally)
    first = next(stream, None)
    if first is None:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.left_out.items()) or f"no {split} rows"
        raise DataError(f"{dataset.ref}: nothing can be written as {form}: {reasons}", _instead(dataset))
    rows = written(path, chain([first], stream), array=array)
    return Exported(tally.written, rows, tally.left_out, tally.lost, listing.path if tally.left_out else None)


class _Listing:
    """The file of what is left out, opened when there is something."""

    def __init__(self, path: Path, open_files: ExitStack) -> None:
        self.path, self.scratch = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._open = open_files
        self._file: BufferedWriter | None = None

    def add(self, record: Record, reason: str) -> None:
        """Write a record that is left out."""
        if self._file is None:
            self._file = self._open.enter_context(self.scratch.open("wb"))
        self._file.write(as_json({"reason": reason, "row": record.model_dump(mode="json")}) + b"\n")


@contextmanager
def _listing(path: Path) -> Iterator[_Listing]:
    """Yield a list that becomes a file if all goes well and something is in it."""
    with writing(path), ExitStack() as open_files:
        listing = _Listing(path, open_files)
        try:
            yield listing
            open_files.close()
            if listing.scratch.exists():
                listing.scratch.replace(path)
        finally:
            listing.scratch.unlink(missing_ok=True)


def _instead(dataset: Artifact) -> str:
    """Say which formats hold what a dataset has."""
    facts = dataset.manifest.facts
    chat = ["messages", "sharegpt"] if facts["train"] + facts["heldout"] else []
    judged = [name for name, part in (("dpo", "preferences"), ("kto", "ratings")) if facts.get(part)]
    return f"It can be written as {', '.join([*chat, *judged, 'label-studio', 'argilla'])}; see --split as well."


def _records(dataset: Artifact, split: Split | Literal["all"]) -> Iterator[Record]:
    splits: tuple[Split, ...] = ("train", "heldout") if split == "all" else (split,)
    for one in splits:
        yield from datasets.rows(dataset, one)
    if "train" in splits:
        yield from datasets.preferences(dataset)
        yield from datasets.ratings(dataset)


def written(path: Path, rows: Iterable[Mapping[str, Any]], *, array: bool) -> int:
    """Write rows to a file that isn't there yet, whole or not at all, and return how many.

    Raises ``StoreError`` if it is there, or can't be written.
    """
    if path.exists():
        raise StoreError(f"{path}: there is a file already", "Name another, or remove it.")
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    with writing(path):
        try:
            with scratch.open("wb") as file:
                for row in rows:
                    file.write((b"[\n" if count == 0 else b",\n") if array else b"")
                    file.write(as_json(row))
                    file.write(b"" if array else b"\n")
                    count += 1
                if array:
                    file.write(b"\n]\n" if count else b"[]\n")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    return count
