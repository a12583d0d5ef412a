"""What explanations are made of, and why there may be none. That they are right is seen in tests/integration."""

import numpy as np
import pytest

from app.errors import Unsupported
from app.models.explanation import uncertainty
from app.models.inference import Inference
from app.models.predictor import Predictor
from app.models.statistics import Statistics
from tests.unit.models.conftest import Add

TOO_MANY = "401 coefficients over 1000000 rows are too many to find their covariances"


@pytest.mark.parametrize(
    ("inference", "reason"),
    [(Inference(None, reason=TOO_MANY), TOO_MANY), (Inference(np.ones((3, 1)), 7), "it was saved without one")],
    ids=["no covariance was found", "none was saved"],
)
def test_an_interval_is_refused_for_the_reason_that_the_training_had(
    add: Add, predictor: Predictor, inference: Inference, reason: str
) -> None:
    add("ranges", statistics=Statistics(*np.zeros((3, 2))), inference=inference)
    with pytest.raises(Unsupported) as refused:
        uncertainty(predictor.load("ranges"))
    assert refused.value.detail == f"The model has no covariance, of which intervals are made: {reason}."
