"""Scanning datasets: their rows are encoded as /predict encodes them."""

import numpy as np

from app.datasets.encoding import Encoding
from app.datasets.instances import encode_records
from app.datasets.target_encoding import TargetEncoding
from app.models.scan import scan
from tests.unit.datasets.conftest import Build
from tests.unit.models.conftest import TOWN, X1


def test_a_category_never_seen_is_unknown_and_no_mean_of_levels(build: Build) -> None:
    encoding = Encoding((X1, TOWN), TargetEncoding(("y",), None))
    dataset = build({"x1": [1.0, 2.0, 3.0], "town": ["bonn", "ulm", None], "y": [1.0, 2.0, 3.0]})

    (block,) = scan(encoding, dataset, slice(0, 3))

    assert block.X.tolist() == [[1.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 1.0], [3.0, 0.0, 0.0, 1.0]]
    records = [{"x1": 1.0, "town": "bonn"}, {"x1": 2.0, "town": "ulm"}, {"x1": 3.0, "town": None}]
    np.testing.assert_array_equal(block.X, encode_records(encoding, records))
