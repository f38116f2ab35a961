"""``honed chat MODEL [--against OTHER]``: talk to a model, and keep the turns worth training on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import honed  # its public names load when they are used, so --help needn't wait for pydantic
from honed.cli.options import emit_json, json_option, say
from honed.cli.tables import plain
from honed.errors import HonedError, StoreError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace, writing

if TYPE_CHECKING:
    from honed.models.engine import Engine, Sampling
    from honed.records import Message

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_HELP = """\
/save [NAME]   keep the last turn as a training row of saved/NAME.jsonl
/edit [TEXT]   put a better answer in the place of the last one (without TEXT: lines, ended by a lone '.')
/system TEXT   set the system prompt; without TEXT there is none
/reset         start a new conversation
/quit          leave
Anything else is for the model; to begin with a slash, put a space before it."""


@dataclass
class Side:
    """A model in the chat, with the conversation as it went with this model."""

    label: str
    engine: Engine
    turns: list[Message] = field(default_factory=list)


@dataclass
class Chat:
    """The state of a chat: one model or two, and what ``--json`` will print."""

    sides: Sequence[Side]
    sampling: Sampling
    system: str | None
    workspace: Workspace | None
    write: Callable[[str], None]
    asked: list[dict[str, Any]] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)

    def prompt(self, side: Side) -> tuple[Message, ...]:
        """The turns of a side with the system prompt before them."""
        return (*([honed.Message(role="system", content=self.system)] if self.system else []), *side.turns)

    def ask(self, text: str) -> None:
        """Let every side answer ``text``, one after the other; Ctrl-C ends the turn and keeps what came of it.

        A turn that can't be answered is taken back whole.
        """
        turn: dict[str, Any] = {"prompt": text, "system": self.system, "answers": []}
        # A turn's number is part of the seed: with a temperature, asking again gives another answer.
        sampling = self.sampling.model_copy(update={"seed": self.sampling.seed + len(self.asked)})
        lengths = [len(side.turns) for side in self.sides]
        self.asked.append(turn)
        try:
            for side in self.sides:
                if len(self.sides) > 1:
                    self.write(f"[{side.label}]\n")
                turn["answers"].append({"model": side.label, "text": self._answer(side, text, sampling)})
        except HonedError:
            self.asked.pop()
            for side, length in zip(self.sides, lengths, strict=True):
                del side.turns[length:]
            raise

    def _answer(self, side: Side, text: str, sampling: Sampling) -> str:
        side.turns.append(honed.Message(role="user", content=text))
        pieces: list[str] = []
        thinking = False
        try:
            for piece in side.engine.stream(self.prompt(side), sampling):
                if not isinstance(piece, str):
                    _think(piece.text)
                    thinking = True
                    continue
                if thinking and not pieces:
                    _think("\n\n")
                pieces.append(piece)
                self.write(piece)
            if thinking and not pieces:
                say("\n(it ended inside its reasoning: raise --max-tokens)")
        finally:  # stopped or not, what came is part of the conversation, the reasoning left out
            self.write("\n")
            side.turns.append(honed.Message(role="assistant", content="".join(pieces)))
        return "".join(pieces)

    def reset(self) -> None:
        """Start a new conversation with every side."""
        for side in self.sides:
            side.turns.clear()

    def edit(self, text: str) -> None:
        """Put ``text`` in the place of the first model's last answer."""
        self._last()
        if not text:
            raise HonedError("there is no text to put in the answer's place", "Write /edit TEXT.")
        self.sides[0].turns[-1] = honed.Message(role="assistant", content=text)
        self.asked[-1]["edited"] = text

    def save(self, name: str) -> tuple[Path, int]:
        """Append the last turn of the first model as a training row; return the file and its number of rows.

        Only the last answer carries weight: nobody has said that the earlier ones are worth learning.
        """
        answer = self._last()
        if not answer.content.strip():
            raise HonedError("the last answer is empty: it can't be a training row", "Give a better one: /edit TEXT")
        if self.workspace is None:
            raise StoreError("there is no workspace to save to", "Make one (honed init), then start the chat in it.")
        if not _NAME.fullmatch(name):
            raise HonedError(f"{name!r} can't be a name", "Use letters, digits, '.', '_' and '-'; 64 at most.")
        turns = self.prompt(self.sides[0])
        row = [
            {"role": turn.role, "content": turn.content, **({"weight": 0} if turn.role == "assistant" else {})}
            for turn in turns[:-1]
        ]
        row.append({"role": answer.role, "content": answer.content})
        path = self.workspace.path / "saved" / f"{name}.jsonl"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps({"messages": row}, ensure_ascii=False) + "\n")
            rows = len(path.read_bytes().splitlines())
        self.saved.append(path)
        return path, rows

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"models": [side.label for side in self.sides], "turns": self.asked, "saved": self.saved}

    def _last(self) -> Message:
        turns = self.sides[0].turns
        if not turns:
            raise HonedError("there is no answer yet", "Ask something first.")
        return turns[-1]


