import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from app import storage as module
from app.datasets import matrix_cache
from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.matrix_cache import MatrixCache
from app.datasets.splitting import Part, split
from app.datasets.target_encoding import TargetEncoding
from app.errors import StorageFull
from app.storage import Storage
from app.tally import FILE
from tests.unit.datasets.conftest import Build, images

ROWS = 100
MATRIX_BYTES = ROWS * 2 * 4 + 128  # two columns of float32, and the head of the file


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_cache, "LEAST_BYTES", 1)


@pytest.fixture
def dataset(build: Build) -> Dataset:
    generator = np.random.default_rng(0)
    return build({"a": generator.normal(size=ROWS), "b": generator.normal(size=ROWS), "y": generator.normal(size=ROWS)})


def everything(dataset: Dataset) -> Part:
    return Part(dataset, dataset.split("all"))


def encoding_of(dataset: Dataset, standardize: bool = True, **options: object) -> Encoding:
    target = TargetEncoding.fit(dataset, "y", "linear")
    return Encoding.fit(everything(dataset), None, target, standardize, **options)


def files(storage: Storage) -> list[Path]:
    return sorted(storage.root.glob("matrices/*/*/matrix.npy"))


def test_a_matrix_is_encoded_once_and_mapped_by_all_jobs_with_the_same_encoding(storage: Storage, dataset: Dataset):
    encoding = encoding_of(dataset)

    first = MatrixCache(storage, 1 << 20).design(encoding, everything(dataset))
    written = files(storage)[0].stat().st_mtime_ns
    again = MatrixCache(storage, 1 << 20).design(encoding_of(dataset), everything(dataset))

    assert isinstance(again.X, np.memmap)
    assert np.array_equal(again.X, first.X)
    assert np.array_equal(again.X, encoding.matrix(everything(dataset)).X)
    assert [file.stat().st_mtime_ns for file in files(storage)] == [written]


