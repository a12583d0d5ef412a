"""The disk's budget."""

from pathlib import Path

import pytest

from app.disk import Disk
from app.errors import StorageFull
from app.storage import Storage

MEBIBYTE = 2**20


def keep(storage: Storage, key: str, size: int) -> None:
    with storage.stage() as stage:
        (stage.path / "data").write_bytes(bytes(size))
        stage.publish(key)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """One that may hold a mebibyte."""
    root = tmp_path / "data"
    return Storage(root, Disk(root, budget_bytes=MEBIBYTE))


def test_without_a_budget_everything_is_let_in(tmp_path: Path):
    Disk(tmp_path).check(2**60)


def test_what_fits_the_budget_is_kept_and_what_goes_beyond_it_is_not(storage: Storage):
    keep(storage, "things/a", MEBIBYTE // 2)

    with pytest.raises(StorageFull, match=r"may hold 1\.0 MiB, and holds [01]\.\d MiB"):
        keep(storage, "things/b", MEBIBYTE)

    assert not storage.path("things/b").exists()
    assert list((storage.root / "staging").iterdir()) == []
    keep(storage, "things/c", MEBIBYTE // 4)


def test_what_is_deleted_makes_room_at_once(storage: Storage):
    keep(storage, "things/a", MEBIBYTE - 100)
    with pytest.raises(StorageFull):
        keep(storage, "things/b", MEBIBYTE // 2)

    storage.delete("things/a")

    keep(storage, "things/b", MEBIBYTE // 2)


def test_what_others_have_written_counts(storage: Storage):
    (storage.root / "folder").mkdir()
    (storage.root / "folder" / "other").write_bytes(bytes(2 * MEBIBYTE))

    with pytest.raises(StorageFull), storage.stage():
        pytest.fail("there is no room to begin")


def test_the_reserve_stays_free(tmp_path: Path):
    with pytest.raises(StorageFull, match="would stay free"):
        Disk(tmp_path, reserve_bytes=2**60).check()


def test_used_is_the_sum_of_all_files(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(10))
    (tmp_path / "c").write_bytes(bytes(5))
    (tmp_path / "link").symlink_to(tmp_path / "c")

    assert Disk(tmp_path).used() == 15 + (tmp_path / "link").lstat().st_size


def test_what_is_lent_counts_piece_by_piece_until_it_is_given_back(tmp_path: Path):
    disk = Disk(tmp_path, budget_bytes=100)

    with disk.lend() as take:
        for _ in range(10):
            take(10)
        assert disk.used() == 100
        with pytest.raises(StorageFull):
            take(1)

    assert disk.used() == 0


def test_what_is_due_is_kept_beyond_the_budget(storage: Storage):
    with storage.stage(is_due=True) as stage:
        (stage.path / "data").write_bytes(bytes(2 * MEBIBYTE))
        stage.publish("things/due")

    assert storage.bytes("things/due") == 2 * MEBIBYTE
