"""Weights on disk."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from app.datasets.encoding import Encoding
from app.datasets.target_encoding import TargetEncoding
from app.models.weights import WEIGHTS_FILE, Weights, load
from tests.unit.models.conftest import TOWN, X1, X2

ENCODING = Encoding((X1, TOWN, X2), TargetEncoding(("y",), ("no", "ja ä")), (1 / 3,) * 5, (0.1 + 0.2,) * 5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path: Path, order: str):
    generator = np.random.default_rng(0)
    weights = np.array(generator.normal(size=(5, 2)), order=order)  # type: ignore[call-overload]
    bias = np.array([np.nextafter(1, 2), -0.0])

    Weights(weights, bias).save(tmp_path, ENCODING)
    read, encoding, _ = load(tmp_path)

    assert read.weights.dtype == read.bias.dtype == np.float64
    assert read.weights.tobytes() == np.ascontiguousarray(weights).tobytes()
    assert read.bias.tobytes() == bias.tobytes()
    assert encoding == ENCODING


def test_a_part_of_an_array_is_written_as_the_part_it_is(tmp_path: Path):
    whole = np.arange(20.0).reshape(5, 4)

    Weights(whole[:, ::2], whole[0, 1::2]).save(tmp_path, ENCODING)

    assert load(tmp_path)[0].weights.tolist() == whole[:, ::2].tolist()
    assert load(tmp_path)[0].bias.tolist() == [1.0, 3.0]


def test_the_file_names_its_format_for_other_readers(tmp_path: Path):
    Weights(np.zeros((5, 2)), np.zeros(2)).save(tmp_path, ENCODING)

    with safe_open(tmp_path / WEIGHTS_FILE, "numpy") as file:
        assert file.metadata() == {"format": "onelayer-1"}
        assert sorted(file.keys()) == ["bias", "weights"]


def test_the_same_weights_make_the_same_files(tmp_path: Path):
    made = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        Weights(np.ones((5, 2)), np.zeros(2)).save(folder, ENCODING)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})

    assert all(files == made[0] for files in made)
