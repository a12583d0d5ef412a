"""Scanning datasets: their rows are encoded as /predict encodes them."""

import io
import os

import numpy as np
import pytest

from app.datasets import splitting
from app.datasets.dataset import TABLE_FILE
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature
from app.datasets.instances import encode_records
from app.datasets.splitting import Part
from app.datasets.target_encoding import TargetEncoding
from app.errors import DamagedFiles, InvalidRequest, InvalidSpec
from app.models.scan import check, scan
from tests.unit.datasets.conftest import Build, images
from tests.unit.models.conftest import TOWN, X1


def test_a_category_never_seen_is_unknown_and_no_mean_of_levels(build: Build) -> None:
    encoding = Encoding((X1, TOWN), TargetEncoding(("y",), None))
    dataset = build({"x1": [1.0, 2.0, 3.0], "town": ["bonn", "ulm", None], "y": [1.0, 2.0, 3.0]})

    (block,) = scan(encoding, dataset, slice(0, 3))

    rows, strange = encoding.imputed(block.X)
    assert rows.tolist() == [[1.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 1.0], [3.0, 0.0, 0.0, 1.0]]
    assert strange.tolist() == [False, True, True]
    records = [{"x1": 1.0, "town": "bonn"}, {"x1": 2.0, "town": "ulm"}, {"x1": 3.0, "town": None}]
    np.testing.assert_array_equal(block.X, encode_records(encoding, records))


def test_blocks_follow_each_other_within_the_range_with_what_was_asked_for_beside(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "BLOCK_ROWS", 4)
    X = np.arange(40).reshape(10, 2, 2).astype(np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, X=X, y=np.arange(10))
    encoding = Encoding((ArrayFeature("X", (2, 2), True),), TargetEncoding(("y",), None))
    dataset = build(buffer.getvalue(), "npz")

    for extra in ([], ["y"]):
        blocks = list(scan(encoding, dataset, slice(3, 10), extra))

        assert [(block.first_row, len(block)) for block in blocks] == [(0, 4), (4, 3)]
        np.testing.assert_array_equal(np.vstack([block.X for block in blocks]), X.reshape(10, 4)[3:])
        assert [block.extra.column_names for block in blocks] == [extra, extra]
    assert [y for block in blocks for y in block.extra.column("y").to_pylist()] == list(range(3, 10))


def test_a_dataset_that_does_not_fit_is_refused_by_every_column_alike_in_training_and_prediction(build: Build) -> None:
    features = (X1, TOWN, ArrayFeature("image", (2, 2), True))
    encoding = Encoding(features, TargetEncoding(("y",), None))
    dataset = build(images(6), "idx")
    told = [
        "its column 'x1' is absent; the model takes it as numeric",
        "its column 'town' is absent; the model takes it as categorical",
        "its arrays 'image' are [3, 2], not [2, 2]",
    ]

    with pytest.raises(InvalidRequest) as predicting:
        check(encoding, dataset)
    with pytest.raises(InvalidSpec) as training:
        encoding.matrix(Part(dataset, slice(0, 6)))

    for caught in (predicting, training):
        assert [fault.message for fault in caught.value.faults] == told


def test_a_table_that_is_damaged_is_not_scanned(build: Build) -> None:
    dataset = build({"x1": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]})
    os.truncate(dataset.folder / TABLE_FILE, 100)

    with pytest.raises(DamagedFiles):
        list(scan(Encoding((X1,), TargetEncoding(("y",), None)), dataset, slice(0, 3)))
