"""Bytes by key, in a data directory: written aside, synced, renamed, mapped, deleted.

A key is a relative folder such as `datasets/<id>` or `models/<id>`. It appears whole or not at all:

    with storage.stage() as stage:        a private folder, locked while its writer lives
        (stage.path / "x.npy").write…     write what belongs together
        stage.publish("datasets/<id>")    sync, then one rename
        session.commit()                  the row that makes it known

If anything raises before the block ends, the folder is gone, published or not. If the process dies, or the connection
to the database while nobody knows whether the row is there, `sweep` removes what is left: a folder that nobody locks
and that no row knows.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from app.database import is_uncertain
from app.disk import Disk, sizes
from app.errors import DamagedFiles, StorageFull
from app.identifiers import new_id

_STAGING = "staging"
_PROBE_BYTES = 4096
FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_FILE = (None, errno.ENOENT, errno.EIO)
"""The numbers of errors that mean a file, and not the system that has no room for it; Parquet's have none."""


class Stage:
    """A private folder on its way to a key."""

    def __init__(self, storage: "Storage", path: Path, is_due: bool) -> None:
        self.path = path
        self._is_due = is_due
        self._storage = storage

    def publish(self, key: str) -> Path:
        """Give the folder its key: sync every file, rename, sync the parent.

        Raises:  FileExistsError if something has that key already; it stays as it is
        """
        target = self._storage.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        size = _bytes(self.path)
        if not self._is_due:
            self._storage.disk.check(size)
        for file in self.path.iterdir():
            _sync(file)
        _sync(self.path)
        _rename(self.path, target)
        # Before what may still fail: from here on it is the target that has to go.
        self.path = target
        self._storage.disk.changed(size)
        _sync(target.parent)
        return target


class Storage:
    """The data directory, seen as folders by key."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root = root.absolute()
        self.disk = disk or Disk(self.root)
        (self.root / _STAGING).mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where a key lies on the local disk, so that its files can be memory-mapped."""
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()) or path == self.root.resolve():
            raise ValueError(f"not a key of the storage: {key!r}")
        return path

    @property
    def scratch(self) -> Path:
        """Where files without a name may lie: on the disk of the data, since /tmp is often memory."""
        return self.root / _STAGING

    @contextmanager
    def stage(self, is_due: bool = False) -> Iterator[Stage]:
        """A private folder that vanishes unless it is published and the block ends well.

        What is due to a client whose job was taken on is kept whatever the disk's budget says.
        """
        if not is_due:
            self.disk.check()
        with _naming_a_full_disk():
            folder, lock = self._held(Path.mkdir, os.O_RDONLY)
            stage = Stage(self, folder, is_due)
            stays = False
            try:
                yield stage
                stays = stage.path != folder
            except Exception as error:
                doubted = any(is_uncertain(each) for each in (error, error.__cause__) if each is not None)
                stays = stage.path != folder and doubted
                raise
            finally:
                if not stays:
                    _remove_held(stage.path, lock)
                os.close(lock)

    def adopt(self, folder: Path, collection: str) -> None:
        """Take in a whole collection that was prepared aside, synced, where there is none yet."""
        for path in sorted(folder.rglob("*"), reverse=True):
            _sync(path)
        _sync(folder)
        folder.rename(self.root / collection)
        _sync(self.root)

    def write(self, key: str, data: bytes) -> None:
        """Give one file a new content, whole or not at all: written aside, synced, renamed over the old one."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _naming_a_full_disk():
            aside, lock = self._held(partial(Path.touch, mode=0o644), os.O_WRONLY)
            try:
                with open(lock, "wb", closefd=False) as file:
                    file.write(data)
                os.fsync(lock)
                aside.rename(target)
                _sync(target.parent)
            except OSError:
                aside.unlink(missing_ok=True)
                raise
            finally:
                os.close(lock)

    def files(self, collection: str) -> list[Path]:
        """The single files of a collection."""
        parent = self.root / collection
        return sorted(file for file in parent.iterdir() if file.is_file()) if parent.is_dir() else []

    def delete(self, key: str) -> None:
        """Remove a key and its files; a key that is gone already is no error."""
        path = self.path(key)
        doomed = self.root / _STAGING / new_id()
        try:
            path.rename(doomed)
        except FileNotFoundError:
            return
        size = _bytes(doomed)  # of what a sweep has left of it
        _remove(doomed)
        self.disk.changed(-size)

    def bytes(self, key: str) -> int:
        """What a key occupies on disk."""
        return _bytes(self.path(key))

    def is_writable(self) -> bool:
        """Whether the data directory takes new files, and the disk under it what is in them: a full one takes names."""
        probe = self.root / _STAGING / f".probe-{new_id()}"
        try:
            with probe.open("xb", buffering=0) as file:
                written = file.write(bytes(_PROBE_BYTES))
                os.fsync(file.fileno())
        except OSError:
            return False
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return written == _PROBE_BYTES

    def sweep(self, collection: str, is_known: Callable[[str], bool]) -> list[str]:
        """Remove what dead writers left: stages nobody holds, and folders of a collection that no row knows."""
        staging = [folder for folder in (self.root / _STAGING).iterdir() if _remove_abandoned(folder)]
        # The lock is tried before the row is asked for: its writer holds the lock until the row is committed.
        orphans = [
            folder
            for folder in self._folders(collection)
            if _remove_abandoned(folder, partial(_is_unknown, folder.name, is_known))
        ]
        return [str(folder.relative_to(self.root)) for folder in staging + orphans]

    def _held(self, make: Callable[[Path], None], flags: int) -> tuple[Path, int]:
        """Something fresh in the staging area that this process holds, open.

        Until it is locked, a sweep takes it for what a dead writer left; a process may be held up there for as long as
        others have the processor. So look whether it is there still, and else make another.
        """
        while True:
            path = self.root / _STAGING / new_id()
            make(path)
            with suppress(FileNotFoundError):
                lock = os.open(path, flags)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists():
                    return path, lock
                os.close(lock)

    def _folders(self, collection: str) -> list[Path]:
        parent = self.root / collection
        return sorted(folder for folder in parent.iterdir() if folder.is_dir()) if parent.is_dir() else []


@contextmanager
def intact(key: str) -> Iterator[None]:
    """Read files of a key, in a block that does nothing else: whatever it raises is said of their contents.

    Raises:  DamagedFiles
    """
    try:
        yield
    except (DamagedFiles, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_FILE:
            raise
        raise DamagedFiles(key) from error


def _bytes(folder: Path) -> int:
    return sum(sizes(folder))


@contextmanager
def _naming_a_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull("The disk under the data directory is full; free some space and try again.") from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_held(path: Path, lock: int) -> None:
    """Remove what is held open, but not what another process may have put in its place since."""
    if not stat.S_ISDIR(os.fstat(lock).st_mode):
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(".", ignore_errors=True, dir_fd=lock)  # its files; the folder itself has no such name
    with suppress(OSError):
        path.rmdir()  # if it is another's by now it is not empty, and stays


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "there is such a key already", str(target)) from error
        raise


def _is_unknown(name: str, is_known: Callable[[str], bool]) -> bool:
    return not is_known(name)


def _remove_abandoned(path: Path, is_orphan: Callable[[], bool] = lambda: True) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_orphan():
            return False
        _remove_held(path, lock)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
