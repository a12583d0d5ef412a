"""Presence: keeps an API process on the roster while it lives, so that workers can wake it."""

import threading
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.errors import OnelayerError
from app.jobs.bell import Bell
from app.jobs.roster import Roster

log = structlog.get_logger(__name__)


class Presence:
    """Signs in, says "still here" from a thread, signs out."""

    def __init__(self, database: Database, roster: Roster, bell: Bell, lease_seconds: float) -> None:
        self._database = database
        self._roster = roster
        self._bell = bell
        self._interval_seconds = lease_seconds / 3
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="presence", daemon=True)

    @property
    def process_id(self) -> str:
        """The entry of this process on the roster."""
        return self._process_id

    def __enter__(self) -> Self:
        self._process_id = self._roster.sign_in("api", self._bell.port)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._roster.sign_out(self._process_id)

    def _stay(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            try:
                with self._database.write() as session:
                    self._roster.stay(session, self._process_id)
            except (SQLAlchemyError, OnelayerError):
                log.exception("the roster could not be written; workers may wake this process late")
