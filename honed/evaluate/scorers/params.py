"""The parameters of a scorer: one strict record each, read with errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from honed.errors import DataError


class Params(BaseModel):
    """Base of all: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Params)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
"""A list of texts, or a single one."""


def read(kind: type[P], params: Mapping[str, Any], verifier: str) -> P:
    """Return ``params`` as a record. Raises ``DataError`` naming every field that is wrong."""
    try:
        return kind.model_validate(dict(params))
    except ValidationError as error:
        faults = "; ".join(_fault(item["loc"], item["type"], item["msg"]) for item in error.errors())
        known = ", ".join(field.alias or name for name, field in kind.model_fields.items())
        raise DataError(f"the verifier {verifier!r}: {faults}", f"Known: {known}.") from error


def _fault(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return f"there is no parameter {name!r}"
    if kind == "missing":
        return f"it lacks the parameter {name!r}"
    said = message.removeprefix("Value error, ")
    return f"{name}{': ' if name else ''}{said[:1].lower()}{said[1:]}"
