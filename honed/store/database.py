"""The database of what was said: opened, brought to the newest revision, and read and written in transactions.

SQLite in the workspace by default, PostgreSQL by URL; both behave the same. A write is on the disk when it returns:
SQLite runs in WAL mode with ``synchronous=FULL``, PostgreSQL with ``synchronous_commit``, each write in a transaction
of its own.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from honed.errors import StoreError
from honed.store.workspace import Workspace

FILE = "honed.db"
REVISIONS = "honed_revision"
"""The table that names the database's revision; not Alembic's own, so that another program's stays apart."""

_WAIT = 30.0
"""Seconds that a write waits for another process's."""

_PG_LOCK = 0x686F6E65  # "hone": held while the revision is looked at and raised, so that one process does it
_MIGRATING = threading.Lock()  # Alembic's ``op`` is one for the whole process

_SQLITE_WORDS = {
    "SQLITE_READONLY": ("is read-only", "Make the file and its folder writable, or name another database."),
    "SQLITE_CANTOPEN": ("can't be opened", "Check that its folder exists and can be written."),
    "SQLITE_BUSY": (f"is held by another process for over {_WAIT:.0f} s", "Try again when that process is done."),
    "SQLITE_FULL": ("can't be written: the disk is full", "Free space; what was there before is intact."),
    "SQLITE_NOTADB": ("isn't a database", "Restore it from a copy, or move it away to begin a new one."),
    "SQLITE_CORRUPT": ("is damaged", "Restore it from a copy, or move it away to begin a new one."),
    "SQLITE_IOERR": ("can't be read or written: the disk reports an error", "Check the disk."),
}


