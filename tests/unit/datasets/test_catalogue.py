import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.database import Database
from app.datasets.catalogue import COLLECTION, Catalogue
from app.datasets.dataset import Dataset
from app.datasets.export import csv_of
from app.datasets.ingest import Choices
from app.datasets.readers import csv
from app.datasets.readers.upload import Upload
from app.datasets.synthetic import SyntheticLinear
from app.errors import DamagedFiles, DatasetInUse, DatasetNotFound, InvalidData, InvalidRequest, NameTaken
from app.identifiers import new_id
from app.storage import Storage
from app.tables import JobRow

LINE = SyntheticLinear([2.0, -3.4], 4.2, rows=20)


@pytest.fixture
def catalogue(database: Database, storage: Storage) -> Catalogue:
    return Catalogue(database, storage)


def files(storage: Storage) -> list[Path]:
    return [path for path in storage.root.rglob("*") if path.is_file()]


def job(database: Database, **columns: object) -> None:
    about = {
        "id": "j",
        "spec": {},
        "model": "linear",
        "requested_device": "cpu",
        "epochs": 1,
        "created_at": datetime.now(UTC),
    }
    with database.write() as session:
        session.add(JobRow(**about, **columns))


def test_a_dataset_is_found_by_id_and_by_name(catalogue: Catalogue):
    row = catalogue.create(LINE.content(), Choices(), "line")

    assert catalogue.get(row.id).id == catalogue.get("line").id == row.id
    assert (row.rows, row.target, row.splits) == (20, "y", {"train": 20, "test": 0})
    assert row.truth["weights"] == [2.0, -3.4]
    assert row.bytes > 0
    assert catalogue.open("line").column("y").to_pylist() == LINE.content().batches()[0].column("y").to_pylist()


def test_what_is_not_there_is_not_found(catalogue: Catalogue):
    for dataset in ("nobody", "0190a4e0-0000-7000-8000-000000000000"):
        with pytest.raises(DatasetNotFound):
            catalogue.get(dataset)


def test_pages_are_newest_first_and_complete(catalogue: Catalogue):
    made = [catalogue.create(LINE.content(), Choices()).id for _ in range(5)]

    first = catalogue.page(2)
    second = catalogue.page(2, before=first[-1].id)
    third = catalogue.page(2, before=second[-1].id)

    assert [row.id for page in (first, second, third) for row in page] == made[::-1]


def test_a_name_is_taken_until_its_dataset_is_deleted(catalogue: Catalogue, storage: Storage):
    catalogue.create(LINE.content(), Choices(), "line")
    with pytest.raises(NameTaken):
        catalogue.create(LINE.content(), Choices(), "line")

    catalogue.delete("line")

    assert not files(storage)
    assert catalogue.create(LINE.content(), Choices(), "line").name == "line"


def test_of_two_uploads_of_one_name_the_second_leaves_nothing(
    catalogue: Catalogue, storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    catalogue.create(LINE.content(), Choices(), "line")
    before = files(storage)
    monkeypatch.setattr(catalogue, "_check_name", lambda name: None)

    with pytest.raises(NameTaken):
        catalogue.create(LINE.content(), Choices(), "line")

    assert files(storage) == before


@pytest.mark.parametrize("name", ["", "a b", "a:1", "-a", "x" * 101, "0190a4e0-0000-7000-8000-000000000000"])
def test_a_bad_name_is_refused(catalogue: Catalogue, name: str):
    with pytest.raises(InvalidRequest):
        catalogue.create(LINE.content(), Choices(), name)


def test_bad_content_leaves_nothing(catalogue: Catalogue, storage: Storage, tmp_path: Path):
    (tmp_path / "bad.csv").write_bytes(b"a,b\n1,2\n3\n")

    with pytest.raises(InvalidData):
        catalogue.create(csv.read(Upload({"file": tmp_path / "bad.csv"}, 1000)), Choices())

    assert not files(storage)
    assert not catalogue.page(1)


def test_a_dry_run_describes_and_keeps_nothing(catalogue: Catalogue, storage: Storage):
    kept = catalogue.create(LINE.content(), Choices())
    before = files(storage)

    description = catalogue.try_out(LINE.content(), Choices())

    assert (description.sha256, description.columns) == (kept.sha256, kept.columns)
    assert files(storage) == before


@pytest.mark.parametrize("status", ["queued", "running"])
@pytest.mark.parametrize("column", ["dataset_id", "validation_dataset_id"])
def test_a_dataset_that_a_job_needs_stays(catalogue: Catalogue, database: Database, status: str, column: str):
    row = catalogue.create(LINE.content(), Choices())
    job(database, status=status, **{column: row.id})

    with pytest.raises(DatasetInUse):
        catalogue.delete(row.id)

    assert catalogue.open(row.id).rows == 20


def test_a_dataset_is_locked_before_its_jobs_are_looked_for(catalogue: Catalogue, asked: list[str]):
    row = catalogue.create(LINE.content(), Choices())
    asked.clear()

    catalogue.delete(row.id)

    assert "FROM datasets" in asked[0]
    assert asked[0].endswith("FOR UPDATE")
    assert "FROM jobs" in asked[1]


def test_a_dataset_whose_jobs_are_over_can_go(catalogue: Catalogue, database: Database):
    row = catalogue.create(LINE.content(), Choices())
    job(database, status="succeeded", dataset_id=row.id)

    catalogue.delete(row.id)

    with pytest.raises(DatasetNotFound):
        catalogue.get(row.id)


def test_a_dataset_that_is_there_but_not_its_files_says_what_to_do(catalogue: Catalogue, storage: Storage):
    row = catalogue.create(LINE.content(), Choices(), "line")
    shutil.rmtree(storage.path(f"{COLLECTION}/{row.id}"))

    with pytest.raises(DamagedFiles, match=f"datasets/{row.id}.*backup.*DELETE"):
        catalogue.open("line")
    with pytest.raises(DatasetNotFound):
        catalogue.files(new_id())

    catalogue.delete("line")


READS: dict[str, Callable[[Dataset], object]] = {
    "a column": lambda dataset: dataset.column("y"),
    "rows": lambda dataset: dataset.read(limit=5),
    "blocks": lambda dataset: list(dataset.blocks(["y"], dataset.split("all"), 7)),
    "a download": lambda dataset: list(csv_of(dataset, dataset.split("all"))),
}


@pytest.mark.parametrize("read", READS)
def test_a_dataset_that_is_deleted_before_it_is_read_is_not_found(catalogue: Catalogue, storage: Storage, read: str):
    deleted, damaged = (catalogue.open(catalogue.create(LINE.content(), Choices()).id) for _ in range(2))
    catalogue.delete(deleted.folder.name)
    shutil.rmtree(damaged.folder)

    with pytest.raises(DatasetNotFound):
        READS[read](deleted)
    with pytest.raises(DamagedFiles):
        READS[read](damaged)


def test_the_sweep_removes_orphans_and_keeps_datasets(catalogue: Catalogue, storage: Storage):
    row = catalogue.create(LINE.content(), Choices())
    (storage.root / COLLECTION / "orphan").mkdir()
    (storage.root / COLLECTION / "orphan" / "table.parquet").touch()

    assert catalogue.sweep() == [f"{COLLECTION}/orphan"]
    assert catalogue.open(row.id).rows == 20
