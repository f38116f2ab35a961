"""What the documents say can be done: every command line parses, every setting exists, every link leads somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from honed import __version__
from honed.cli import main
from tests.house.test_settings import _COMMANDS, _model
from tests.house.tree import ROOT, files, name_of, parsed, python_files

_DOCUMENTS = [path for path in files() if path.suffix == ".md"]
_LINE = re.compile(r"^\s*(?:\$ )?(honed [^\n]*?)\s*$", re.MULTILINE)
_INLINE = re.compile(r"`(honed [^`\n]+)`")


def _command_lines() -> Iterator[tuple[str, str]]:
    for path in _DOCUMENTS:
        text = path.read_text()
        blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in _LINE.findall(block.replace("\\\n", " "))]
        for line in (*lines, *_INLINE.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))):
            yield name_of(path), line


def _parse(line: str) -> None:
    """Walk the command tree along ``line``; raise what the command line would raise. ``...`` stands for more."""
    words = shlex.split(re.split(r"\s(?:#|\||&&|>|;)\s?", line)[0])[1:]
    words = [word.strip("[]") for word in words if word not in ("...", "…")]
    command: click.Command = main.cli
    path: list[str] = []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command, info_name="honed")
        _, found, words = command.resolve_command(context, words)
        assert found is not None, line
        command, path = found, [*path, str(found.name)]
    given, _, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    stage = {tuple(value): key for key, value in _COMMANDS.items()}.get(tuple(_names(line, len(path))))
    for item in given.get("sets", ()):
        assert stage, line
        key = item.partition("=")[0].removeprefix(f"{stage}.")
        assert key in _model(stage).model_fields, f"{line}: there is no setting {key}"


def _names(line: str, count: int) -> list[str]:
    return line.split()[1 : 1 + count]


def test_every_command_line_of_the_documents_parses() -> None:
    for document, line in _command_lines():
        try:
            _parse(line)
        except click.UsageError as error:
            pytest.fail(f"{document}: {line}: {error.format_message()}")


@pytest.mark.parametrize(
    "line", ["honed zebra", "honed train --zebra", "honed train --set zebra=1", "honed jobs zebra"]
)
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        _parse(line)


def _messages() -> Iterator[tuple[str, str]]:
    """Every text in the code that isn't a docstring, with its place."""
    for path in python_files("honed"):
        docs = {id(node.value) for node in ast.walk(parsed(path)) if isinstance(node, ast.Expr)}
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                yield f"{name_of(path)}:{node.lineno}", node.value


def test_every_command_that_a_message_recommends_is_there() -> None:
    wrong = []
    for place, text in _messages():
        for first, second in re.findall(r"(?:: |`|-> |\| +)honed ([a-z-]+)(?: ([a-z]+)\b)?", text):
            command = main.cli.get_command(click.Context(main.cli), first)
            if command is None or (isinstance(command, click.Group) and second and second not in command.commands):
                wrong.append(f"{place}: honed {first} {second}")
    assert wrong == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = [
        f"{name_of(path)}: {target}"
        for path in _DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def _tree() -> set[Path]:
    """The files and folders that README.md's annotated tree names: two spaces a level, names before the remark."""
    text = re.search(r"^## The tree\n+```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert text, "README.md has no annotated tree"
    named: set[Path] = set()
    folders: list[str] = []
    for line in text[1].splitlines():
        folders = folders[: (len(line) - len(line.lstrip())) // 2]
        names = [word for word in line.split() if re.fullmatch(r"[\w./]*(\.\w+|/)|Makefile|check", word)]
        assert line.split()[0] in names, line
        leading = [name for name, word in zip(names, line.split(), strict=False) if name == word]
        named |= {ROOT.joinpath(*folders, name) for name in leading}
        if leading[-1].endswith("/"):
            folders.append(leading[-1])
    return named


def test_the_annotated_tree_names_what_is_there_and_nothing_else() -> None:
    named = _tree()
    assert [name_of(path) for path in named if not path.exists()] == []
    folders = {path for path in named if path.is_dir() and not any(path in other.parents for other in named)}
    modules = [path for path in python_files("honed") if path.name != "__init__.py"]
    left_out = [name_of(path) for path in modules if path not in named and not folders & set(path.parents)]
    assert left_out == []


def test_the_change_log_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_the_pins_satisfy_what_the_package_asks_for() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    asked = re.findall(r'^ {4}"([\w.-]+)>=', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(asked) > 10
    assert {name.lower() for name in asked} - pinned == set()
