"""How the loops are compiled."""

from pathlib import Path

import pytest

from app.training import compilation


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


def test_the_loops_of_this_process_are_kept_apart_from_those_of_others() -> None:
    assert Path(compilation.numba.config.CACHE_DIR).name == Path(compilation._cache_dir()).name
