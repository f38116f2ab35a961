"""A suite: a folder with a manifest and rows, each row a prompt and the check that judges its answer.

``manifest.json`` names the suite, where it is from, its licence and its file of rows, and may hold their number and
SHA-256 (of the text, unpacked). A row is a JSON line: ``prompt`` (a text, or messages), ``check``, and if wanted
``id``, ``tags`` and ``ideal``, an answer that passes.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, ValidationError, field_validator

from honed import registry
from honed.errors import ConfigError, DataError, HonedError
from honed.records import Check, Conversation, Fault, Message, Record, digest

MANIFEST = "manifest.json"
EMBEDDED = (
    "ifeval", "ifbench", "precision", "specificity", "context", "paraphrases", "twins", "audience", "knowledge",
    "formats", "safety", "sycophancy",
)  # fmt: skip
_SHOWN = 5  # faults that an error names


class Manifest(Record):
    """What a suite is. ``sha256`` is that of the rows' text; a count or a hash that is given must hold.

    ``max_tokens`` is the longest answer that the suite asks for, where nobody says another.
    """

    name: str
    title: str = ""
    source: str = ""
    licence: str = ""
    rows: str = "rows.jsonl"
    count: int | None = Field(default=None, ge=1)
    sha256: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)


class Row(Record):
    """One prompt of a suite. ``check`` says how its answer is judged; there is no row without one."""

    id: str = ""
    prompt: tuple[Message, ...] = Field(min_length=1)
    check: Check
    tags: Mapping[str, str] = {}
    ideal: str = ""

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_messages(cls, value: object) -> object:
        return ({"role": "user", "content": value},) if isinstance(value, str) else value

    @property
    def key(self) -> str:
        """What stored answers are matched by: the text of the prompt, or the messages of several as JSON."""
        return prompt_key(self.prompt)

    @property
    def conversation(self) -> Conversation:
        """The row as one that can be answered and judged like those of a dataset."""
        turns = (*self.prompt, Message(role="assistant", content=self.ideal))
        return Conversation(messages=turns, tags=self.tags, check=self.check)


@dataclass(frozen=True)
class Suite:
    """A suite that was read whole: every row has a check whose verifier and parameters are known."""

    manifest: Manifest
    rows: tuple[Row, ...]
    hash: str


def prompt_key(prompt: tuple[Message, ...]) -> str:
    """Return the text of a prompt of one user message, or JSON of who says what."""
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    return orjson.dumps([[message.role, message.content] for message in prompt]).decode()


def pinned(name: str) -> str:
    """Return what a job keeps of a suite's name: a path is made absolute. Raises ``ConfigError`` if there is none."""
    _folder(name)
    return name if name in EMBEDDED else str(Path(name).resolve())


def manifest(name: str) -> Manifest:
    """Return what a suite's manifest says. Raises as ``read`` does for one that isn't there or is wrong."""
    return _manifest(_folder(name), name)


def read(name: str) -> Suite:
    """Read an embedded suite by its name, or the one in a folder.

    Raises ``ConfigError`` if there is none, ``DataError`` naming file and line for what is wrong in it: a row without
    its verifier, an unknown verifier or instruction, two rows with one prompt. No row is ever skipped.
    """
    folder = _folder(name)
    said = _manifest(folder, name)
    content = _content(folder, said, name)
    hash_ = hashlib.sha256(content).hexdigest()
    where = f"{name}/{said.rows}"
    if said.sha256 not in (None, hash_):
        raise DataError(f"{where}: the rows are not those of the manifest", "Restore them, or mend sha256.")
    rows: list[Row] = []
    faults: list[Fault] = []
    lines: dict[str, int] = {}
    ids: set[str] = set()
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except HonedError as error:
            faults.append(_fault(where, number, error))
            continue
        if row.key in lines:
            again = DataError(f"prompt: the same as in line {lines[row.key]}", "A prompt may occur once.")
            faults.append(_fault(where, number, again))
        lines.setdefault(row.key, number)
        named = row if row.id else row.model_copy(update={"id": digest(row.key)})
        if named.id in ids:
            faults.append(_fault(where, number, DataError(f"id: {named.id!r} occurs again", "An id may occur once.")))
        ids.add(named.id)
        rows.append(named)
    if faults:
        raise DataError(summary(faults), faults[0].hint)
    if said.count not in (None, len(rows)) or not rows:
        raise DataError(f"{where}: {len(rows)} rows, and the manifest says {said.count or 'nothing'}", "Mend one.")
    return Suite(said, tuple(rows), hash_[:16])


def summary(faults: list[Fault]) -> str:
    """Return the first faults as one line, and how many there are."""
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return "; ".join(map(str, faults[:_SHOWN])) + more


def reasons(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong, each as ``field: reason``."""
    for item in error.errors():
        place = ".".join(map(str, item["loc"])) or "row"
        yield f"{place}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _folder(name: str) -> Traversable:
    if name in EMBEDDED:
        return resources.files("honed.evaluate.suites").joinpath(name)
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        return folder
    near = difflib.get_close_matches(name, EMBEDDED, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Give a folder with {MANIFEST}, or one of {', '.join(EMBEDDED)}."
    raise ConfigError(f"there is no suite {name!r}", hint)


def _manifest(folder: Traversable, name: str) -> Manifest:
    try:
        return Manifest.model_validate_json(folder.joinpath(MANIFEST).read_bytes())
    except ValidationError as error:
        raise DataError(f"{name}/{MANIFEST}: {'; '.join(reasons(error))}", "Mend the manifest.") from error


def _content(folder: Traversable, manifest: Manifest, name: str) -> bytes:
    if Path(manifest.rows).name != manifest.rows:
        raise DataError(f"{name}/{MANIFEST}: rows: {manifest.rows!r} is not beside it", "Give the name of a file.")
    try:
        data = folder.joinpath(manifest.rows).read_bytes()
        return gzip.decompress(data) if manifest.rows.endswith(".gz") else data
    except (OSError, EOFError) as error:
        raise DataError(f"{name}/{manifest.rows}: can't be read: {error}", "Check the suite's folder.") from error


def _row(line: bytes) -> Row:
    """Return a row whose check can be used. Raises ``DataError`` or ``ConfigError`` whose message names the field."""
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"row: not JSON: {error}", "A row is one JSON object a line.") from error
    if not isinstance(value, dict):
        raise DataError("row: not a JSON object", "A row is one JSON object a line.")
    if not value.get("check"):
        hint = 'Every row of a suite needs one: "check": {"verifier": ..., "params": {...}}.'
        raise DataError("check: the row lacks its verifier", hint)
    try:
        row = Row.model_validate(value)
    except ValidationError as error:
        raise DataError("; ".join(reasons(error)), "Mend the row.") from error
    try:
        judge = registry.get("verifiers", row.check.verifier)
        if row.check.verifier in registry.names("instructions"):
            registry.get("instructions", row.check.verifier).read(row.check.params)
        else:
            judge(row.check.params, row.prompt, "ok")  # wrong parameters show at the first verdict
    except HonedError as error:
        raise type(error)(f"check: {error.message}", error.hint) from error
    except Exception as error:  # a verifier may be another package's
        what = f"check: the verifier {row.check.verifier!r} failed: {type(error).__name__}: {error}"
        raise DataError(what, "A verifier must judge any text: mend it, or the row's parameters.") from error
    return row


def _fault(file: str, line: int, error: HonedError) -> Fault:
    field, _, message = error.message.partition(": ")
    return Fault(file=file, line=line, field=field, kind="row", message=message, hint=error.hint)
