import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.datasets import table_writer
from app.datasets.dataset import DESCRIPTION_FILE, TABLE_FILE, Dataset, Description
from app.datasets.export import csv_of
from app.errors import DamagedFiles
from tests.unit.datasets.conftest import Build, images


@pytest.mark.parametrize(("offset", "limit"), [(0, 3), (5, 10), (97, 10), (200, 5), (0, None), (40, 0)])
def test_rows_are_read_from_the_row_groups_that_hold_them(
    build: Build, monkeypatch: pytest.MonkeyPatch, offset: int, limit: int | None
):
    monkeypatch.setattr(table_writer, "_GROUP_BYTES", 1)
    body = b"a,b\n" + b"".join(b"%d,t%d\n" % (i, i) for i in range(100))
    monkeypatch.setattr("app.datasets.readers.csv.BLOCK_BYTES", 128)
    dataset = build(body)

    expected = [{"a": i, "b": f"t{i}"} for i in range(100)]
    assert dataset.read("all", offset, limit) == expected[offset:][:limit]


def test_rows_of_a_split_count_from_its_own_beginning(build: Build):
    dataset = build({**images(9), **{f"test_{part}": body for part, body in images(6, 1).items()}}, "idx")

    assert [row["label"] for row in dataset.read("test", 1, 3)] == ["1", "2", "0"]
    assert dataset.read("test", 1, 1)[0]["image"] == dataset.array("image")[10].tolist()
    assert dataset.read("train", 8, 5) == dataset.read("all", 8, 1)


def test_a_dataset_is_opened_from_its_folder_alone(build: Build):
    made = build(images(3), "idx")

    again = Dataset.open(made.folder)

    assert again.description == made.description
    assert Description.read(made.folder) == made.description
    assert again.shape("image") == (3, 2)


READS: dict[str, Callable[[Dataset], object]] = {
    "a column": lambda dataset: dataset.column("a"),
    "rows": lambda dataset: dataset.read(limit=5),
    "blocks": lambda dataset: list(dataset.blocks(["a"], dataset.split("all"), 7)),
    "a download": lambda dataset: list(csv_of(dataset, dataset.split("all"))),
}


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 4, len(content) // 4 + 40):
        content[place] ^= 0xFF
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "cut off": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "flipped bytes": flipped,
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_table_that_is_damaged_is_never_read_as_if_it_were_not(build: Build, read: str, damage: str):
    numbers = np.random.default_rng(0).normal(size=500)
    dataset = build({"a": numbers, "y": numbers})
    DAMAGES[damage](dataset.folder / TABLE_FILE)

    with pytest.raises(DamagedFiles):
        READS[read](Dataset.open(dataset.folder))


@pytest.mark.parametrize("damage", ["gone", "cut off", "empty"])
def test_a_damaged_description_or_array_says_what_to_do(build: Build, damage: str):
    dataset = build(images(50), "idx")
    DAMAGES[damage](dataset.folder / "0.npy")
    with pytest.raises(DamagedFiles, match="backup"):
        dataset.array("image")

    DAMAGES[damage](dataset.folder / DESCRIPTION_FILE)
    with pytest.raises(DamagedFiles, match="backup"):
        Dataset.open(dataset.folder)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), MemoryError()])
def test_what_is_no_fault_of_the_files_is_not_said_of_them(
    build: Build, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: object, **__: object) -> None:
        raise error

    dataset = build({"a": [1.0, 2.0], "y": [1.0, 2.0]})
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", fail)

    with pytest.raises(type(error)):
        dataset.column("a")
