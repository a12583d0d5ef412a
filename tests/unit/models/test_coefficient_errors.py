"""Coefficient errors on disk: files that were written before are read for ever."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from app.models.coefficient_errors import UNTESTED, CoefficientErrors


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    about = {"degrees": 7, "reference": None, "reason": None}
    path = tmp_path / "statistics.safetensors"
    save_file({"errors": np.array([[0.5], [np.nan]])}, path, metadata={"about": json.dumps(about)})
    found = CoefficientErrors.load(tmp_path)
    np.testing.assert_array_equal(found.errors, [[0.5], [np.nan]])
    assert found.about == about

    (tmp_path / "again").mkdir()
    found.save(tmp_path / "again")
    assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_model_without_the_file_says_so(tmp_path: Path) -> None:
    assert CoefficientErrors.load(tmp_path) is UNTESTED
