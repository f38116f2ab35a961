"""A file of JSON lines by hand or by another tool, read as records: every line that is none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from honed.errors import DataError
from honed.evaluate.suites.suite import reasons, summary
from honed.records import Fault, Record

Kind = TypeVar("Kind", bound=Record)


def read(path: Path, kind: type[Kind], what: str, hint: str) -> list[tuple[int, Kind]]:
    """Read lines as records of a kind, with their numbers; fields that it hasn't are left aside.

    ``what`` is what a line is called (``label``), ``hint`` says what it looks like. Raises ``DataError`` that names
    every line which is none, or if there is no line.
    """
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}", f"Check the path of the {what}s.") from error
    found: list[tuple[int, Kind]] = []
    faults: list[Fault] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append((number, _record(line, kind)))
        except DataError as error:
            field, _, message = error.message.partition(": ")
            faults.append(Fault(file=str(path), line=number, field=field, kind=what, message=message))
    if faults:
        raise DataError(summary(faults), hint)
    if not found:
        raise DataError(f"{path}: there are no {what}s", hint)
    return found


def _record(line: bytes, kind: type[Kind]) -> Kind:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"line: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError("line: not a JSON object")
    try:
        return kind.model_validate({name: value[name] for name in kind.model_fields if name in value})
    except ValidationError as error:
        raise DataError("; ".join(reasons(error))) from error
