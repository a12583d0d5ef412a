"""The registry: which models there are, and what `fashion` or `fashion:2` means at this moment."""

import re
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.database import Database, DatabaseTime
from app.errors import ModelNotFound
from app.identifiers import is_id
from app.storage import Storage
from app.tables import ModelRow

COLLECTION = "models"

_VERSIONED = re.compile(r"^(?P<name>[^:@]+):(?P<version>[1-9][0-9]{0,8})$")


def key(model_id: str) -> str:
    """Where a model's files lie in the storage."""
    return f"{COLLECTION}/{model_id}"


class Registry:
    """Adds, finds, lists and deletes models."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage

    def add(self, session: Session, model_id: str, name: str | None, **fields: Any) -> ModelRow:
        """Add a model in the caller's transaction, as the next version of its name."""
        version = None
        if name is not None:
            newest = session.scalar(select(func.max(ModelRow.version)).where(ModelRow.name == name))
            version = (newest or 0) + 1
        row = ModelRow(id=model_id, name=name, version=version, created_at=DatabaseTime(), **fields)
        session.add(row)
        return row

    def get(self, reference: str) -> ModelRow:
        """The model that an id, a name (its newest version), or `name:version` means."""
        with self._database.read() as session:
            model = session.scalars(_meaning(reference)).first()
        if model is None:
            raise ModelNotFound(reference)
        return model

    def page(self, limit: int, before: str | None = None, name: str | None = None) -> list[ModelRow]:
        """Models, newest first, older than the model `before`."""
        query = select(ModelRow).order_by(ModelRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(ModelRow.id < before)
        if name is not None:
            query = query.where(ModelRow.name == name)
        with self._database.read() as session:
            return list(session.scalars(query))

    def delete(self, reference: str) -> None:
        """Remove a model and its files."""
        model_id = self.get(reference).id
        with self._database.write() as session:
            row = session.get(ModelRow, model_id)
            if row is None:
                raise ModelNotFound(reference)
            session.delete(row)
        self._storage.delete(key(model_id))

    def sweep(self) -> list[str]:
        """Remove what workers that died have left."""
        return self._storage.sweep(COLLECTION, self._is_known)

    def _is_known(self, model_id: str) -> bool:
        # A session of its own for each look: one that is older than the folder's row would not see it.
        with self._database.read() as session:
            return session.get(ModelRow, model_id) is not None


def _meaning(reference: str) -> Select[ModelRow]:
    if is_id(reference):
        return select(ModelRow).where(ModelRow.id == reference)
    if versioned := _VERSIONED.fullmatch(reference):
        name, version = versioned["name"], int(versioned["version"])
        return select(ModelRow).where(ModelRow.name == name, ModelRow.version == version)
    return select(ModelRow).where(ModelRow.name == reference).order_by(ModelRow.version.desc()).limit(1)
