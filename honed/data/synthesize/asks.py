"""The kinds of rows that an error analysis asks for: by which method each is made, of which seeds, and how many.

Of the document only names are used: tags, verifier, constraint, language, counts. Neither a held-out row nor what a
verifier said of an answer goes any further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from honed import registry
from honed.data.language import language
from honed.data.synthesize import seeds
from honed.data.synthesize.config import Method, SynthesizeConfig
from honed.data.synthesize.methods.constrain import ALONE
from honed.errors import DataError
from honed.records import Conversation, RowsWanted, WantedRows


@dataclass(frozen=True)
class Ask:
    """One kind: its name, the settings that make it alone, and which training rows it can start from.

    ``why_not`` says why no rows of it can be asked for, or nothing.
    """

    kind: str
    wanted: WantedRows
    settings: SynthesizeConfig
    fits: Callable[[Conversation], bool]
    why_not: str = ""


def read(path: Path) -> RowsWanted:
    """Read ``errors.json``. Raises ``DataError`` if it isn't such a document, or asks for nothing."""
    hint = "It is what honed errors EVAL writes."
    try:
        found = RowsWanted.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise DataError(f"{path}: {field}: {first['msg'][:1].lower()}{first['msg'][1:]}", hint) from error
    if not found.wanted:
        raise DataError(f"{path}: {found.evaluation} asks for no rows: nothing of it fails", "There is nothing to do.")
    return found


def asks(document: RowsWanted, config: SynthesizeConfig) -> list[Ask]:
    """Return the kinds of a document in its order; together they are asked for ``config.rows`` rows."""
    counts = shares([one.count for one in document.wanted], config.rows)
    return [_ask(one, count, config) for one, count in zip(document.wanted, counts, strict=True)]


def shares(counts: Sequence[int], rows: int) -> list[int]:
    """Divide ``rows`` as ``counts`` are to each other: whole numbers, what is left over to the largest remainders."""
    whole = sum(counts)
    found = [rows * count // whole for count in counts]
    by_rest = sorted(range(len(counts)), key=lambda place: (-(rows * counts[place] % whole), place))
    for place in by_rest[: rows - sum(found)]:
        found[place] += 1
    return found


def kind(wanted: WantedRows) -> str:
    """Return the name of a kind."""
    tags = [f"{tag} {value}" for tag, value in wanted.tags.items() if tag != "language" or not wanted.language]
    spoken = [f"language {wanted.language}"] if wanted.language else []
    if wanted.constraint:
        return f"{wanted.verifier} {wanted.constraint}"
    return ", ".join([*tags, *spoken]) or wanted.verifier


def _ask(wanted: WantedRows, count: int, config: SynthesizeConfig) -> Ask:
    family = wanted.verifier in registry.names("instructions")
    method: Method = "constrain" if family else "paraphrase" if wanted.verifier else "self-instruct"
    update: dict[str, object] = {"method": method, "wanted": None, "against": (), "rows": max(1, count)}
    if family:
        update |= {"families": (wanted.verifier,), "constraint": wanted.constraint}
    fits = partial(_of_kind, wanted, anything=bool(family and wanted.constraint))
    why_not = _why_not(wanted, family=family) or ("" if count else f"{config.rows} rows are too few for all kinds")
    return Ask(kind(wanted), wanted, config.model_copy(update=update), fits, why_not)


def _why_not(wanted: WantedRows, *, family: bool) -> str:
    if family and wanted.constraint:
        if wanted.constraint not in registry.get("instructions", wanted.verifier).table:
            return f"{wanted.verifier} has no such constraint here"
        if wanted.constraint.partition(":")[0] in ALONE:
            return "it is a request of its own, and can't be added to another"
    if not (wanted.tags or wanted.verifier or wanted.language):
        return "the document names neither tags nor a verifier nor a language"
    return ""


def _of_kind(wanted: WantedRows, row: Conversation, *, anything: bool) -> bool:
    """Whether a row can be a seed. A constraint of a family makes the kind by itself: any row will do."""
    if anything:
        return True
    if any(row.tags.get(tag) != value for tag, value in wanted.tags.items()):
        return False
    if wanted.language and wanted.language not in (row.tags.get("language"), language(seeds.request(row))):
        return False
    if not wanted.verifier or wanted.verifier in registry.names("instructions"):
        return True
    return row.check is not None and row.check.verifier == wanted.verifier and _has(row, wanted.constraint)


def _has(row: Conversation, constraint: str) -> bool:
    """Whether a row's check asks for a constraint, as error analysis names it: a parameter, perhaps with its value."""
    assert row.check is not None
    given = ((name.replace("_", " "), value) for name, value in row.check.params.items() if value is not None)
    return not constraint or any(constraint in (name, f"{name} {value}") for name, value in given)
