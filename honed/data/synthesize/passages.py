"""Documents as passages: text and Markdown files, cut between paragraphs, each with the headings it is under."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from honed.errors import DataError

KINDS = (".txt", ".md", ".markdown")
_HEADING = re.compile(r"(#{1,6})\s+(.+)")
_LEAST_WORDS = 20
_LARGEST = 64 * 2**20


class Passage(NamedTuple):
    """A part of a document: the file's name, its number in the file from 1, and the text."""

    file: str
    number: int
    text: str


def files(names: Sequence[str]) -> list[Path]:
    """Return the documents that files and folders stand for, sorted. Raises ``DataError`` if one stands for none."""
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        here = [one for one in sorted(path.rglob("*")) if one.suffix.lower() in KINDS] if path.is_dir() else [path]
        if not here:
            raise DataError(f"{name}: no document in this folder", f"Documents are files named {', '.join(KINDS)}.")
        for one in here:
            if not one.is_file():
                raise DataError(f"{one}: there is no such document", "Check the path.")
            if one.suffix.lower() not in KINDS:
                raise DataError(f"{one}: this is no text document", f"Documents are files named {', '.join(KINDS)}.")
        found += here
    return list(dict.fromkeys(path.resolve() for path in found))


def passages(path: Path, size: int) -> Iterator[Passage]:
    """Yield the passages of a document, of about ``size`` words. Raises ``DataError`` if it can't be read as text."""
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: larger than {_LARGEST // 2**20} MiB", "Split it.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        what = f"{path}: not UTF-8 text, from byte {error.start} on"
        raise DataError(what, "Save it as UTF-8.") from error
    if "\0" in text:
        raise DataError(f"{path}: NUL bytes: this is no text", "Save it as text in UTF-8.")
    number = 0
    for passage in _cut(text, size):
        if len(passage.split()) >= _LEAST_WORDS:
            number += 1
            yield Passage(path.name, number, passage)


def _cut(text: str, size: int) -> Iterator[str]:
    headings: list[str] = []
    held: list[str] = []
    words = 0
    for block in re.split(r"\n\s*\n", text):
        block = block.strip("\n")
        if heading := _HEADING.fullmatch(block.strip()):
            yield from _said(headings, held)
            headings = [*headings[: len(heading[1]) - 1], heading[2]]
            held, words = [], 0
            continue
        for part in _parts(block, size):
            count = len(part.split())
            if held and words + count > size:
                yield from _said(headings, held)
                held, words = [], 0
            held.append(part)
            words += count
    yield from _said(headings, held)


def _said(headings: Sequence[str], held: Sequence[str]) -> Iterator[str]:
    text = "\n\n".join(held).strip()
    if text:
        yield f"{' > '.join(headings)}\n\n{text}" if headings else text


def _parts(block: str, size: int) -> Iterator[str]:
    """Yield a paragraph, or the sentences of one that is too long, joined to about ``size`` words."""
    if len(block.split()) <= size:
        yield block
        return
    held: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", block):
        said = sentence.split()
        for start in range(0, len(said), size):
            piece = said[start : start + size]
            if held and len(held) + len(piece) > size:
                yield " ".join(held)
                held = []
            held += piece
    if held:
        yield " ".join(held)
