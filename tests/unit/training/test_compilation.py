"""How the loops are compiled."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.training import compilation


def loop(number: int) -> int:
    return number + 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where loops are kept, and nowhere else; nothing has been said yet of what could not be."""
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compilation.numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    compilation._say_once.cache_clear()
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    """Let the disk be full: the least disk there is takes names, and no bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def replace(folder: Path) -> None:
    """Let nothing be read or written there, not even by the superuser."""
    shutil.rmtree(folder)
    folder.touch()


def test_a_loop_is_compiled_once_and_loaded_from_then_on(folder: Path) -> None:
    first, second = compilation.compiled(loop), compilation.compiled(loop)

    assert (first(1), second(1)) == (2, 2)
    assert [sum(each.stats.cache_hits.values()) for each in (first, second)] == [0, 1]


@pytest.mark.parametrize("fault", [fill, replace])
def test_loops_that_cannot_be_kept_compute_all_the_same(
    folder: Path, fault: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    loops = [compilation.compiled(loop) for _ in range(2)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        fault(folder)
        results = [each(1) for each in loops]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert results == [2, 2]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_loops_are_compiled_where_there_is_no_folder_at_all_to_keep_them(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.touch()

    results = [compilation.compiled(loop)(1) for _ in range(2)]

    assert results == [2, 2]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_a_full_disk_left_half_kept_is_compiled_again(folder: Path) -> None:
    compilation.compiled(loop)(1)
    next(folder.rglob("*.nbc")).unlink()

    again, later = compilation.compiled(loop), compilation.compiled(loop)

    assert (again(1), later(1)) == (2, 2)
    assert sum(later.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("kept", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("left", [b"", b"\x80\x05", b"no code at all"])
def test_what_a_loss_of_power_has_cut_off_is_compiled_again(folder: Path, kept: str, left: bytes) -> None:
    compilation.compiled(loop)(1)
    next(folder.rglob(kept)).write_bytes(left)

    again, later = compilation.compiled(loop), compilation.compiled(loop)

    assert (again(1), later(1)) == (2, 2)
    assert sum(later.stats.cache_hits.values()) == 1


def test_code_that_was_compiled_from_other_sources_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_HERE", tmp_path)
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "kernels.py").write_text("from losses import HALF")
    (tmp_path / "losses.py").write_text("HALF = 1")
    before = compilation._cache_dir()

    (tmp_path / "losses.py").write_text("HALF = 0.5")
    after = compilation._cache_dir()

    assert before != after
    assert {Path(folder).parent for folder in (before, after)} == {tmp_path / "cache"}


def test_machines_with_different_processors_may_share_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path))
    own = compilation._cache_dir()

    monkeypatch.setattr(compilation, "processor", lambda: "another")

    assert compilation._cache_dir() != own


def test_what_another_numba_has_kept_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path))
    own = compilation._cache_dir()

    monkeypatch.setattr(compilation.numba, "__version__", "another")

    assert compilation._cache_dir() != own


def test_the_loops_of_this_process_are_kept_apart_from_those_of_others() -> None:
    assert Path(compilation.numba.config.CACHE_DIR).name == Path(compilation._cache_dir()).name
