"""Pictures of models."""

from dataclasses import replace

import matplotlib as mpl
import pytest

from app.datasets.feature_encoding import NumericFeature
from app.drawing import MEDIA_TYPES
from app.models import pictures
from app.models.predictor import Predictor
from tests.unit.models.conftest import Add


@pytest.mark.parametrize(
    ("mean", "std", "unit"),
    [
        (None, None, "one unit"),
        ((5.0, 5.0), (2.0, 3.0), "one standard deviation"),
        # Centred because it lies far from zero, and not standardised.
        ((1e9, 0.0), (1.0, 1.0), "one unit"),
    ],
)
def test_an_effect_is_that_of_what_its_axis_says(
    add: Add,
    predictor: Predictor,
    mean: tuple[float, float] | None,
    std: tuple[float, float] | None,
    unit: str,
) -> None:
    add("any")
    loaded = predictor.load("any")
    loaded = replace(loaded, encoding=replace(loaded.encoding, mean=mean, std=std))

    spread, told = pictures._spread(loaded)

    assert told == unit
    assert tuple(spread) == (std or (1.0, 1.0))


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_a_column_named_like_a_faulty_formula_is_drawn(add: Add, predictor: Predictor, media_type: str):
    add("any", features=[NumericFeature(r"$\frac$", 0.0), NumericFeature("x", 0.0)], target=("$y",))

    with mpl.rc_context({"text.parse_math": True}):  # as matplotlib has it until it is told otherwise
        assert pictures.weights(predictor.load("any"), media_type)
