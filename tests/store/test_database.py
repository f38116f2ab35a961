"""Opening a database: migrations, many at once, and what can't be opened, said in two sentences."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect, text

from honed.errors import StoreError
from honed.store import database as module
from honed.store import tables
from honed.store.database import Database, open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace
from tests.store.postgres import Server
from tests.store.said import answer

_ROOT = Path(__file__).parents[2]


def _error(workspace: Workspace, url: str | None = None) -> StoreError:
    with pytest.raises(StoreError) as raised:
        open_database(workspace, url)
    assert raised.value.message
    assert raised.value.hint
    return raised.value


def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": module.REVISIONS, "compare_type": True, "target_metadata": None}
        )
        assert compare_metadata(context, tables.metadata) == []
        checks = inspect(connection).get_check_constraints("feedback")
    assert [check["name"] for check in checks] == ["feedback_kind"]


def test_opening_it_again_changes_nothing(workspace: Workspace, url: str) -> None:
    first = open_database(workspace, url)
    Interactions(first).add(answer())
    second = open_database(workspace, url)
    assert Interactions(second).get("answer-1") == answer()
    first.close()
    second.close()


def test_by_default_it_is_a_file_of_the_workspace(workspace: Workspace) -> None:
    database = open_database(workspace)
    assert (workspace.path / "honed.db").exists()
    assert database.name == str(workspace.path / "honed.db")
    database.close()


def test_sqlite_writes_are_synced_before_they_count(workspace: Workspace) -> None:
    database = open_database(workspace)
    with database.reading() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.close()


def test_a_postgresql_set_to_acknowledge_early_is_asked_to_write_first(workspace: Workspace, postgres: Server) -> None:
    url = postgres.empty()
    for setting, found in (("off", "on"), ("on", "on"), ("remote_write", "remote_write")):
        database = open_database(workspace, f"{url}%20-csynchronous_commit%3D{setting}")
        with database.writing() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == found
        database.close()


_OPENER = """
import sys
from pathlib import Path
from honed.store import workspace
from honed.store.database import open_database
from honed.store.tokens import open_signer
place = workspace.open_at(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
open_database(place, sys.argv[2]).close()
print(open_signer(place).subject("x"))
"""


def test_processes_that_open_a_new_one_at_once_all_can(workspace: Workspace, url: str) -> None:
    command = [sys.executable, "-c", _OPENER, str(workspace.path), url]
    openers = [
        subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for opener in openers:
        assert opener.stdout and opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin
        opener.stdin.write("\n")
        opener.stdin.flush()
    said = [opener.communicate(timeout=60)[0] for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0]
    assert len(set(said)) == 1  # one key as well
    database = open_database(workspace, url)
    with database.reading() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {module.REVISIONS}")).scalar() == 1
    database.close()


def test_threads_that_open_a_new_one_at_once_all_can(workspace: Workspace, url: str) -> None:
    opened: list[Database] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        opened.append(open_database(workspace, url))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        database.close()


def test_a_migration_that_fails_leaves_nothing(workspace: Workspace, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.store.migrations.versions import r0001_interactions as first

    made = first.op.create_index

    def fail(*args: object) -> None:
        raise StoreError("the power fails", "Wait.")

    monkeypatch.setattr("alembic.op.create_index", fail)
    assert _error(workspace, url).message == "the power fails"
    monkeypatch.setattr("alembic.op.create_index", made)
    database = open_database(workspace, url)
    Interactions(database).add(answer())
    database.close()


def test_a_database_of_a_newer_revision_is_refused(database: Database, workspace: Workspace, url: str) -> None:
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {module.REVISIONS} SET version_num = '9999'"))
    error = _error(workspace, url)
    assert "is of revision 9999, this honed knows them up to 0001" in error.message
    assert "Upgrade honed" in error.hint
    with database.reading() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {module.REVISIONS}")).scalar() == "9999"


def test_a_database_with_tables_of_these_names_is_refused(workspace: Workspace, postgres: Server) -> None:
    with psycopg.connect(url := postgres.empty()) as connection:
        connection.execute("CREATE TABLE feedback (id int)")
    error = _error(workspace, url)
    assert 'relation "feedback" already exists' in error.message
    assert "a database of its own" in error.hint


def test_an_sqlite_file_with_tables_of_these_names_is_refused(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.path / "honed.db") as connection:
        connection.execute("CREATE TABLE feedback (id int)")
    connection.close()
    error = _error(workspace)
    assert "table feedback already exists" in error.message
    assert "a database of its own" in error.hint


def test_a_read_only_file_is_told_even_to_root(workspace: Workspace) -> None:
    open_database(workspace).close()
    (workspace.path / "honed.db").chmod(0o444)
    error = _error(workspace)
    assert error.message == f"{workspace.path / 'honed.db'}: the database is read-only"
    assert "writable" in error.hint


def test_a_file_that_turns_read_only_is_told_at_the_write(workspace: Workspace) -> None:
    database = open_database(workspace)
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    database.engine.dispose()
    with pytest.raises(StoreError, match="the database is read-only"):
        Interactions(database).add(answer())
    database.close()


def test_a_full_disk_is_told_and_what_was_there_is_intact(workspace: Workspace) -> None:
    database = open_database(workspace)
    store = Interactions(database)
    store.add(answer())
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
    database.engine.dispose()
    with pytest.raises(StoreError, match="the disk is full") as raised:
        store.add(answer("answer-2", answer="long " * 100_000))
    assert "intact" in raised.value.hint
    assert [one.id for one in store.interactions()] == ["answer-1"]
    database.close()


def test_a_file_held_by_another_process_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = open_database(workspace)
    monkeypatch.setattr(module, "_WAIT", 0.05)
    database = open_database(workspace)
    with holder.writing(), pytest.raises(StoreError, match="is held by another process"):
        Interactions(database).add(answer())
    Interactions(database).add(answer())
    database.close()
    holder.close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to look at" * 50, b"SQLite format 3\0" * 300]
)
def test_a_file_that_is_no_database_is_told_and_left_alone(workspace: Workspace, content: bytes) -> None:
    (workspace.path / "honed.db").write_bytes(content)
    error = _error(workspace)
    assert str(workspace.path / "honed.db") in error.message
    assert "Restore it" in error.hint
    assert (workspace.path / "honed.db").read_bytes() == content


def test_a_folder_that_is_not_there_is_told(workspace: Workspace) -> None:
    assert "can't be opened" in _error(workspace, f"sqlite:///{workspace.path}/none/honed.db").message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@127.0.0.1:1/desk",
        "postgresql://ann:hunter2@[half/desk",
        "postgresql://ann:hunter2@127.0.0.1:none/desk",
        "postgresql://ann:hun@ter2@127.0.0.1/desk",
        "postgresql://ann:hunter2@127.0.0.1",
        "mysql://ann:hunter2@127.0.0.1/desk",
        "postgresql+asyncpg://ann:hunter2@127.0.0.1/desk",
        "postgresql://127.0.0.1:1/desk?user=ann&password=hunter2",
        "postgresql://ann@127.0.0.1/desk?zebra=hunter2",
        "hunter2",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_a_url_that_leads_nowhere_is_told_without_its_password(workspace: Workspace, url: str) -> None:
    error = _error(workspace, url)
    said = json.dumps([error.message, error.hint, str(error)])
    assert "hunter2" not in said
    assert "ter2@" not in said


def test_a_missing_driver_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = _error(workspace, "postgresql://ann@127.0.0.1/desk")
    assert "driver isn't installed" in error.message
    assert error.hint == "Install it: pip install 'honed[postgres]'"


def test_a_postgresql_database_that_is_not_utf8_is_told(workspace: Workspace, postgres: Server) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    error = _error(workspace, postgres.url("latin"))
    assert "encoding is LATIN1" in error.message


def test_a_postgresql_database_that_is_not_there_is_told(workspace: Workspace, postgres: Server) -> None:
    assert 'database "none" does not exist' in _error(workspace, postgres.url("none")).message


def test_a_lost_connection_costs_no_later_write(workspace: Workspace, postgres: Server) -> None:
    database = open_database(workspace, postgres.empty())
    store = Interactions(database)
    store.add(answer())
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'honed'")
    store.add(answer("answer-2"))
    assert len(list(store.interactions())) == 2
    database.close()


def test_a_connection_lost_within_a_write_is_told(workspace: Workspace, postgres: Server) -> None:
    database = open_database(workspace, postgres.empty())
    with pytest.raises(StoreError, match="can't be used"), database.writing() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    database.close()


_WRITER = """
import itertools, sys, threading
from pathlib import Path
from honed.store import workspace
from honed.store.database import open_database
from honed.store.interactions import Interactions
from tests.store.said import answer, thumb
store = Interactions(open_database(workspace.open_at(Path(sys.argv[1])), sys.argv[2]))
lock = threading.Lock()
def say(line):
    with lock:
        sys.stdout.write(line + "\\n")
        sys.stdout.flush()
def write(thread):
    for number in itertools.count():
        id_ = f"i{thread}-{number}"
        store.add(answer(id_))
        say(id_)
        store.add_feedback(thumb(f"f{id_}", id_), [id_])
        say(f"f{id_}")
for thread in range(2):
    threading.Thread(target=write, args=(thread,)).start()
"""


def test_kill_9_of_a_writer_loses_no_acknowledged_write(workspace: Workspace, url: str) -> None:
    command = [sys.executable, "-c", _WRITER, str(workspace.path), url]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        acknowledged = [writer.stdout.readline().strip() for _ in range(80)]
        writer.kill()
        rest = writer.stdout.read()
    acknowledged += rest.split("\n")[:-1]  # a last line without its end was not said whole
    assert len(acknowledged) >= 80
    database = open_database(workspace, url)
    store = Interactions(database)
    stored = {one.id for one in store.interactions()} | {one.id for one in store.feedback()}
    assert set(acknowledged) <= stored
    store.add(answer("after"))
    if database.engine.dialect.name == "sqlite":
        with database.reading() as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    database.close()
