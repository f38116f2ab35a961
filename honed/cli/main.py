"""``honed``: the table of commands, and the edge where an error becomes two lines.

A command's module is imported when it is used and never before, so ``honed --help`` starts at once. Each module of
the table holds one click object named ``command``.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click
from click.exceptions import NoSuchCommand, NoSuchOption

from honed import __version__
from honed.cli.options import HaltedError, emit_json
from honed.cli.tables import plain
from honed.errors import HonedError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("honed.cli.demo", "One lap of the loop: train the embedded model, measure the gain."),
    "init": ("honed.cli.init", "Make a workspace: a folder of datasets, models and jobs."),
    "data": ("honed.cli.data", "Import instruction data; see it as a model will."),
    "plan": ("honed.cli.plan", "What a training would take: memory, time, cost; whether it fits."),
    "train": ("honed.cli.train", "Fine-tune a base model on a dataset."),
    "evaluate": ("honed.cli.evaluate", "Measure a model on held-out rows."),
    "compare": ("honed.cli.compare", "Measure two models on the same rows: better, or chance?"),
    "report": ("honed.cli.report", "One evaluation as a page: scores, failures, every row."),
    "errors": ("honed.cli.errors", "What a model fails at and why; what rows would help."),
    "judge": ("honed.cli.judge", "Whose answers are better, by a judge's word or by people's, blind."),
    "gate": ("honed.cli.gate", "Promote, hold or reject a candidate, for CI: better, and nothing worse?"),
    "chat": ("honed.cli.chat", "Talk to a model, or to two side by side."),
    "serve": ("honed.cli.serve", "Serve models: OpenAI's API, the chat page, feedback."),
    "feedback": ("honed.cli.feedback", "What people said of the answers: list, show, export."),
    "round": ("honed.cli.round", "From feedback to a better model: derive, train, compare, promote or hold."),
    "promote": ("honed.cli.promote", "Put a model in use by hand: let `live` name it."),
    "rollback": ("honed.cli.rollback", "Take back the last promotion."),
    "explain": ("honed.cli.explain", "From a model to datasets, rows and events, and back."),
    "models": ("honed.cli.models", "The workspace's models, and where each came from."),
    "jobs": ("honed.cli.jobs", "List, show, follow, track, stop and resume jobs."),
    "doctor": ("honed.cli.doctor", "What this machine can run, what is missing, how to mend it."),
}


class LazyGroup(click.Group):
    """A group whose commands are named in ``COMMANDS`` and imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature, as below
        """Return the names in the order of the loop."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, or return ``None`` if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` name; an unknown one is an error that names the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="honed", message="%(prog)s %(version)s")
def cli() -> None:
    """The instruction fine-tuning loop: data in, a measurably better model out.

    Start with `honed demo`, or with your own data: `honed init`, `honed data import`, `honed train`.
    """


def main() -> NoReturn:
    """Run ``honed`` on the command line's arguments and exit: 0 well, 1 error, 2 usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run ``honed`` on ``args`` and return its exit code; every error ends here, as two lines."""
    as_json = "--json" in args
    try:
        _check_system()
        return int(cli.main(list(args), prog_name="honed", standalone_mode=False) or 0)
    except HonedError as error:
        return _end(error.message, error.hint, as_json, 130 if isinstance(error, HaltedError) else 1)
    except click.UsageError as error:
        return _usage(error, as_json)
    except click.ClickException as error:
        return _end(error.format_message(), "", as_json, 1)
    except (click.Abort, KeyboardInterrupt) as error:  # click raises its own from Python's, which may say how to go on
        first = error.__cause__ if isinstance(error.__cause__, KeyboardInterrupt) else error
        return _end("interrupted", str(first), as_json, 130)
    except Exception as error:  # noqa: BLE001 - the edge: nothing leaves it as a traceback
        return _surprise(error, as_json)


def _check_system() -> None:
    """Raise ``HonedError`` on Windows, before a module is imported that is missing there: files are locked by fcntl."""
    if sys.platform == "win32":
        raise HonedError(
            "honed runs on Linux and macOS, and this is Windows",
            "Run it in WSL, the Linux that comes with Windows: wsl --install",
        )


def _usage(error: click.UsageError, as_json: bool) -> int:
    path = error.ctx.command_path if error.ctx else "honed"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    near = error.possibilities if isinstance(error, NoSuchOption | NoSuchCommand) else None
    hint = f"Did you mean {near[0]}? " if near else ""
    message = (error.message if near else error.format_message()).rstrip(".")
    return _end(f"{path}: {message[:1].lower()}{message[1:]}", f"{hint}See: {path} --help", as_json, 2)


def _surprise(error: Exception, as_json: bool) -> int:
    """Report what honed didn't foresee: a closed pipe, a full disk, or a fault of our own."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is quiet as well
        return 0
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "output"  # stdout has no name, and can't take a document either
        return _end(f"{where}: the disk is full", "Free space and try again.", as_json and where != "output", 1)
    if os.environ.get("HONED_TRACEBACK") == "1":
        traceback.print_exception(error)
        where = "the lines above"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="honed-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
        where = file.name
    name = f"honed failed: {type(error).__name__}: {error}".splitlines()[0]
    return _end(name, f"That is our fault, not yours; please report it with {where}", as_json, 1)


def _end(message: str, hint: str, as_json: bool, code: int) -> int:
    """Say what went wrong in two lines (and as a document under ``--json``) and return the exit code."""
    message, hint = (plain(" ".join(said.splitlines())) for said in (message, hint))
    sign = "" if code == 130 else "error: "
    click.echo(f"{sign}{message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    if as_json:
        emit_json({"error": {"message": message, "hint": hint}})
    return code
