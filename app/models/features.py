"""What a model takes, as clients are told: each column's name and kind, its levels or its shape."""

from typing import Any

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature


def describe(encoding: Encoding) -> list[dict[str, Any]]:
    """The columns that a row to predict has, in order."""
    return [_describe(feature) for feature in encoding.features]


def _describe(feature: Feature) -> dict[str, Any]:
    about: dict[str, Any] = {"name": feature.name, "kind": feature.kind.value}
    if isinstance(feature, CategoricalFeature):
        return {**about, "categories": list(feature.levels)}
    if isinstance(feature, ArrayFeature):
        return {**about, "shape": list(feature.shape)} | ({"min": 0, "max": 255} if feature.pixels else {})
    return {**about, "kind": "boolean"} if feature.boolean else about
