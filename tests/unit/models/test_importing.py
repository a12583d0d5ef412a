"""An exported model comes back as it was, whatever its features are."""

from collections.abc import Callable

import numpy as np
import pytest

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature, NumericFeature
from app.models.exports import json, safetensors
from app.models.importing import read
from app.models.predictor import Loaded, Predictor
from tests.unit.models.conftest import TOWN, X1, Add


@pytest.mark.parametrize(
    "feature",
    [
        X1,
        NumericFeature("rooms", 3.0, indicator=True),
        TOWN,
        CategoricalFeature("street", ("a", "b"), (0.5, 0.3, 0.2), unknown_trained=True, other=True),
        ArrayFeature("image", (2, 3), pixels=True),
    ],
    ids=["a number", "a number with an indicator", "a category", "a category with rare levels", "an array"],
)
@pytest.mark.parametrize("write", [json.write, safetensors.write], ids=["json", "safetensors"])
def test_every_kind_of_feature_survives_export_and_import(
    add: Add, predictor: Predictor, write: Callable[[Loaded], bytes], feature: Feature
):
    weights = np.arange(1.0, len(feature.names) + 1).reshape(-1, 1)
    add("any", weights=weights, features=[feature])
    loaded = predictor.load("any")

    _, encoding, imported, _ = read(write(loaded))

    assert encoding == loaded.encoding
    assert imported.weights.tolist() == weights.tolist()
