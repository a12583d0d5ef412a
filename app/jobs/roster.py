"""The roster: which processes of the service are alive, and at which port each can be woken."""

import os
import socket
from contextlib import suppress
from pathlib import Path
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
            long = 10 * self._lease_seconds
            recent = ProcessRow.seen_at.between(DatabaseTime(-long), DatabaseTime(long))
            session.execute(delete(ProcessRow).where(~recent))
            self._enter(session, process_id)
            self.may_judge(session)
        return process_id

    def _enter(self, session: Session, process_id: str) -> None:
        pid = os.getpid()
        here = {"host": socket.gethostname(), "pid": pid, "birth": _birth(pid), "started_at": DatabaseTime()}
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
        return row is not None and (row.host != socket.gethostname() or _is_alive(row.pid, row.birth))

    def dead(self) -> list[str]:
        """The ids of processes of this machine that are on the roster although they are gone."""
        with self._database.read() as session:
            here = session.scalars(select(ProcessRow).where(ProcessRow.host == socket.gethostname())).all()
        return [process.id for process in here if not _is_alive(process.pid, process.birth)]

    def _alive(self, role: Role) -> Select[ProcessRow]:
        return self._living().where(ProcessRow.role == role)

    def _living(self) -> Select[ProcessRow]:
        # Who was seen in time to come wrote so by a clock that was wrong, and has not written since.
        lease = self._lease_seconds
        return select(ProcessRow).where(ProcessRow.seen_at.between(DatabaseTime(-lease), DatabaseTime(lease)))


def _is_alive(pid: int, birth: str | None) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    found = _birth(pid)
    return birth is None or found is None or found == birth


def _birth(pid: int) -> str | None:
    """What no two processes of a machine share, however often it is started; None where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        # The name in parentheses may hold spaces; the start is the 20th field after it (proc(5): starttime).
        ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return None
    return f"{boot.decode()} {ticks.decode()}"
