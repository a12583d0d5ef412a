"""Whatever the shape, both regimes agree with the straightforward loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.training.hyperparameters import Hyperparameters
from tests.unit.training.reference import blobs, epochs_of, several_targets, trained_by_reference


@pytest.mark.parametrize("regime", ["compiled", "tiled"])
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 60),
    features=st.integers(1, 20),
    outputs=st.integers(1, 20),
    batch=st.integers(1, 80),
    seed=st.integers(0, 2**53 - 1),
    softmax=st.booleans(),
)
def test_two_epochs_end_where_the_straightforward_loop_ends(
    regime: str, rows: int, features: int, outputs: int, batch: int, seed: int, softmax: bool
) -> None:
    make = blobs if softmax else several_targets
    problem = make(rows, features, outputs, seed=seed % 1000)
    options = Hyperparameters(
        model="softmax" if softmax else "linear",
        epochs=2,
        batch_size=batch,
        momentum=0.3,
        l2=0.01,
        seed=seed,
        train_metrics="running",
    )
    W, b, history = trained_by_reference(problem, options, rate=1e-3)
    done = epochs_of(regime, problem, options, rate=1e-3)
    np.testing.assert_allclose(done[-1].parameters.weights, W, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(done[-1].parameters.bias, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in done], history, rtol=2e-4, atol=1e-6)
