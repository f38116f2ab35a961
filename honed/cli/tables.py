"""Plain aligned columns, for a terminal, a pipe and a test alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from unicodedata import category


def columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return the rows under the header, each column as wide as its widest cell, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Return ``name  value`` lines with the values aligned."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}".rstrip() for name, value in pairs)


def moment(when: float) -> str:
    """Return a time stamp (seconds since the epoch) as local time, to the second; nothing for 0."""
    return datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S") if when else ""


def bytes_(count: float) -> str:
    """Return a count of bytes as ``3.2 GB`` (10^9) and the like."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def clock(seconds: float) -> str:
    """Return ``seconds`` as ``42 s``, ``3:05`` or ``2:03:05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def plain(text: str) -> str:
    """Return ``text`` with its control characters but line ends and tabs made visible: a terminal would obey them."""
    return "".join(char if char in "\n\t" or category(char) != "Cc" else _shown(char) for char in text)


def _shown(char: str) -> str:
    return chr(0x2400 + ord(char)) if ord(char) < 32 else "\ufffd"


def short(value: object, limit: int = 100) -> str:
    """Return ``value`` as text, cut after ``limit`` characters; control characters are made visible."""
    text = plain(str(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
