"""Pictures of models."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from app.datasets.feature_encoding import ArrayFeature, Feature, NumericFeature
from app.drawing import MEDIA_TYPES, SVG
from app.models import pictures
from app.models.coefficient_errors import CoefficientErrors
from app.models.model_file import LARGEST
from app.models.predictor import Predictor
from tests.unit.models.conftest import X1, X2, Add


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


@pytest.mark.parametrize(("rows", "told"), [(2000, True), (20, False)])
def test_a_scatter_plot_says_how_many_of_the_rows_it_shows(rows: int, told: bool):
    y = np.arange(20.0)[:, None]

    picture = pictures.predicted_against_true(y, y, rows, ["y"], SVG).decode()

    assert (f"20 of {rows:,} rows" in picture) is told


@pytest.mark.parametrize("features", [[X1, X2], [ArrayFeature("image", (2, 1), True)]], ids=["table", "images"])
@pytest.mark.parametrize("reference", ["a", None])
def test_the_empty_panel_of_the_reference_class_says_what_it_is(
    add: Add, predictor: Predictor, features: list[Feature], reference: str | None
):
    weights = {"weights": [[0.0, 1.0], [0.0, 2.0]], "bias": [0.0, 1.0], "classes": ["a", "b"], "features": features}
    model = add(**weights, coefficient_errors=CoefficientErrors(np.ones((3, 2)), reference=reference))

    picture = pictures.weights(predictor.load(model.id), SVG).decode()

    assert picture.count("reference:") == (1 if reference else 0)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_the_largest_numbers_that_a_model_may_have_are_drawn(add: Add, predictor: Predictor, media_type: str) -> None:
    errors = np.full((3, 1), LARGEST)
    add("any", weights=[[LARGEST], [-LARGEST]], coefficient_errors=CoefficientErrors(errors, 7))
    loaded = predictor.load("any")
    loaded = replace(loaded, encoding=replace(loaded.encoding, mean=(LARGEST, 0.0), std=(LARGEST, 1.0)))

    assert len(pictures.weights(loaded, media_type)) > 1000
