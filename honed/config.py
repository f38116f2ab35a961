"""Settings: YAML and ``--set stage.key=value`` overrides become one strict, frozen model.

Every field of a stage's model carries a description, which feeds the check, ``--help``, the REST schema, the web
form and the docs. An unknown key is an error that names the nearest; nothing is ever read with a silent default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from honed.errors import ConfigError


class Config(BaseModel):
    """Base of every stage's settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=Config)


def load(model: type[C], stage: str, path: Path | None, sets: Sequence[str], flags: Mapping[str, Any]) -> C:
    """Return the settings of ``stage`` from a YAML file, then ``--set`` overrides, then flags that were given.

    ``sets`` are ``key=value`` or ``stage.key=value`` strings whose values are YAML. Raises ``ConfigError`` for a
    missing or malformed file, an unknown key (naming the nearest) or a value out of range.
    """
    values = _read(path, stage) if path else {}
    for item in sets:
        key, eq, value = item.partition("=")
        if not eq:
            raise ConfigError(f"--set {item}: there is no '='", f"Write --set {stage}.KEY=VALUE.")
        values[key.removeprefix(f"{stage}.")] = _parse(value, f"--set {item}")
    values.update({key: value for key, value in flags.items() if value is not None})
    return build(model, values, str(path) if path else stage)


def build(model: type[C], values: Mapping[str, Any], where: str) -> C:
    """Return ``model(**values)``, or raise ``ConfigError`` that says which key of ``where`` is wrong and why."""
    for key in values:
        if key not in model.model_fields:
            near = difflib.get_close_matches(str(key), model.model_fields, n=1, cutoff=0.5)
            known = ", ".join(sorted(model.model_fields))
            raise ConfigError(
                f"{where}: unknown key {key!r}", f"Did you mean {near[0]!r}?" if near else f"Known keys: {known}."
            )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        given = f", not {first['input']!r}" if first["loc"] else ""
        field = model.model_fields.get(str(first["loc"][0])) if first["loc"] else None
        hint = f"{key}: {field.description}" if field and field.description else ""
        what = "this setting is required" if first["type"] == "missing" else f"{first['msg']}{given}"
        raise ConfigError(f"{where}: {key}: {what}", hint) from error


def save(config: Config, path: Path) -> None:
    """Write the resolved settings as YAML, in the order of the model's fields."""
    path.write_text(yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read(model: type[C], path: Path) -> C:
    """Read settings that ``save`` wrote."""
    return build(model, _mapping(path), str(path))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
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
        raise ConfigError(f"{where}{line}: not YAML: {getattr(error, 'problem', error)}", "Mend that line.") from error


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as the number that users mean; YAML 1.1 asks for ``1.0e-4``."""


class _Dumper(yaml.SafeDumper):
    """Its counterpart, which puts the text ``1e-4`` in quotes."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+\Z"), list("-+.0123456789")
    )
