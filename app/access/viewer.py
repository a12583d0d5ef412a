"""The viewer: on whose behalf the service works at this moment, and which rows that one may see and change.

A dataset, job or model belongs to the owner whose key made it. Its owner sees and changes it; everyone sees what is
shared or has no owner; an admin sees and changes everything. To all others it is as if it were not there.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, false, or_, true

from app.access.scope import Scope
from app.errors import NoOwner, NotOwner
from app.tables import DatasetRow, JobRow, ModelRow

Owned = DatasetRow | JobRow | ModelRow


@dataclass(frozen=True)
class Viewer:
    """Who looks: the scope and owner of a key. Without a key there is no owner, and without a scope nothing to see."""

    scope: Scope | None
    owner: str | None = None
    key_id: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether owners make no difference."""
        return self.scope is Scope.ADMIN

    @property
    def sight(self) -> str | None:
        """What two viewers have in common who see the same."""
        return None if self.scope is Scope.ADMIN else self.owner or ""


SERVICE = Viewer(Scope.ADMIN)
"""The service on its own behalf, and whoever needs no key: they see everything, and what they make has no owner."""

NOBODY = Viewer(None)
"""Whoever needs a key and has none that counts."""

_viewer: ContextVar[Viewer] = ContextVar("viewer", default=SERVICE)


def viewer() -> Viewer:
    """On whose behalf the service works at this moment."""
    return _viewer.get()


class working_for:  # noqa: N801  used as a word of the language; a generator would take four times as long
    """What is done in this block is done on someone's behalf."""

    __slots__ = ("_before", "_whom")

    def __init__(self, whom: Viewer) -> None:
        self._whom = whom

    def __enter__(self) -> None:
        self._before = _viewer.set(self._whom)

    def __exit__(self, *_: object) -> None:
        _viewer.reset(self._before)


def visible(rows: type[Owned]) -> ColumnElement[bool]:
    """The condition under which the viewer sees a row."""
    whom = viewer()
    if whom.sees_all:
        return true()
    if whom.scope is None:
        return false()
    conditions: list[Any] = [rows.owner == whom.owner, rows.owner.is_(None)]
    if rows is not JobRow:
        conditions.append(rows.shared)  # type: ignore[union-attr]  # a job is never shared
    return or_(*conditions)


def check_own(row: Owned, called: str) -> None:
    """Refuse to change what the viewer sees but does not own."""
    whom = viewer()
    if not whom.sees_all and (whom.owner is None or row.owner != whom.owner):
        raise NoOwner(called) if row.owner is None else NotOwner(called)