@dataclass(frozen=True)
class Database:
    """An open database, for any number of threads. ``name`` is how messages call it, without a password."""

    engine: Engine
    name: str
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the data. Raises ``StoreError`` if it can't be read."""
        with _in_words(self.engine, self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection whose writes are durable, all of them, when the block ends, or undone if it raises.

        Raises ``StoreError`` if they can't be written; ``IntegrityError`` is the caller's to explain.
        """
        writer = self.engine.execution_options(honed_write=True)
        # SQLite has one writer at a time and lets the others poll, some for seconds: our own threads take turns.
        turn = self._turn if self.engine.dialect.name == "sqlite" else nullcontext()
        with turn, _in_words(self.engine, self.name), writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


def open_database(workspace: Workspace, url: str | None = None) -> Database:
    """Open the workspace's ``honed.db``, or the database at ``url``, and bring it to the newest revision.

    ``url`` is ``postgresql://USER:PASSWORD@HOST:PORT/NAME`` or ``sqlite:///FILE``. Any number of processes may open
    one at once. Raises ``StoreError`` if it can't be reached or written, or is of a newer revision than this honed.
    """
    place = _place(url) if url else URL.create("sqlite", database=str(workspace.path / FILE))
    name = _name(place)
    if place.get_backend_name() == "sqlite":
        _refuse_read_only(Path(str(place.database)), name)
    database = Database(_engine(place, name), name)
    try:
        with _in_words(database.engine, name):
            _prepare(database.engine, name)
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _place(url: str) -> URL:
    """Parse a URL. Never repeats it in a message: it may hold a password."""
    try:
        place = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            "the database's URL can't be read",
            "Write postgresql://USER:PASSWORD@HOST:PORT/NAME, with '@', ':' and '/' in a password as %40, %3A and %2F.",
        ) from error
    if place.drivername in ("postgresql", "postgres", "postgresql+psycopg") and place.database:
        if "@" in (place.host or ""):
            raise StoreError("the database's URL has two '@'", "Write an '@' in the user or password as %40.")
        return place.set(drivername="postgresql+psycopg")
    if place.drivername == "sqlite" and place.database not in (None, "", ":memory:"):
        return place.set(query={})
    raise StoreError(
        f"{place.drivername}: no such database can be used",
        "Write postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE.",
    )


def _name(place: URL) -> str:
    if place.get_backend_name() == "sqlite":
        return str(place.database)
    return URL.create("postgresql", place.username, None, place.host, place.port, place.database).render_as_string()


def _refuse_read_only(path: Path, name: str) -> None:
    """A file that nobody may write is refused, even to root, whom the system would let write it."""
    if path.exists() and not path.stat().st_mode & 0o222:
        message, hint = _SQLITE_WORDS["SQLITE_READONLY"]
        raise StoreError(f"{name}: the database {message}", hint)


def _engine(place: URL, name: str) -> Engine:
    options: dict[str, Any] = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        "hide_parameters": True,  # an error's text goes into logs, people's words don't
    }
    if place.get_backend_name() == "sqlite":
        engine = create_engine(place, connect_args={"timeout": _WAIT}, pool_timeout=_WAIT, **options)
        event.listen(engine, "connect", _on_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        connect = {"connect_timeout": 10, "application_name": "honed"}
        engine = create_engine(place, connect_args=connect, pool_pre_ping=True, pool_timeout=_WAIT, **options)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{name}: the PostgreSQL driver isn't installed", "Install it: pip install 'honed[postgres]'"
        ) from error
    event.listen(engine, "connect", _on_postgres)
    return engine


def _on_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves: Python's sqlite3 begins them too late
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once, and waits for it; one that read first could not be made to wait.
    write = connection.get_execution_options().get("honed_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _on_postgres(connection: Any, _record: object) -> None:
    """A server set to acknowledge before it wrote is asked not to, for us; a stronger setting is left as it is."""
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _prepare(engine: Engine, name: str) -> None:
    """Do what comes before a first transaction: WAL mode for SQLite; a look at PostgreSQL's encoding."""
    if engine.dialect.name == "sqlite":
        _to_wal(engine)
        return
    with engine.connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StoreError(f"{name}: the database's encoding is {encoding}", "Create one with ENCODING 'UTF8'.")


def _to_wal(engine: Engine) -> None:
    """Switch the file to WAL mode; while another process does so too, SQLite says busy without waiting."""
    deadline = time.monotonic() + _WAIT
    while True:
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.fetchall()
            return
        except engine.dialect.loaded_dbapi.Error as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def _migrate(database: Database) -> None:
    """Raise the database to the newest revision, in one transaction that other processes wait for."""
    with resources.as_file(resources.files("honed.store.migrations")) as folder:
        scripts = ScriptDirectory(str(folder))
        known = list(scripts.walk_revisions())  # the newest first
        with _MIGRATING, database.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PG_LOCK})
            context = MigrationContext.configure(connection, opts={"version_table": REVISIONS})
            current = context.get_current_revision()
            missing = list(takewhile(lambda script: script.revision != current, known))
            if current and len(missing) == len(known):
                head = known[0].revision
                raise StoreError(
                    f"{database.name}: the database is of revision {current}, this honed knows them up to {head}",
                    "Upgrade honed (pip install --upgrade honed), or name another database.",
                )
            with Operations.context(context):
                for script in reversed(missing):
                    script.module.upgrade()
                    context.stamp(scripts, script.revision)


@contextmanager
def _in_words(engine: Engine, name: str) -> Iterator[None]:
    """Turn what a driver says into a ``StoreError``; a broken rule of the tables stays what it is."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, engine.dialect.loaded_dbapi.Error, PoolTimeout) as error:  # raw ones come from "connect"
        raise _worded(name, getattr(error, "orig", None) or error) from error


def _worded(name: str, error: BaseException) -> StoreError:
    sqlite, postgres = getattr(error, "sqlite_errorname", ""), getattr(error, "sqlstate", "") or ""
    for known, (message, hint) in _SQLITE_WORDS.items():
        if sqlite.startswith(known):
            return StoreError(f"{name}: the database {message}", hint)
    hint = "Check that the server runs and lets you in."
    if sqlite == "SQLITE_ERROR" or postgres.startswith("42"):  # tables that are there already, or that aren't ours
        hint = "Give honed a database of its own, which it owns."
    said = re.split(r"\s*\n\s*", str(error).strip())[0]
    return StoreError(f"{name}: the database can't be used: {said}", hint)
