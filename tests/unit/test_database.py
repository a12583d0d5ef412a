"""Sessions that read or write, and the database's clock."""

import itertools
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import database as module
from app.database import Database, DatabaseTime, is_passing
from app.errors import StorageFull
from app.identifiers import new_id
from app.tables import EpochRow, JobRow, ProcessRow

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def process(**columns: object) -> ProcessRow:
    about = {"id": new_id(), "role": "worker", "host": "here", "pid": 0, "port": 1, "devices": [], "started_at": NOON}
    return ProcessRow(**{**about, "seen_at": NOON, **columns})


def add(database: Database, **columns: object) -> str:
    with database.write() as session:
        row = process(**columns)
        session.add(row)
        return row.id


def test_of_eight_threads_that_count_no_count_is_lost(database: Database):
    row_id = add(database)

    def count(_: int) -> None:
        for _ in range(100):
            with database.write() as session:
                row = session.get_one(ProcessRow, row_id)
                row.pid += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))

    with database.read() as session:
        assert session.get_one(ProcessRow, row_id).pid == 800


def test_a_write_that_raises_changes_nothing(database: Database):
    def fail() -> None:
        with database.write() as session:
            session.add(process())
            session.flush()
            raise RuntimeError("later")

    with pytest.raises(RuntimeError):
        fail()

    with database.read() as session:
        assert session.scalars(select(ProcessRow)).all() == []


def test_a_read_sees_one_state_while_another_writes(database: Database):
    row_id = add(database)
    with database.read() as reading:
        before = reading.scalar(select(ProcessRow.pid))
        with database.write() as writing:
            writing.get_one(ProcessRow, row_id).pid = 7
        assert reading.scalar(select(ProcessRow.pid)) == before == 0

    with database.read() as reading:
        assert reading.scalar(select(ProcessRow.pid)) == 7


def test_a_read_keeps_nothing(database: Database):
    with database.read() as session:
        session.add(process())
        session.flush()

    with database.read() as session:
        assert session.scalars(select(ProcessRow)).all() == []


def test_rows_can_be_used_after_their_session(database: Database):
    row_id = add(database)

    with database.read() as session:
        row = session.get_one(ProcessRow, row_id)

    assert row.host == "here"


def test_foreign_keys_are_enforced(database: Database):
    def orphan() -> None:
        with database.write() as session:
            session.add(EpochRow(job_id="nobody", epoch=1, learning_rate=0.1, seconds=0.0))

    with pytest.raises(IntegrityError):
        orphan()


