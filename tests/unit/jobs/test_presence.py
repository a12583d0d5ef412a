"""An API process on the roster."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from app.database import Database
from app.errors import StorageFull
from app.jobs.bell import Bell
from app.jobs.presence import Presence
from app.jobs.roster import Roster
from app.tables import ProcessRow
from tests.patience import until

LEASE_SECONDS = 0.09


def seen_at(database: Database) -> datetime | None:
    with database.read() as session:
        return session.scalar(select(ProcessRow.seen_at))


def is_seen_again(database: Database, before: datetime | None) -> bool:
    now = seen_at(database)
    return now is not None and before is not None and now > before


def test_a_process_is_on_the_roster_while_it_is_present(database: Database, roster: Roster, bell: Bell):
    with Presence(database, roster, bell, LEASE_SECONDS):
        with database.read() as session:
            assert roster.ports(session, "api") == [bell.port]
        before = seen_at(database)
        until(lambda: is_seen_again(database, before))

    assert seen_at(database) is None


def test_a_process_leaves_the_roster_although_its_work_failed(database: Database, roster: Roster, bell: Bell):
    with pytest.raises(RuntimeError), Presence(database, roster, bell, LEASE_SECONDS):
        raise RuntimeError("the server broke down")

    assert seen_at(database) is None


@pytest.mark.parametrize(
    "fault",
    [OperationalError("", {}, Exception("database is locked")), StorageFull("no space")],
    ids=["locked", "full"],
)
def test_a_database_that_fails_for_a_while_ends_no_presence(
    database: Database, roster: Roster, bell: Bell, fault: Exception, monkeypatch: pytest.MonkeyPatch
):
    write: Callable[[], AbstractContextManager[Session]] = database.write
    faults = [fault, fault]

    def fail_at_first() -> AbstractContextManager[Session]:
        if faults:
            raise faults.pop()
        return write()

    with capture_logs() as logged, Presence(database, roster, bell, LEASE_SECONDS):
        monkeypatch.setattr(database, "write", fail_at_first)
        before = seen_at(database)
        until(lambda: is_seen_again(database, before))

    assert len(logged) == 2
