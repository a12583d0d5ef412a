"""The registry: which models there are, and what `fashion`, `fashion:2` or `fashion@champion` means at this moment."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, select, update
from sqlalchemy.orm import Session

from app import idempotency
from app.access.viewer import check_own, viewer, visible
from app.database import Database, DatabaseTime
from app.errors import AliasNotFound, DamagedFiles, Fault, InvalidRequest, ModelNotFound, SeveralVersions
from app.identifiers import NAME_PATTERN, NAME_RULE, can_be_called, is_id
from app.models import names
from app.storage import Storage, intact
from app.tables import AliasRow, ModelNameRow, ModelRow

COLLECTION = "models"

_VERSIONED = re.compile(r"^(?P<name>[^:@]+):(?P<version>[1-9][0-9]{0,8})$")
_ALIASED = re.compile(r"^(?P<name>[^:@]+)@(?P<alias>[^:@]+)$")
_FIRST = (ModelRow.partial, ModelRow.version.desc())
"""The order of the versions of a name, first the one that the name alone means: the newest that is not partial."""


def key(model_id: str) -> str:
    """Where a model's files lie in the storage."""
    return f"{COLLECTION}/{model_id}"


class Registry:
    """Adds, finds, lists, aliases and deletes models."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage

    def add(
        self,
        session: Session,
        model_id: str,
        name: str | None,
        owner: str | None = None,
        shared: bool | None = None,
        **fields: Any,
    ) -> ModelRow:
        """Add a model in the caller's transaction, as the next version of its name.

        A version belongs to the owner of its name, and is shared if what the name means is and nothing else is said.
        """
        version = None
        if name is not None:
            shared = shared if shared is not None else _is_shared(session, name)
            version, owner = _next_version(session, name, owner)
        about = {"version": version, "owner": owner, "shared": bool(shared)}
        row = ModelRow(id=model_id, name=name, created_at=DatabaseTime(), **about, **fields)
        session.add(row)
        return row

    def create(self, model_id: str, name: str | None, **fields: Any) -> ModelRow:
        """Add a model of the viewer's in a transaction of its own, as what the current request has made."""
        with self._database.write() as session:
            if name is not None:
                names.claim(session, name)
            row = self.add(session, model_id, name, viewer().owner, **fields)
            session.flush()
            idempotency.created(session, f"/models/{model_id}")
            return find(session, row.id)

    def get(self, reference: str) -> ModelRow:
        """The model that an id, a name, `name:version` or `name@alias` means."""
        with self._database.read() as session:
            return find(session, reference)

    def page(self, limit: int, before: str | None = None, name: str | None = None) -> list[ModelRow]:
        """Models, newest first, older than the model `before`."""
        query = select(ModelRow).where(visible(ModelRow)).order_by(ModelRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(ModelRow.id < before)
        if name is not None:
            query = query.where(ModelRow.name == name if can_be_called(name) else false())
        with self._database.read() as session:
            return list(session.scalars(query))

    def versions(self, name: str) -> list[ModelRow]:
        """Every version of a name, oldest first."""
        query = select(ModelRow).where(ModelRow.name == name, visible(ModelRow)).order_by(ModelRow.version)
        with self._database.read() as session:
            return list(session.scalars(query))

    def aliases(self, models: Sequence[ModelRow]) -> dict[str, list[str]]:
        """The aliases of some models, by their ids."""
        found: dict[str, list[str]] = {model.id: [] for model in models}
        query = select(AliasRow).where(AliasRow.model_id.in_(found)).order_by(AliasRow.alias)
        with self._database.read() as session:
            for row in session.scalars(query):
                found[row.model_id].append(row.alias)
        return found

    def set_alias(self, name: str, alias: str, version: int) -> ModelRow:
        """Give a version an alias, taking it from the version that had it, in one transaction."""
        if re.fullmatch(NAME_PATTERN, alias) is None:
            raise InvalidRequest(Fault("alias", NAME_RULE))
        _check_name(name)
        with self._database.write() as session:
            while True:
                model = find(session, f"{name}:{version}")
                check_own(model, f"{name}:{version}")
                if _is_moved(session, name, alias, model.id) or names.is_added(
                    session, AliasRow(name=name, alias=alias, model_id=model.id, moved_at=DatabaseTime())
                ):
                    return model

    def remove_alias(self, name: str, alias: str) -> None:
        """Take an alias away; the model stays."""
        _check_name(name)
        with self._database.write() as session:
            row = session.get(AliasRow, (name, alias)) if can_be_called(name + alias) else None
            model = session.scalar(_seen(ModelRow.id == row.model_id)) if row is not None else None
            if row is None or model is None:
                raise AliasNotFound(name, alias)
            check_own(model, f"{name}@{alias}")
            session.delete(row)

    def share(self, reference: str, shared: bool) -> ModelRow:
        """Let everyone see and use a model, or its owner alone."""
        with self._database.write() as session:
            row = find(session, reference)
            check_own(row, reference)
            row.shared = shared
            return row

    def delete(self, reference: str) -> None:
        """Remove a model, its aliases and its files. From the moment the row is gone, nobody finds it.

        A name says which one only while it has a single version: who asks twice, because the first reply was lost, is
        not to delete two.
        """
        with self._database.write() as session:
            row = find(session, reference)
            check_own(row, reference)
            if reference == row.name:
                _check_single(session, reference)
            session.delete(row)
            model_id = row.id
        self._storage.delete(key(model_id))

    @contextmanager
    def files(self, model_id: str) -> Iterator[Path]:
        """The folder of a model whose row was read, for a block that reads it and does nothing else.

        Raises:  ModelNotFound if it was deleted since; DamagedFiles
        """
        try:
            with intact(key(model_id)):
                yield self._storage.path(key(model_id))
        except DamagedFiles as error:
            if self._is_known(model_id):
                raise
            raise ModelNotFound(model_id) from error

    def sweep(self) -> list[str]:
        """Remove what workers that died have left."""
        return self._storage.sweep(COLLECTION, self._is_known)

    def _is_known(self, model_id: str) -> bool:
        # A session of its own for each look: one that is older than the folder's row would not see it.
        with self._database.read() as session:
            return session.get(ModelRow, model_id) is not None


def find(session: Session, reference: str) -> ModelRow:
    """The model that a reference means to the viewer: a name is the newest whole version that there is to see.

    A job that was stopped or diverged leaves a partial one, which must not take the place of one that is in use. It is
    what the name means only where there is no other.
    """
    model = session.scalars(_meaning(reference)).first() if can_be_called(reference) else None
    if model is None:
        raise ModelNotFound(reference)
    return model


def _meaning(reference: str) -> Select[ModelRow]:
    if is_id(reference):
        return _seen(ModelRow.id == reference)
    if versioned := _VERSIONED.fullmatch(reference):
        name, version = versioned["name"], int(versioned["version"])
        return _seen(ModelRow.name == name, ModelRow.version == version)
    if aliased := _ALIASED.fullmatch(reference):
        is_meant = (AliasRow.name == aliased["name"], AliasRow.alias == aliased["alias"])
        return _seen(*is_meant).join(AliasRow, AliasRow.model_id == ModelRow.id)
    return _seen(ModelRow.name == reference).order_by(*_FIRST).limit(1)


def _check_name(name: str) -> None:
    """An alias belongs to a name: the path of its calls says no version, and no id."""
    if is_id(name):
        raise InvalidRequest(Fault("name", f"{name!r} is a model's id; give its name, since aliases belong to names"))
    if versioned := _VERSIONED.fullmatch(name) or _ALIASED.fullmatch(name):
        message = f"{name!r} says a version; give the name alone, {versioned['name']!r}"
        raise InvalidRequest(Fault("name", message))


def _check_single(session: Session, name: str) -> None:
    query = select(ModelRow.version).where(ModelRow.name == name, visible(ModelRow)).order_by(ModelRow.version.desc())
    versions = [version for version in session.scalars(query) if version is not None]
    if len(versions) > 1:
        raise SeveralVersions(name, versions)


def _seen(*conditions: ColumnElement[bool]) -> Select[ModelRow]:
    return select(ModelRow).where(*conditions, visible(ModelRow))


def _is_shared(session: Session, name: str) -> bool:
    return bool(session.scalar(select(ModelRow.shared).where(ModelRow.name == name).order_by(*_FIRST).limit(1)))


def _next_version(session: Session, name: str, owner: str | None) -> tuple[int, str | None]:
    """Count the name's versions on; returns the version, and whose the name is.

    The row is locked until the commit, so that no two models get one number.
    """
    while (counted := _counted_on(session, name)) is None:
        # A name that models had before names were counted, or a new one.
        newest = session.scalar(select(func.max(ModelRow.version)).where(ModelRow.name == name))
        version = (newest or 0) + 1
        if names.is_added(session, ModelNameRow(name=name, newest_version=version, owner=owner)):
            return version, owner
    return counted


def _counted_on(session: Session, name: str) -> tuple[int, str | None] | None:
    count = update(ModelNameRow).where(ModelNameRow.name == name)
    count = count.values(newest_version=ModelNameRow.newest_version + 1)
    counted = session.execute(count.returning(ModelNameRow.newest_version, ModelNameRow.owner)).one_or_none()
    return (counted[0], counted[1]) if counted is not None else None


def _is_moved(session: Session, name: str, alias: str, model_id: str) -> bool:
    move = update(AliasRow).where(AliasRow.name == name, AliasRow.alias == alias)
    move = move.values(model_id=model_id, moved_at=DatabaseTime())
    return session.scalar(move.returning(AliasRow.alias)) is not None
