"""A real PostgreSQL server, started for the tests in a folder of its own, on a socket of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.needs import missing

_FOLDERS = "/usr/lib/postgresql/*/bin"


class Server:
    """A running server. It refuses to run as root, so root starts it as the user ``postgres``."""

    def __init__(self) -> None:
        self._programs = _programs()
        self.folder = Path(tempfile.mkdtemp(prefix="honed-pg-", dir="/tmp"))
        self._numbers = itertools.count(1)
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.folder, "postgres", "postgres")
        try:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self._run("pg_ctl", "start", "-w", "-l", str(self.folder / "log"), "-o", f"-k {self.folder} -h '' -F")
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def url(self, name: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def empty(self) -> str:
        """Make an empty schema, which is quicker than a database, and return a URL that leads to it."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def execute(self, statement: str) -> None:
        """Run a statement of the tests' own."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *args: str) -> None:
        command = [*self._as, str(self._programs / program), "-D", str(self.folder / "data"), *args]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=program == "initdb", check=False
        )
        if done.returncode:
            log = self.folder / "log"
            pytest.fail(f"{program}: {done.stderr!r} {log.read_text() if log.exists() else ''}")


def _programs() -> Path:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/").glob(_FOLDERS.removeprefix("/")))
    if not found:
        missing(f"PostgreSQL (neither in PATH nor in {_FOLDERS})", "postgresql")
    return found[-1]
