"""Catalogue: the datasets there are. One is listed once its files are whole on disk, never before."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import idempotency
from app.access.viewer import check_own, viewer, visible
from app.database import Database
from app.datasets import matrix_cache
from app.datasets.bounds import BOUNDLESS, Bounds
from app.datasets.dataset import COLLECTION, Dataset, Description, key
from app.datasets.ingest import Choices, ingest
from app.datasets.matrix_cache import MEMORY_BYTES, MatrixCache
from app.datasets.readers.content import Content
from app.errors import DatasetInUse, DatasetNotFound, Fault, InvalidRequest, NameTaken
from app.identifiers import can_be_called, is_id, is_name, new_id
from app.job_status import LIVING
from app.storage import Storage
from app.tables import DatasetRow, JobRow


class Catalogue:
    """Makes, finds, lists and deletes datasets."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        matrix_cache_bytes: int = 0,
        memory_bytes: int = MEMORY_BYTES,
        bounds: Bounds = BOUNDLESS,
    ) -> None:
        self._database = database
        self._storage = storage
        self.bounds = bounds
        self.matrices = MatrixCache(storage, matrix_cache_bytes, memory_bytes)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A private folder for the files of an upload, gone when the block ends."""
        with self._storage.stage() as stage:
            yield stage.path

    def create(self, content: Content, choices: Choices, name: str | None = None, shared: bool = False) -> DatasetRow:
        """Keep the content as a dataset of the viewer's. If anything fails, nothing is listed and nothing stays."""
        self._check_name(name)
        dataset_id = new_id()
        with self._storage.stage() as stage:
            description = ingest(content, stage.path, choices, self.bounds)
            stage.publish(key(dataset_id))
            row = self._row(dataset_id, name, description, shared)
            try:
                with self._database.write() as session:
                    session.add(row)
                    idempotency.created(session, f"/datasets/{dataset_id}")
            except IntegrityError as error:
                # Two uploads of one name ran side by side, and the other was first.
                raise NameTaken(name or "") from error
        return row

    def try_out(self, content: Content, choices: Choices, name: str | None = None) -> Description:
        """The same checks and the same description; nothing is kept."""
        self._check_name(name)
        with self._storage.stage() as stage:
            return ingest(content, stage.path, choices, self.bounds)

    def get(self, dataset: str) -> DatasetRow:
        """The dataset with this id or name."""
        with self._database.read() as session:
            return find(session, dataset)

    def open(self, dataset: str) -> Dataset:
        """The dataset with this id or name, to read its values."""
        return self.files(self.get(dataset).id)

    def files(self, dataset_id: str) -> Dataset:
        """The values of a dataset whose row was read.

        Raises:  DatasetNotFound if it was deleted since; DamagedFiles
        """
        return Dataset.open(self._storage.path(key(dataset_id)), self._is_known)

    def page(self, limit: int, before: str | None = None) -> list[DatasetRow]:
        """Datasets, newest first, older than the dataset `before`."""
        query = select(DatasetRow).where(visible(DatasetRow)).order_by(DatasetRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(DatasetRow.id < before)
        with self._database.read() as session:
            return list(session.scalars(query))

    def truth(self, dataset_id: str | None) -> dict[str, Any] | None:
        """The parameters that generated a synthetic dataset, while it exists."""
        with self._database.read() as session:
            row = session.scalar(select(DatasetRow).where(DatasetRow.id == dataset_id, visible(DatasetRow)))
            return row.truth if row is not None else None

    def share(self, dataset: str, shared: bool) -> DatasetRow:
        """Let everyone see and use a dataset, or its owner alone."""
        with self._database.write() as session:
            row = find(session, dataset)
            check_own(row, dataset)
            row.shared = shared
            return row

    def delete(self, dataset: str) -> None:
        """Forget a dataset and free its files and matrices, unless a queued or running job needs it."""
        with self._database.write() as session:
            # Locked, so that no job on it is submitted between the look and the end.
            row = find(session, dataset, locked=True)
            check_own(row, dataset)
            if session.scalar(select(exists().where(_needed_by_job(row.id)))):
                raise DatasetInUse(dataset)
            session.delete(row)
            dataset_id = row.id
        # After the row: a crash in between leaves an orphan, which the sweep at the next start removes.
        self._storage.delete(key(dataset_id))
        self.matrices.forget(dataset_id)

    def sweep(self) -> list[str]:
        """Remove what uploads and workers that died have left."""
        collections = COLLECTION, matrix_cache.COLLECTION
        return [found for collection in collections for found in self._storage.sweep(collection, self._is_known)]

    def _is_known(self, dataset_id: str) -> bool:
        # A session of its own for each look: one that is older than the folder's row would not see it.
        with self._database.read() as session:
            return session.get(DatasetRow, dataset_id) is not None

    def _check_name(self, name: str | None) -> None:
        if name is None:
            return
        if not is_name(name):
            message = "at most 100 letters, digits, '.', '_' and '-', first a letter or digit; not like an id"
            raise InvalidRequest(Fault("name", f"{name!r} is no name: use {message}"))
        with self._database.read() as session:
            if session.scalar(select(exists().where(DatasetRow.name == name))):
                raise NameTaken(name)

    def _row(self, dataset_id: str, name: str | None, description: Description, shared: bool) -> DatasetRow:
        return DatasetRow(
            id=dataset_id,
            name=name,
            created_at=datetime.now(UTC),
            rows=description.rows,
            bytes=self._storage.bytes(key(dataset_id)),
            sha256=description.sha256,
            target=description.target,
            columns=description.columns,
            splits=description.splits,
            truth=description.truth,
            format=description.format,
            owner=viewer().owner,
            shared=shared,
        )


def find(session: Session, dataset: str, locked: bool = False) -> DatasetRow:
    """The row of the dataset with this id or name, if the viewer sees it; if it is locked, nobody else changes it."""
    column = DatasetRow.id if is_id(dataset) else DatasetRow.name
    query = select(DatasetRow).where(column == dataset, visible(DatasetRow))
    query = query.with_for_update() if locked else query
    row = session.scalar(query) if can_be_called(dataset) else None
    if row is None:
        raise DatasetNotFound(dataset)
    return row


def _needed_by_job(dataset_id: str) -> Any:
    uses = or_(JobRow.dataset_id == dataset_id, JobRow.validation_dataset_id == dataset_id)
    return JobRow.status.in_(LIVING) & uses
