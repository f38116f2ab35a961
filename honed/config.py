"""Settings: YAML and ``--set stage.key=value`` overrides become one strict, frozen model.

Every field of a stage's model carries a description, which feeds the check, ``--help``, the REST schema, the web
form and the docs. An unknown key is an error that names ours for it, or the nearest; nothing is ever read with a silent
default, nor is one of two values taken where a key stands twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from honed.errors import ConfigError


class Config(BaseModel):
    """Base of every stage's settings: frozen, unknown keys refused.

    ``synonyms`` are what others call a setting, and what that is here: ``setting``, ``setting: value``,
    ``group.setting`` (by which words inside the group are answered too), or the command that it is asked for by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    synonyms: ClassVar[Mapping[str, str]] = {}


C = TypeVar("C", bound=Config)


def load(model: type[C], stage: str, path: Path | None, sets: Sequence[str], flags: Mapping[str, Any]) -> C:
    """Return the settings of ``stage`` from a YAML file, then ``--set`` overrides, then flags that were given.

    ``sets`` are ``key=value`` or ``stage.key=value`` strings whose values are YAML; ``key.inner=value`` sets one key of
    a setting that has keys itself. Raises ``ConfigError`` for a
    missing or malformed file, a key that stands twice, an unknown one (naming ours for it, or the nearest) or a value
    out of range.
    """
    values = given(model, stage, sets, _read(path, stage) if path else {})
    values.update({key: value for key, value in flags.items() if value is not None})
    return build(model, values, str(path) if path else stage)


def given(
    model: type[Config], stage: str, sets: Sequence[str], values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return ``values`` with ``--set`` overrides put in; what they mean together is for ``build`` to say.

    Raises ``ConfigError`` for one that has no value, or whose value isn't YAML.
    """
    found = dict(values or {})
    for item in sets:
        key, eq, value = item.partition("=")
        if not eq:
            raise ConfigError(f"--set {item}: there is no '='", f"Write --set {stage}.KEY=VALUE.")
        _place(model, found, key.removeprefix(f"{stage}."), _parse(value, f"--set {item}"))
    return found


def build(model: type[C], values: Mapping[str, Any], where: str) -> C:
    """Return ``model(**values)``, or raise ``ConfigError`` that says which key of ``where`` is wrong and why."""
    for key in values:
        if key not in model.model_fields:
            raise _unknown(model, str(key), str(key), where, model.synonyms.get(str(key)))
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _wrong(model, error, where) from error


def _wrong(model: type[Config], error: ValidationError, where: str) -> ConfigError:
    """Say the first thing that is wrong, in the words of the field that it is about."""
    first = error.errors()[0]
    loc = first["loc"]
    key = ".".join(str(part) for part in loc) or "settings"
    home, name = _innermost(model, loc)
    if first["type"] == "extra_forbidden":
        ours, group = model.synonyms.get(name, ""), f"{loc[0]}."
        return _unknown(home, name, key, where, ours.removeprefix(group) if ours.startswith(group) else None)
    given = f", not {first['input']!r}" if loc and not isinstance(first["input"], Mapping) else ""
    field = home.model_fields.get(name)
    hint = f"{name}: {field.description}" if field and field.description else ""
    message = first["msg"].removeprefix("Value error, ")
    what = "this setting is required" if first["type"] == "missing" else f"{message}{given}"
    return ConfigError(f"{where}: {key}: {what}", hint)


def _unknown(model: type[BaseModel], name: str, key: str, where: str, ours: str | None) -> ConfigError:
    message = f"{where}: unknown key {key!r}"
    if ours:
        home, last = _innermost(model, ours.partition(":")[0].split("."))
        field = home.model_fields.get(last)
        return ConfigError(message, f"Here it is {ours!r}{f': {field.description}' if field else '.'}")
    near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.7)
    known = ", ".join(sorted(model.model_fields))
    return ConfigError(message, f"Did you mean {near[0]!r}?" if near else f"Known keys: {known}.")


def _innermost(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[type[BaseModel], str]:
    """Return the model that holds (or lacks) the field that ``loc`` leads to, and the field's name."""
    name = ""
    for part in loc:
        if isinstance(part, int):
            continue
        if name:
            inner = _nested(model.model_fields[name].annotation) if name in model.model_fields else None
            if inner is None:
                break
            model = inner
        name = part
    return model, name


def _nested(annotation: Any) -> type[BaseModel] | None:
    """Return the first model inside an annotation such as ``tuple[Inner, ...]``, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _nested(inner))), None)


def _place(model: type[BaseModel] | None, values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``outer.inner`` inside the mapping ``outer``; a key whose first part names no setting stays whole."""
    outer, dot, rest = key.partition(".")
    inner = values.get(outer)
    if not dot or (model and outer not in model.model_fields) or not isinstance(inner, dict | None):
        values[key] = value
        return
    values[outer] = dict(inner or {})
    _place(None, values[outer], rest, value)


def described(model: type[Config], within: str = "") -> list[tuple[str, str, str]]:
    """Return every setting of a stage as it is written, its default and what it means; nested ones one by one."""
    found: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        inner = _nested(field.annotation)
        if inner is not None and issubclass(inner, Config):
            found += described(inner, f"{within}{name}.")
            continue
        default = "" if field.default is None or field.is_required() else yaml.safe_dump(field.default).split("\n")[0]
        choice = ", ".join(_values(field.annotation))
        found.append(
            (f"{within}{name}", default, "; ".join(filter(None, (field.description, choice and f"one of {choice}"))))
        )
    return found


def _values(annotation: Any) -> list[str]:
    """The words that an annotation allows, and the two of a switch beside them."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return [str(value) for value in inner]
    words = [word for part in inner for word in _values(part)]
    return [*words, "true", "false"] if words and bool in inner else words


def save(config: Config, path: Path) -> None:
    """Write the resolved settings as YAML, in the order of the model's fields."""
    path.write_text(text(config), encoding="utf-8")


def text(config: Config) -> str:
    """Return what ``save`` writes."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read(model: type[C], path: Path) -> C:
    """Read settings that ``save`` wrote."""
    return build(model, _mapping(path), str(path))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "Check the path of the settings file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", "Write one 'key: value' a line, as UTF-8.") from error
    values = {} if (parsed := _parse(text, str(path))) is None else parsed
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: the settings are not 'key: value' lines", "Write one 'key: value' a line.")
    return values


def _read(path: Path, stage: str) -> dict[str, Any]:
    """Settings may stand at the top of the file or under the stage's own name."""
    values = _mapping(path)
    inner = values.get(stage)
    return dict(inner) if isinstance(inner, dict) and len(values) == 1 else values


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        if isinstance(error, _RepeatedKeyError):
            raise ConfigError(f"{where}{line}: {error.problem}", "Leave one of the two.") from error
        raise ConfigError(f"{where}{line}: not YAML: {getattr(error, 'problem', error)}", "Mend that line.") from error


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A key stands twice in a mapping, which YAML forbids and PyYAML doesn't mind: it keeps the last."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as the number that users mean; YAML 1.1 asks for ``1.0e-4``."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Return the mapping as it is written, before others are merged into it."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if first := lines.get(named := (key.tag, key.value)):
                    problem = f"the key {key.value!r} stands twice, first in line {first}"
                    raise _RepeatedKeyError(problem=problem, problem_mark=key.start_mark)
                lines[named] = line
        return node


class _Dumper(yaml.SafeDumper):
    """Its counterpart, which puts the text ``1e-4`` in quotes."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+\Z"), list("-+.0123456789")
    )
