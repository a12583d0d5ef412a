"""What explanations are made of, and why there may be none. That they are right is seen in tests/integration."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.errors import Unsupported
from app.models.coefficient_errors import CoefficientErrors
from app.models.explanation import drift, uncertainty
from app.models.predictor import Predictor
from app.models.statistics import Statistics
from tests.unit.models.conftest import X1, Add

TOO_MANY = "401 coefficients over 1000000 rows are too many to find their covariances"


@pytest.mark.parametrize(
    ("coefficient_errors", "reason"),
    [
        (CoefficientErrors(None, reason=TOO_MANY), TOO_MANY),
        (CoefficientErrors(np.ones((3, 1)), 7), "it was saved without one"),
    ],
    ids=["no covariance was found", "none was saved"],
)
def test_an_interval_is_refused_for_the_reason_that_the_training_had(
    add: Add, predictor: Predictor, coefficient_errors: CoefficientErrors, reason: str
) -> None:
    add("ranges", statistics=Statistics(*np.zeros((3, 2))), coefficient_errors=coefficient_errors)
    with pytest.raises(Unsupported) as refused:
        uncertainty(predictor.load("ranges"))
    assert refused.value.detail == f"The model has no covariance, of which intervals are made: {reason}."


def stray(add: Add, predictor: Predictor, values: np.ndarray, centre: float, scale: float, x: float) -> dict[str, Any]:
    """What is told of a value, by a model whose range was measured on its training matrix, in single precision."""
    trained = ((values - centre) / scale).astype(np.float32).astype(np.float64) * scale + centre
    model = add(
        weights=[[2.0]], features=[X1],
        statistics=Statistics(*(np.array([each]) for each in (trained.mean(), trained.min(), trained.max()))),
    )  # fmt: skip
    loaded = predictor.load(model.id)
    loaded = replace(loaded, encoding=replace(loaded.encoding, mean=(centre,), std=(scale,)))
    found = drift(loaded, np.array([[x]]))[0]
    return dict(found[0]) if found else {}


@pytest.mark.parametrize(
    ("low", "high", "centre", "scale"),
    [
        (32.1, 58.0, 44.123456789, 5.4321),
        (100_002.345, 100_002.8, 100_002.5, 0.1),
        (-0.007, 0.25, 0.0, 1.0),
        (0.0, 1.0, 0.3, 0.4583),
        (-3e38, 3e38, 0.0, 1e30),
    ],
)
def test_the_range_has_the_digits_of_the_data(
    add: Add, predictor: Predictor, low: float, high: float, centre: float, scale: float
) -> None:
    told = stray(add, predictor, np.array([low, high]), centre, scale, high + 100 * (high - low))

    assert (told["min"], told["max"]) == (low, high)
    assert told["reason"] == f"outside the training range {low:g} to {high:g}"


def test_no_value_that_is_told_to_be_outside_lies_within_the_range_that_is_told(add: Add, predictor: Predictor) -> None:
    values = np.random.default_rng(0).normal(50, 3, 100)
    low, high = values.min(), values.max()

    for share in (1e-8, 1e-7, 5e-7, 1e-6, 2e-6, 1e-5):
        for x in (low - share * (high - low), high + share * (high - low)):
            told = stray(add, predictor, values, values.mean(), values.std(), x)
            assert not told or not told["min"] <= x <= told["max"]
