"""The rows, and what holds between them."""

from typing import Any

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError

from app.database import Database, DatabaseTime
from app.tables import DatasetRow, EpochRow, JobRow, ModelRow, Row


def add(database: Database, *rows: Row) -> None:
    with database.write() as session:
        session.add_all(rows)


def dataset(**columns: Any) -> DatasetRow:
    about = {"id": "d", "rows": 1, "bytes": 1, "sha256": "", "columns": [], "splits": {}, "created_at": DatabaseTime()}
    return DatasetRow(**{**about, **columns})


def job(**columns: Any) -> JobRow:
    about = {"id": "j", "status": "queued", "spec": {}, "model": "linear", "requested_device": "cpu", "epochs": 1}
    return JobRow(**{**about, "created_at": DatabaseTime(), **columns})


def model(**columns: Any) -> ModelRow:
    about = {"id": "m", "kind": "linear", "features": [], "target": [], "metrics": {}, "created_at": DatabaseTime()}
    return ModelRow(**{**about, **columns})


def test_a_dataset_that_goes_leaves_its_jobs(database: Database):
    add(database, dataset(id="d"), dataset(id="e"))
    add(database, job(dataset_id="d", validation_dataset_id="e"))

    with database.write() as session:
        session.execute(delete(DatasetRow))

    with database.read() as session:
        left = session.get_one(JobRow, "j")
        assert (left.dataset_id, left.validation_dataset_id) == (None, None)


def test_a_job_that_goes_takes_its_history_along(database: Database):
    add(database, job())
    add(database, EpochRow(job_id="j", epoch=1, learning_rate=0.1, seconds=0.0))

    with database.write() as session:
        session.execute(delete(JobRow))

    with database.read() as session:
        assert session.scalars(select(EpochRow)).all() == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (dataset(id="1", name="houses"), dataset(id="2", name="houses")),
        (model(id="1", name="fashion", version=1), model(id="2", name="fashion", version=1)),
        (model(id="1", job_id="j"), model(id="2", job_id="j")),
    ],
    ids=["two datasets of one name", "two models of one version", "two models of one job"],
)
def test_what_must_be_unique_is(database: Database, first: Row, second: Row):
    add(database, first)

    with pytest.raises(IntegrityError):
        add(database, second)


def test_there_may_be_any_number_without_a_name(database: Database):
    add(database, dataset(id="1"), dataset(id="2"), model(id="1"), model(id="2"))

    with database.read() as session:
        assert len(session.scalars(select(ModelRow)).all()) == len(session.scalars(select(DatasetRow)).all()) == 2


def test_nothing_is_kept_as_null_not_as_the_json_null(database: Database):
    add(database, job(metrics=None, error=None))

    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM jobs WHERE metrics IS NULL AND error IS NULL")) == 1
