from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from honed import __version__
from honed.cli import main
from honed.cli.options import HaltedError, emit_json
from honed.errors import DataError
from tests.cli.run import honed


@pytest.fixture
def command_that_raises(monkeypatch: pytest.MonkeyPatch):
    """Replace the command ``doctor`` with one that raises the given error."""

    def replace(error: BaseException) -> None:
        @click.command()
        @click.option("--json", is_flag=True)
        def command(json: bool) -> None:
            raise error

        monkeypatch.setattr("honed.cli.doctor.command", command)

    return replace


def test_a_mistake_of_the_user_is_two_lines_and_exit_1(command_that_raises, capsys) -> None:
    command_that_raises(DataError("rows.json:3: answer: it is empty", "Write one, or remove the row."))
    assert main.run(["doctor"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: rows.json:3: answer: it is empty\n  Write one, or remove the row.\n"


def test_under_json_the_mistake_is_a_document_too(command_that_raises, capsys) -> None:
    command_that_raises(DataError("what", "how"))
    assert main.run(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"error": {"message": "what", "hint": "how"}}


def test_a_message_of_several_lines_stays_one(command_that_raises, capsys) -> None:
    command_that_raises(DataError("bad\nname", "mend\nit"))
    assert main.run(["doctor"]) == 1
    assert capsys.readouterr().err == "error: bad name\n  mend it\n"


def test_work_that_the_user_stopped_is_no_error_and_exits_130(command_that_raises, capsys) -> None:
    command_that_raises(HaltedError("stopped", "Go on with: honed jobs resume x"))
    assert main.run(["doctor"]) == 130
    assert capsys.readouterr().err == "stopped\n  Go on with: honed jobs resume x\n"


def test_ctrl_c_exits_130_with_a_line(command_that_raises, capsys) -> None:
    command_that_raises(KeyboardInterrupt())
    assert main.run(["doctor"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_on_windows_a_command_says_where_honed_runs_before_anything_of_it_is_imported(
    command_that_raises, capsys, monkeypatch
) -> None:
    command_that_raises(ModuleNotFoundError("No module named 'fcntl'"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert main.run(["doctor", "--json"]) == 1
    said = capsys.readouterr()
    assert said.err == (
        "error: honed runs on Linux and macOS, and this is Windows\n"
        "  Run it in WSL, the Linux that comes with Windows: wsl --install\n"
    )
    assert json.loads(said.out)["error"]["message"].endswith("this is Windows")


def test_a_fault_of_our_own_is_called_that_and_its_traceback_is_kept(command_that_raises, capsys) -> None:
    command_that_raises(ZeroDivisionError("by zero"))
    assert main.run(["doctor"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: honed failed: ZeroDivisionError: by zero"
    assert "our fault" in second
    kept = Path(second.split()[-1])
    assert "Traceback" in kept.read_text()
    kept.unlink()


def test_the_traceback_is_shown_where_it_is_asked_for(command_that_raises, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HONED_TRACEBACK", "1")
    command_that_raises(AssertionError())
    assert main.run(["doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_that_nobody_foresaw_is_the_disk_not_our_fault(command_that_raises, capsys) -> None:
    command_that_raises(OSError(28, "No space left on device", "/data/out"))
    assert main.run(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("error: /data/out: the disk is full\n")


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["chta"], "honed: no such command 'chta'", "Did you mean chat? See: honed --help"),
        (["zebra"], "honed: no such command 'zebra'", "See: honed --help"),
        (["--vresion"], "honed: no such option '--vresion'", "Did you mean --version? See: honed --help"),
        (["jobs", "shwo"], "honed jobs: no such command 'shwo'", "Did you mean show? See: honed jobs --help"),
        (["init", "--jsn"], "honed init: no such option '--jsn'", "Did you mean --json? See: honed init --help"),
        (["jobs", "show"], "honed jobs show: missing argument 'ID'", "See: honed jobs show --help"),
        (["init", "a", "b"], "honed init: got unexpected extra argument (b)", "See: honed init --help"),
    ],
)
def test_a_mistyped_command_line_names_the_nearest_and_exits_2(args, message, hint, capsys) -> None:
    assert main.run(args) == 2
    assert capsys.readouterr().err == f"error: {message}\n  {hint}\n"


def test_every_command_of_the_table_is_there_and_shows_help(capsys) -> None:
    for name in main.COMMANDS:
        assert main.run([name, "--help"]) == 0, name
        assert capsys.readouterr().out.startswith(f"Usage: honed {name}")


def test_the_version_is_printed(capsys) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"honed {__version__}\n"


def test_honed_alone_prints_help_and_exits_2(capsys) -> None:
    assert main.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "from honed.cli import main; import sys; sys.exit(main.run(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stderr == b""


def test_a_full_disk_behind_stdout_is_told(workspace) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code = f"from honed.cli import main; import sys; sys.exit(main.run(['init', '--json', {str(workspace.path)!r}]))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("error: output: the disk is full\n")
    assert "Traceback" not in done.stderr


def test_json_gives_paths_as_text_and_nan_as_null(capsys, tmp_path: Path) -> None:
    emit_json({"path": tmp_path, "loss": float("nan"), 1: "ü"})
    assert json.loads(capsys.readouterr().out) == {"path": str(tmp_path), "loss": None, "1": "ü"}


def test_the_workspace_is_taken_from_the_option_the_environment_or_the_folder(workspace, tmp_path: Path) -> None:
    listed = [
        honed("jobs", "list", "--workspace", workspace.path),
        honed("jobs", "list", HONED_WORKSPACE=str(workspace.path)),
        honed("jobs", "list", cwd=workspace.jobs),
    ]
    assert [done.stdout for done in listed] == [
        f"{workspace.path} has no jobs yet. Start one: honed train --help\n"
    ] * 3
    nowhere = honed("jobs", "list", cwd=tmp_path)
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr == f"error: {tmp_path}: no workspace here or above\n  Make one: honed init\n"