@click.command("chat")
@click.argument("model", metavar="MODEL")
@click.option("--against", metavar="OTHER", help="Ask this model as well; the answers come one after the other.")
@click.option("--system", metavar="TEXT", help="The system prompt.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0: the likeliest words.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Longest answer.")
@click.option("--workspace", metavar="PATH", envvar="HONED_WORKSPACE", show_envvar=True, help="Where models are.")
@json_option
def command(  # noqa: PLR0913 - click gives one argument an option
    model: str,
    against: str | None,
    system: str | None,
    temperature: float,
    max_tokens: int,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Talk to MODEL: a model of the workspace, smollm2-135m, a folder, a .gguf file or a hub id.

    /save keeps a turn as a training row, /help lists the commands. Prompts may come through a pipe, one a line.
    Ctrl-C stops an answer; twice, it ends the chat. No workspace is needed unless MODEL is in one.
    """
    from honed.models.engine import Sampling

    place = _workspace(workspace)
    sides = [_side(spec, place) for spec in (model, against) if spec]
    write = _to_stderr if as_json else _to_stdout
    chat = Chat(sides, Sampling(max_tokens=max_tokens, temperature=temperature), system, place, write)
    interactive = sys.stdin.isatty()
    if interactive:
        say(f"{' and '.join(side.label for side in sides)}: type, or /help; Ctrl-C stops an answer")
    converse(chat, _typed() if interactive else _piped(), interactive)
    if as_json:
        emit_json(chat.document())


def converse(chat: Chat, lines: Iterator[str], interactive: bool) -> None:
    """Take ``lines`` as prompts and commands until they end, or ``/quit``, or Ctrl-C twice.

    At a terminal an error is said and the chat goes on; through a pipe it ends the chat, so that no script takes a
    missing answer for one.
    """
    interrupted = False
    while True:
        try:
            line = next(lines)
            if line.strip() == "/quit":
                return
            interrupted = False
            _turn(chat, line, lines)
        except StopIteration:
            return
        except KeyboardInterrupt:
            if not interactive:
                raise
            if interrupted:
                return
            interrupted = True
            say("(stopped; Ctrl-C again ends the chat)")
        except HonedError as error:
            if not interactive:
                raise
            say(str(error))


def _turn(chat: Chat, line: str, lines: Iterator[str]) -> None:
    if line.startswith("/"):
        _command(chat, line, lines)
    elif line.strip():
        chat.ask(line.strip())


def _command(chat: Chat, line: str, lines: Iterator[str]) -> None:
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if name == "/save":
        path, rows = chat.save(rest or "chat")
        say(f"saved to {path} ({rows} row{'s' if rows > 1 else ''})")
        say(f"to learn from them: honed data import {path} --as {path.stem.lower()}")
    elif name == "/edit":
        chat.edit(rest or _block(lines))
        say("the answer is replaced; /save keeps it")
    elif name == "/system":
        chat.system = rest or None
        say("the system prompt is set" if rest else "there is no system prompt now")
    elif name == "/reset":
        chat.reset()
        say("a new conversation")
    elif name == "/help":
        say(_HELP)
    else:
        raise HonedError(f"there is no command {name}", "See /help; to send it as text, put a space before it.")


def _block(lines: Iterator[str]) -> str:
    """Read lines up to a lone '.'."""
    taken = []
    for line in lines:
        if line.strip() == ".":
            break
        taken.append(line)
    return "\n".join(taken).strip()


def _side(spec: str, workspace: Workspace | None) -> Side:
    import torch

    from honed.models import devices, load
    from honed.models.local import LocalEngine

    load.locate(spec, workspace, say=say)
    device = devices.choose_device("auto")
    devices.limit_threads()
    loaded = load.load(spec, workspace, device=device, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
    return Side(loaded.ref, LocalEngine(loaded, batch_size=1))


def _workspace(path: str | None) -> Workspace | None:
    if path:
        return workspaces.open_at(Path(path))
    here = Path.cwd()
    inside = any((folder / workspaces.MARKER).exists() for folder in (here, *here.parents))
    return workspaces.find(here) if inside else None


def _typed() -> Iterator[str]:
    """Lines from the terminal, with editing and history."""
    with suppress(ImportError):  # some builds of Python lack it
        import readline  # noqa: F401 - importing it is what gives ``input`` its line editing
    return _Terminal()


class _Terminal:
    """An iterator, not a generator: a generator would be over after its first Ctrl-C."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return input("> ")
        except EOFError:
            raise StopIteration from None


def _piped() -> Iterator[str]:
    return (line.rstrip("\r\n") for line in sys.stdin)


def _think(piece: str) -> None:
    """Show reasoning: on the terminal it stands before the answer; through a pipe only the answer goes."""
    click.secho(plain(piece), dim=True, nl=False, err=True)


def _to_stdout(piece: str) -> None:
    click.echo(plain(piece) if sys.stdout.isatty() else piece, nl=False)


def _to_stderr(piece: str) -> None:
    click.echo(piece, nl=False, err=True)
