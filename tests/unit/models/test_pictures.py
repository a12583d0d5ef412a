"""Pictures of models."""

from dataclasses import replace

import pytest

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
