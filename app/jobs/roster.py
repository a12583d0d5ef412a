"""The roster: which processes of the service are alive, and at which port each can be woken."""

import os
import socket
from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from app.database import Database, DatabaseTime
from app.identifiers import new_id
from app.jobs.absence import Absence
from app.tables import ProcessRow

Role = Literal["api", "worker"]


class Roster:
    """Sign in, stay alive, sign out, and ask who is there."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._own: dict[str, dict[str, Any]] = {}
        self._absence = Absence(lease_seconds)

    def sign_in(self, role: Role, port: int, devices: list[str] | None = None) -> str:
        """Add this process; what has long been silent is removed on the way. Returns the process's id."""
        process_id = new_id()
        self._own[process_id] = {"role": role, "port": port, "devices": devices or []}
        with self._database.write() as session:
            session.execute(delete(ProcessRow).where(ProcessRow.seen_at < DatabaseTime(-10 * self._lease_seconds)))
            self._enter(session, process_id)
            self.may_judge(session)
        return process_id

    def _enter(self, session: Session, process_id: str) -> None:
        here = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": DatabaseTime()}
        session.add(ProcessRow(id=process_id, seen_at=DatabaseTime(), **here, **self._own[process_id]))

    def stay(self, session: Session, process_id: str) -> None:
        """Say that this process is alive; it is entered anew if its machine slept so long that it was struck off."""
        seen = update(ProcessRow).where(ProcessRow.id == process_id).values(seen_at=DatabaseTime())
        if session.scalar(seen.returning(ProcessRow.id)) is None and process_id in self._own:
            self._enter(session, process_id)
        self.may_judge(session)

    def may_judge(self, session: Session) -> bool:
        """Whether this process can tell who is gone: it was here itself, and could write. Asking is a sign of life."""
        return self._absence.is_over(session.scalars(select(DatabaseTime())).one().timestamp())

    def sign_out(self, process_id: str) -> None:
        """Remove a process, this one or one found dead."""
        self._own.pop(process_id, None)
        with self._database.write() as session:
            session.execute(delete(ProcessRow).where(ProcessRow.id == process_id))

    def ports(self, session: Session, role: Role) -> list[int]:
        """The ports at which the living processes of one role can be woken from this machine."""
        alive = self._alive(role).where(ProcessRow.host == socket.gethostname())
        return list(session.scalars(alive.with_only_columns(ProcessRow.port)))

    def devices(self) -> set[str]:
        """Every device that a living worker offers."""
        with self._database.read() as session:
            offers = session.scalars(self._alive("worker").with_only_columns(ProcessRow.devices))
            return {device for offer in offers for device in offer}

    def pids(self, role: Role) -> list[int]:
        """The living processes of one role on this machine."""
        alive = self._alive(role).where(ProcessRow.host == socket.gethostname())
        with self._database.read() as session:
            return list(session.scalars(alive.with_only_columns(ProcessRow.pid)))

    def has_worker(self) -> bool:
        """Whether a worker is alive."""
        with self._database.read() as session:
            return session.scalars(self._alive("worker").with_only_columns(ProcessRow.id).limit(1)).first() is not None

    def is_alive(self, session: Session, process_id: str) -> bool:
        """Whether this process was heard of within its lease, and, on this machine, still runs."""
        row = session.scalar(self._living().where(ProcessRow.id == process_id))
        return row is not None and (row.host != socket.gethostname() or _is_alive(row.pid))

    def dead(self) -> list[str]:
        """The ids of processes of this machine that are on the roster although they are gone."""
        with self._database.read() as session:
            here = session.execute(
                select(ProcessRow.id, ProcessRow.pid).where(ProcessRow.host == socket.gethostname())
            ).all()
        return [process_id for process_id, pid in here if not _is_alive(pid)]

    def _alive(self, role: Role) -> Select[ProcessRow]:
        return self._living().where(ProcessRow.role == role)

    def _living(self) -> Select[ProcessRow]:
        return select(ProcessRow).where(ProcessRow.seen_at > DatabaseTime(-self._lease_seconds))


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
