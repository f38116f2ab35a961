"""The verifier ``json``: an answer that is JSON, valid by a schema, with the right fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from honed.evaluate.scorers.normal import normalised
from honed.evaluate.scorers.params import Params, read
from honed.records import Message, Score

_FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)```", re.DOTALL)
_STARTS = 20  # places where a value may begin that are tried
_NOTHING = object()


class Json(Params):
    """A ``json_schema`` (draft 2020-12, or that of its ``$schema``) to be valid by, and ``fields`` to be right.

    ``fields`` are the expected values by name, ``outer.inner`` for those within another; texts are compared but for
    case, punctuation and articles, numbers by value. ``alone``: nothing but the JSON is said.
    """

    json_schema: Mapping[str, Any] | None = Field(default=None, alias="schema")
    fields_: Mapping[str, Any] = Field(default={}, alias="fields")
    alone: bool = False

    @field_validator("json_schema")
    @classmethod
    def _valid(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if value is not None:
            from jsonschema import SchemaError, validators

            try:
                validators.validator_for(value, default=validators.Draft202012Validator).check_schema(value)
            except SchemaError as error:
                raise ValueError(f"not a JSON schema: {error.message}") from error
        return value

    @model_validator(mode="after")
    def _asks(self) -> Json:
        if self.json_schema is None and not self.fields_ and not self.alone:
            raise ValueError("it asks for nothing: give schema, fields or alone")
        return self


def verify(params: Mapping[str, Any], prompt: Sequence[Message], answer: str) -> Score:  # noqa: ARG001
    """Judge the JSON of ``answer``; its value is the share of fields that are right (if valid, and 0 if not).

    The whole answer is read, or else its last fenced block, or else the first object or list in it. Never raises on
    any answer; wrong parameters raise ``DataError``.
    """
    asked = read(Json, params, "json")
    value = found(answer, alone=asked.alone)
    if value is _NOTHING:
        return Score(passed=False, value=0.0, why=f"The answer {'is not JSON' if asked.alone else 'holds no JSON'}.")
    if asked.json_schema is not None and (fault := _invalid(asked.json_schema, value)):
        return Score(passed=False, value=0.0, why=f"Its JSON is not valid: {fault}.")
    wrong = [name for name, wanted in asked.fields_.items() if not _equal(_at(value, name), wanted)]
    if wrong:
        share = 1 - len(wrong) / len(asked.fields_)
        return Score(passed=False, value=share, why=f"Its JSON has not the right {', '.join(wrong)}.")
    return Score(passed=True, value=1.0, why="Its JSON is as asked for.")


def found(answer: str, *, alone: bool = False) -> Any:
    """Return the JSON value of an answer; a marker that equals nothing if there is none."""
    blocks = [] if alone else _FENCED.findall(answer)
    for text in (answer, *reversed(blocks)):
        value = _parsed(text)
        if value is not _NOTHING:
            return value
    if alone:
        return _NOTHING
    decoder = json.JSONDecoder(parse_constant=_constant)
    for hit in list(re.finditer(r"[{\[]", answer))[:_STARTS]:
        try:
            return decoder.raw_decode(answer, hit.start())[0]
        except (ValueError, RecursionError):
            continue
    return _NOTHING


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError):
        return _NOTHING


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _invalid(schema: Mapping[str, Any], value: Any) -> str:
    """Return the first fault of a value, or nothing. A reference to another document is never fetched."""
    from jsonschema import exceptions, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        fault = exceptions.best_match(kind(schema, registry=Registry()).iter_errors(value))
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which isn't in it"
    except RecursionError:
        return "it is nested too deep"
    if fault is None:
        return ""
    place = ".".join(map(str, fault.absolute_path))
    return f"{f'{place}: ' if place else ''}{fault.message[:200]}"


def _at(value: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _NOTHING
        value = value[part]
    return value


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return normalised(found) == normalised(wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, list) and isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(_equal, found, wanted))
    return bool(found == wanted)