def test_two_workers_that_encode_the_same_at_once_both_have_it(
    storage: Storage, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    encoding, sync, others = encoding_of(dataset), module._sync, []

    def late(path: Path) -> None:
        if not others:
            others.append(None)
            others[0] = MatrixCache(storage, 1 << 20).design(encoding, everything(dataset)).X
        sync(path)

    monkeypatch.setattr(module, "_sync", late)
    X = MatrixCache(storage, 1 << 20).design(encoding, everything(dataset)).X

    assert np.array_equal(X, encoding.matrix(everything(dataset)).X)
    assert np.array_equal(X, others[0])
    assert len(files(storage)) == 1
    assert not list((storage.root / "staging").iterdir())


def test_another_encoding_or_other_rows_are_another_matrix(storage: Storage, dataset: Dataset):
    cache = MatrixCache(storage, 1 << 20)
    parts = split(dataset, {"fraction": 0.5}, 1)

    for encoding in (encoding_of(dataset), encoding_of(dataset, standardize=False)):
        for part in (everything(dataset), parts.train, parts.validation, split(dataset, {"fraction": 0.5}, 2).train):
            assert np.array_equal(cache.design(encoding, part).X, encoding.matrix(part).X)

    assert len(files(storage)) == 8


def test_the_matrix_that_was_used_longest_ago_makes_room(storage: Storage, dataset: Dataset):
    cache = MatrixCache(storage, 2 * MATRIX_BYTES + 100)
    part = everything(dataset)
    encodings = [encoding_of(dataset, standardize) for standardize in (True, False)]
    for age, encoding in enumerate(encodings):
        cache.design(encoding, part)
        newest = max(files(storage), key=lambda file: file.parent.stat().st_mtime)
        os.utime(newest.parent, (1000 + age, 1000 + age))
    before = set(files(storage))
    kept = cache.design(encodings[0], part).X
    cache.design(encoding_of(dataset), Part(dataset, slice(0, ROWS - 1)))

    gone = before - set(files(storage))

    assert len(gone) == 1
    assert len(files(storage)) == 2
    assert np.array_equal(cache.design(encodings[0], part).X, kept)


def test_a_matrix_beyond_the_budget_serves_its_job_and_leaves_nothing(storage: Storage, dataset: Dataset):
    encoding = encoding_of(dataset)

    X, _ = MatrixCache(storage, 10).design(encoding, everything(dataset))

    assert np.array_equal(X, encoding.matrix(everything(dataset)).X)
    assert [path.name for path in storage.root.rglob("*") if path.is_file()] == [FILE]


def test_a_matrix_that_is_freed_while_it_is_mapped_stays_readable(storage: Storage, dataset: Dataset):
    cache = MatrixCache(storage, 1 << 20)
    encoding = encoding_of(dataset)
    X, _ = cache.design(encoding, everything(dataset))

    cache.forget(dataset.folder.name)

    assert cache.bytes(dataset.folder.name) == 0
    assert np.array_equal(X, encoding.matrix(everything(dataset)).X)


def test_the_size_of_a_datasets_matrices_is_told(storage: Storage, dataset: Dataset):
    cache = MatrixCache(storage, 1 << 20)
    cache.design(encoding_of(dataset), everything(dataset))

    assert cache.bytes(dataset.folder.name) == MATRIX_BYTES
    assert cache.bytes("another") == 0


@pytest.mark.parametrize("depth", ["dataset", "matrix"])
def test_what_is_deleted_while_matrices_are_counted_is_left_out(
    storage: Storage, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, depth: str
):
    cache = MatrixCache(storage, 1 << 20)
    cache.design(encoding_of(dataset), everything(dataset))
    own = files(storage)[0].parent
    other = storage.root / "matrices" / "other"
    (other / "digest").mkdir(parents=True)
    (other / "digest" / "matrix.npy").write_bytes(b"x")

    def just_deleted(look: Callable[..., object]) -> Callable[..., object]:
        def late(folder: object, *arguments: object, **options: object) -> object:
            if str(folder) == str(other if depth == "dataset" else other / "digest"):
                shutil.rmtree(str(folder), ignore_errors=True)
            return look(folder, *arguments, **options)

        return late

    for name in ("listdir", "scandir", "stat"):
        monkeypatch.setattr(os, name, just_deleted(getattr(os, name)))
    cache.design(encoding_of(dataset, standardize=False), everything(dataset))

    assert len(files(storage)) == 2
    assert own in {file.parent for file in files(storage)}
    assert cache.bytes("other") == 0


def test_what_is_no_matrix_does_not_count(storage: Storage, dataset: Dataset):
    cache = MatrixCache(storage, 1 << 20)
    cache.design(encoding_of(dataset), everything(dataset))
    (storage.root / "matrices" / "stray").touch()
    (files(storage)[0].parents[1] / "stray").touch()

    assert cache.bytes(dataset.folder.name) == MATRIX_BYTES
    assert cache.bytes("stray") == 0


def test_a_full_disk_leaves_no_half_of_a_matrix(storage: Storage, dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.datasets.array_writer.ArrayWriter.finish", fail)

    with pytest.raises(StorageFull):
        MatrixCache(storage, 1 << 20).design(encoding_of(dataset), everything(dataset))

    assert [path.name for path in storage.root.rglob("*") if path.is_file()] == [FILE]


def garbled(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"garbage!!")


def of_another_shape(file: Path) -> None:
    np.save(file, np.zeros((ROWS, 1), np.float32))


def in_another_order(file: Path) -> None:
    np.save(file, np.asfortranarray(np.zeros((ROWS, 2), np.float32)))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut off": lambda file: os.truncate(file, MATRIX_BYTES // 2),
    "empty": lambda file: os.truncate(file, 0),
    "a garbled head": garbled,
    "another shape": of_another_shape,
    "another order": in_another_order,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_matrix_that_is_damaged_is_encoded_again(storage: Storage, dataset: Dataset, damage: str):
    cache, encoding = MatrixCache(storage, 1 << 20), encoding_of(dataset)
    cache.design(encoding, everything(dataset))
    DAMAGES[damage](files(storage)[0])

    with capture_logs() as logged:
        X, _ = cache.design(encoding, everything(dataset))

    assert [line["log_level"] for line in logged] == ["warning"]
    assert np.array_equal(X, encoding.matrix(everything(dataset)).X)
    assert np.array_equal(np.load(files(storage)[0]), X)


def test_small_matrices_and_ranges_of_images_need_no_file(
    storage: Storage, build: Build, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    pictures = build(images(50), "idx")
    target = TargetEncoding.fit(pictures, "label", "softmax")
    encoding = Encoding.fit(everything(pictures), None, target, standardize=False)
    cache = MatrixCache(storage, 1 << 20)

    cache.design(encoding, everything(pictures))
    assert files(storage) == []
    chosen = split(pictures, {"fraction": 0.5}, 1).train
    design = cache.design(encoding, chosen)
    assert (design.X.dtype, design.scale) == (np.uint8, 1 / 255)
    assert np.array_equal(design.X, encoding.matrix(chosen).X)
    monkeypatch.setattr(matrix_cache, "LEAST_BYTES", 1 << 20)
    assert not isinstance(cache.design(encoding_of(dataset), everything(dataset)).X, np.memmap)
