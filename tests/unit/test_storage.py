"""Folders by key: whole or not at all, and nothing of the dead left behind."""

import errno
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from app import storage as module
from app.errors import StorageFull
from app.storage import Storage

WRITER = """
import sys
from pathlib import Path
from app.storage import Storage

with Storage(Path(sys.argv[1])).stage() as stage:
    (stage.path / "x").write_text("half of it")
    if sys.argv[2] == "published":
        stage.publish("models/m")
    print(stage.path.name, flush=True)
    sys.stdin.read()
"""


SWEEPER = """
import select, sys
from pathlib import Path
from app.storage import Storage

storage = Storage(Path(sys.argv[1]))
while not select.select([sys.stdin], [], [], 0)[0]:
    storage.sweep("models", lambda _: True)
"""


@contextmanager
def writer(storage: Storage, state: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds a stage, and the name of the stage's folder."""
    command = [sys.executable, "-c", WRITER, str(storage.root), state]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def publish(storage: Storage, key: str, content: str = "whole") -> Path:
    with storage.stage() as stage:
        (stage.path / "x").write_text(content)
        return stage.publish(key)


def left(storage: Storage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("x"))


def nobody(_: str) -> bool:
    return False


def test_a_key_is_there_only_once_it_is_published(storage: Storage):
    with storage.stage() as stage:
        (stage.path / "x").write_text("whole")
        assert not storage.path("models/m").exists()
        assert stage.publish("models/m") == storage.path("models/m")

    assert (storage.path("models/m") / "x").read_text() == "whole"
    assert storage.bytes("models/m") == len("whole")
    assert not list((storage.root / "staging").iterdir())


def test_every_file_is_on_disk_before_its_key_appears(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    seen = []
    sync = module._sync
    monkeypatch.setattr(module, "_sync", lambda path: (seen.append((path.name, target.exists())), sync(path)))
    target = storage.path("models/m")

    publish(storage, "models/m")

    assert ("x", False) in seen
    assert seen[-1] == ("models", True)


def test_a_stage_that_is_not_published_vanishes(storage: Storage):
    with storage.stage() as stage:
        (stage.path / "x").write_text("")

    assert left(storage) == []


@pytest.mark.parametrize("published", [False, True])
def test_what_fails_leaves_nothing_published_or_not(storage: Storage, published: bool):
    def fail() -> None:
        with storage.stage() as stage:
            (stage.path / "x").write_text("")
            if published:
                stage.publish("models/m")
            raise RuntimeError("the row could not be written")

    with pytest.raises(RuntimeError):
        fail()

    assert left(storage) == []
    assert not storage.path("models/m").exists()


@pytest.mark.parametrize("retried", [False, True])
def test_what_a_commit_may_have_made_known_is_left_to_the_sweep(storage: Storage, retried: bool):
    def lose_the_answer() -> None:
        lost = OperationalError("COMMIT", {}, Exception("the connection was lost"), connection_invalidated=True)
        with storage.stage() as stage:
            (stage.path / "x").write_text("")
            stage.publish("models/m")
            if retried:
                raise RuntimeError("it could not be written in time") from lost
            raise lost

    with pytest.raises(RuntimeError if retried else OperationalError):
        lose_the_answer()
    assert storage.path("models/m").exists()

    assert storage.sweep("models", lambda name: True) == []
    assert storage.sweep("models", lambda name: False) == ["models/m"]


def test_a_sync_that_fails_after_the_rename_leaves_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    def failing(path: Path) -> None:
        if path.name == "models":
            raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(module, "_sync", failing)

    with pytest.raises(OSError, match="broken"):
        publish(storage, "models/m")

    assert left(storage) == []


def test_a_stage_that_fails_late_spares_what_another_has_published_under_its_key(storage: Storage):
    def fail() -> None:
        with storage.stage() as stage:
            (stage.path / "x").write_text("first")
            stage.publish("models/m")
            storage.delete("models/m")
            publish(storage, "models/m", "second")
            raise RuntimeError("the row could not be written")

    with pytest.raises(RuntimeError):
        fail()

    assert (storage.path("models/m") / "x").read_text() == "second"
    assert left(storage) == ["models/m/x"]


def test_the_sweep_spares_what_is_published_while_it_asks_for_the_row(storage: Storage):
    publish(storage, "models/m", "first")

    def replaced(_: str) -> bool:
        storage.delete("models/m")
        publish(storage, "models/m", "second")
        return False

    storage.sweep("models", replaced)

    assert (storage.path("models/m") / "x").read_text() == "second"


def test_a_stage_with_folders_in_it_vanishes_too(storage: Storage):
    with storage.stage() as stage:
        (stage.path / "inner").mkdir()
        (stage.path / "inner" / "x").write_text("")

    assert not list((storage.root / "staging").iterdir())


def test_a_key_is_never_published_over_another(storage: Storage):
    publish(storage, "models/m", "first")

    with pytest.raises(FileExistsError, match="already"):
        publish(storage, "models/m", "second")

    assert (storage.path("models/m") / "x").read_text() == "first"
    assert left(storage) == ["models/m/x"]


def test_a_full_disk_is_named_as_such(storage: Storage):
    def fill(number: int) -> None:
        with storage.stage():
            raise OSError(number, "no room")

    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(StorageFull, match="free some space"):
            fill(number)
    with pytest.raises(PermissionError):
        fill(errno.EACCES)


@pytest.mark.parametrize("key", ["", ".", "..", "../outside", "models/../../outside", "/etc", "models/\0"])
def test_no_key_leaves_the_root(storage: Storage, key: str):
    with pytest.raises(ValueError, match=r"key|null"):
        storage.path(key)


def test_no_key_leaves_the_root_through_a_link(storage: Storage, tmp_path: Path):
    (storage.root / "models").mkdir()
    (storage.root / "models" / "m").symlink_to(tmp_path)

    with pytest.raises(ValueError, match="key"):
        storage.path("models/m")


def test_a_root_that_is_itself_a_link_has_keys(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    storage = Storage(tmp_path / "link")

    publish(storage, "models/m")

    assert left(storage) == ["models/m/x"]
    assert storage.sweep("models", nobody) == ["models/m"]


def test_a_deleted_key_is_gone_and_may_be_deleted_again(storage: Storage):
    publish(storage, "models/m")

    storage.delete("models/m")
    storage.delete("models/m")

    assert left(storage) == []
    assert not list((storage.root / "staging").iterdir())


def test_the_sweep_removes_what_no_row_knows(storage: Storage):
    publish(storage, "models/known")
    publish(storage, "models/orphan")
    publish(storage, "datasets/other")

    assert storage.sweep("models", lambda name: name == "known") == ["models/orphan"]
    assert left(storage) == ["datasets/other/x", "models/known/x"]


@pytest.mark.parametrize("state", ["staged", "published"])
def test_the_sweep_spares_a_living_writer_and_removes_what_a_dead_one_left(storage: Storage, state: str):
    with writer(storage, state) as (process, name):
        expected = "models/m" if state == "published" else f"staging/{name}"

        assert storage.sweep("models", nobody) == []
        assert left(storage) == [f"{expected}/x"]

        process.kill()
        process.wait()
        assert left(storage) == [f"{expected}/x"]
        assert storage.sweep("models", nobody) == [expected]
        assert left(storage) == []


def sweep_before(monkeypatch: pytest.MonkeyPatch, storage: Storage, owner: object, name: str) -> list[str]:
    """Let the next call of a function wait, as on a busy machine, until a sweep has passed; returns what that took."""
    call, swept = getattr(owner, name), []

    def late(*arguments: object, **options: object) -> object:
        if not swept:
            swept.append("")
            swept[:] = storage.sweep("models", nobody)
        return call(*arguments, **options)

    monkeypatch.setattr(owner, name, late)
    return swept


@pytest.mark.parametrize("before", [(module.os, "open"), (module.fcntl, "flock")], ids=["opening", "locking"])
def test_a_sweep_between_making_a_stage_and_locking_it_costs_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, before: tuple[object, str]
):
    swept = sweep_before(monkeypatch, storage, *before)

    publish(storage, "models/m")

    assert [name.split("/")[0] for name in swept] == ["staging"]
    assert left(storage) == ["models/m/x"]
    assert not list((storage.root / "staging").iterdir())


@pytest.mark.parametrize("before", [(module.os, "open"), (module.fcntl, "flock")], ids=["opening", "locking"])
def test_a_sweep_between_making_a_file_and_locking_it_costs_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, before: tuple[object, str]
):
    (storage.root / "checkpoints").mkdir()
    sweep_before(monkeypatch, storage, *before)

    storage.write("checkpoints/x", b"whole")

    assert storage.path("checkpoints/x").read_bytes() == b"whole"
    assert not list((storage.root / "staging").iterdir())


def test_a_sweep_between_giving_up_a_key_and_removing_its_files_costs_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    publish(storage, "models/m")
    sweep_before(monkeypatch, storage, module, "_bytes")

    storage.delete("models/m")

    assert left(storage) == []


def test_stages_and_sweeps_of_several_processes_do_not_disturb_each_other(storage: Storage):
    with subprocess.Popen([sys.executable, "-c", SWEEPER, str(storage.root)], stdin=subprocess.PIPE) as sweeper:
        try:
            for number in range(500):
                publish(storage, f"models/{number}")
                storage.write(f"checkpoints/{number}", b"whole")
                storage.delete(f"models/{number}")
        finally:
            sweeper.communicate(b"")

    assert sweeper.returncode == 0
    assert len(storage.files("checkpoints")) == 500
    assert left(storage) == []


def test_looking_whether_it_is_writable_disturbs_nobody_who_looks_too(storage: Storage):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: storage.is_writable(), range(2000)))

    assert found.count(False) == 0
    assert not list((storage.root / "staging").iterdir())


def test_a_storage_that_is_gone_is_not_writable(storage: Storage):
    (storage.root / "staging").rmdir()

    assert not storage.is_writable()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_takes_names_but_no_bytes_is_not_writable(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, call: str
):
    assert storage.is_writable()
    if call == "write":
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # the least disk there is
    else:
        monkeypatch.setattr(module.os, "fsync", full)
    try:
        is_writable = storage.is_writable()
    finally:
        if call == "write":
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not is_writable
    assert list(storage.scratch.iterdir()) == []


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
