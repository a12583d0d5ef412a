"""What a model takes, as clients are told."""

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, NumericFeature
from app.datasets.target_encoding import TargetEncoding
from app.models.features import describe
from tests.unit.models.conftest import TOWN, X1


def test_every_feature_is_described_by_its_name_its_kind_and_what_it_takes():
    features = (
        X1,
        NumericFeature("new", 0.5, boolean=True),
        TOWN,
        ArrayFeature("image", (28, 28), pixels=True),
        ArrayFeature("spectrum", (7,), pixels=False),
    )

    assert describe(Encoding(features, TargetEncoding(("y",), None))) == [
        {"name": "x1", "kind": "numeric"},
        {"name": "new", "kind": "boolean"},
        {"name": "town", "kind": "categorical", "categories": ["bonn", "köln"]},
        {"name": "image", "kind": "array", "shape": [28, 28], "min": 0, "max": 255},
        {"name": "spectrum", "kind": "array", "shape": [7]},
    ]