def test_sqlite_logs_ahead_and_waits_for_its_turn(database: Database):
    with database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA busy_timeout")) >= 1000


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that writes to a database which is new, and does not log ahead yet."""
    connection = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE t (x)")
    yield connection
    connection.close()


def mode(file: Path) -> str:
    new = Database(f"sqlite:///{file}")
    try:
        with new.read() as session:
            return str(session.scalar(text("PRAGMA journal_mode")))
    finally:
        new.dispose()


def test_a_new_database_that_another_writes_to_is_waited_for(
    tmp_path: Path, writing: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
):
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            writing.execute("COMMIT")

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))

    assert mode(tmp_path / "new.db") == "wal"
    assert len(pauses) == 3


def test_a_new_database_is_not_waited_for_longer_than_any_other(
    tmp_path: Path, writing: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
):
    clock = itertools.count()
    pauses = []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=pauses.append))

    with pytest.raises(OperationalError, match="locked"):
        mode(tmp_path / "new.db")

    assert len(pauses) == module.BUSY_TIMEOUT_MILLISECONDS // 1000 - 1


def test_a_full_disk_is_named_as_such(database: Database):
    def fill() -> None:
        with database.write() as session:
            session.execute(text("PRAGMA max_page_count = 1"))  # the least it takes is what there is
            session.add(process(host="x" * 255, devices=["y" * 100_000]))

    with pytest.raises(StorageFull, match="free some space"):
        fill()


def test_another_fault_of_the_database_stays_what_it_is(database: Database):
    def fail() -> None:
        with database.write() as session:
            session.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(OperationalError, match="nowhere"):
        fail()


@pytest.mark.parametrize("given", [NOON, NOON.astimezone(timezone(timedelta(hours=-8)))])
def test_a_time_comes_back_as_the_same_moment_in_utc(database: Database, given: datetime):
    row_id = add(database, started_at=given)

    with database.read() as session:
        found = session.get_one(ProcessRow, row_id).started_at
        kept = session.scalar(text("SELECT started_at FROM processes"))

    assert found == NOON
    assert found.tzinfo is UTC
    assert kept == "2026-01-31 12:00:00.123456"


def test_no_time_is_no_time(database: Database):
    with database.write() as session:
        session.add(
            JobRow(id="j", status="queued", spec={}, model="linear", requested_device="cpu", epochs=1, created_at=NOON)
        )

    with database.read() as session:
        assert session.get_one(JobRow, "j").finished_at is None


def test_the_databases_clock_is_the_time_of_day_in_utc(database: Database):
    before = datetime.now(UTC)
    row_id = add(database, seen_at=DatabaseTime())
    after = datetime.now(UTC)

    with database.read() as session:
        seen_at = session.get_one(ProcessRow, row_id).seen_at
        kept = session.scalar(text("SELECT seen_at FROM processes"))

    assert len(kept) == len("2026-01-31 12:00:00.123456")  # so that the texts sort as the times do
    assert before - timedelta(milliseconds=1) <= seen_at <= after
    assert seen_at.tzinfo is UTC


@pytest.mark.parametrize("seconds", [0.0, 15, -150.0, 0.25, -0.5, 100_000.0])
def test_the_databases_clock_is_moved_by_seconds(database: Database, seconds: float):
    with database.read() as session:
        now, moved = session.execute(select(DatabaseTime(), DatabaseTime(seconds))).one()

    assert moved - now == timedelta(seconds=seconds)  # one statement sees one time


def test_times_of_the_database_and_of_python_compare(database: Database):
    now = datetime.now(UTC)
    add(database, pid=1, seen_at=now - timedelta(seconds=60))
    add(database, pid=2, seen_at=now + timedelta(seconds=60))
    add(database, pid=3, seen_at=DatabaseTime(-10))

    with database.read() as session:
        past = session.scalars(select(ProcessRow.pid).where(ProcessRow.seen_at < DatabaseTime()).order_by("pid"))
        assert past.all() == [1, 3]
        recent = select(ProcessRow.pid).where(ProcessRow.seen_at > DatabaseTime(-30)).order_by("pid")
        assert session.scalars(recent).all() == [2, 3]


def locked_out(database: Database) -> BaseException:
    """What a writer gets whose turn does not come."""
    late = Database(str(database.engine.url))
    with late.engine.connect() as connection:  # the pool has but this one
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with database.write() as first:
        first.execute(text("SELECT 1"))
        with pytest.raises(OperationalError, match="locked") as caught:
            add(late)
    late.dispose()
    return caught.value


def missing_table(database: Database) -> BaseException:
    with pytest.raises(OperationalError) as caught, database.read() as session:
        session.execute(text("SELECT * FROM nowhere"))
    return caught.value


def orphan(database: Database) -> BaseException:
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        session.add(EpochRow(job_id="nobody", epoch=1, learning_rate=0.1, seconds=0.0))
    return caught.value


@pytest.mark.parametrize(("fault", "passes"), [(locked_out, True), (missing_table, False), (orphan, False)])
def test_only_what_others_do_passes_by_itself(
    database: Database, fault: Callable[[Database], BaseException], passes: bool
):
    assert is_passing(fault(database)) is passes


def test_a_server_that_cuts_its_clients_off_comes_back():
    assert is_passing(OperationalError("", {}, Exception("terminating connection due to administrator command")))
    assert is_passing(DBAPIError("", {}, Exception("the connection is closed"), connection_invalidated=True))
    assert is_passing(PoolTimeout())
    assert not is_passing(ValueError())


# ── a server of PostgreSQL that says nothing ─────────────────────────────────────────────────────────────────────


GREETING = (
    b"R\0\0\0\x08\0\0\0\0"  # nobody has to say who they are
    b"S\0\0\0\x19client_encoding\0UTF8\0"
    b"S\0\0\0\x1aserver_version\x00150000\0"
    b"Z\0\0\0\x05I"
)
SET = b"C\0\0\0\x08SET\0Z\0\0\0\x05I"


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that lets clients in, takes their settings, and answers nothing that they ask."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(10)  # who waits for longer than that would wait for ever
                    if client.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f":  # may it be encrypted?
                        client.sendall(b"N")
                    client.recv(4096)
                    client.sendall(GREETING)
                    if b"lock_timeout" in client.recv(4096):
                        client.sendall(SET)
                    while client.recv(4096):
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"postgresql+psycopg://anyone@127.0.0.1:{listener.getsockname()[1]}/any"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_server_that_does_not_answer_is_given_up_and_its_connection_closed(silent: str):
    pytest.importorskip("psycopg")
    database = Database(silent, patience_seconds=0.2)

    with pytest.raises(OperationalError, match="no answer within") as failed, database.read() as session:
        session.execute(text("SELECT 1"))

    assert is_passing(failed.value)
    database.dispose()


def test_who_has_much_to_do_is_waited_for_longer_and_nobody_while_the_process_stops(database: Database):
    """On no server at all: only what would be waited is looked at."""
    of_requests = Database(str(database.engine.url), patience_seconds=2.0)

    assert database._patience() is None
    assert of_requests._patience() == 2.0
    with of_requests.patiently():
        assert of_requests._patience() == module.LONG_PATIENCE_SECONDS
        of_requests.hurry()
        assert of_requests._patience() == module.HURRY_SECONDS
    database.hurry()
    with database.patiently():
        assert database._patience() is None
    of_requests.dispose()
