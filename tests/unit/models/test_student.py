"""Student's t against SciPy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.models.student import quantile, two_sided

degrees = st.floats(1, 1e6)


@given(t=st.floats(-60, 60), nu=degrees)
def test_p_values_are_scipys(t: float, nu: float) -> None:
    assert two_sided(t, nu) == pytest.approx(2 * stats.t.sf(abs(t), nu), rel=1e-6)


@given(level=st.floats(0.01, 0.9999), nu=degrees)
def test_quantiles_are_scipys(level: float, nu: float) -> None:
    assert quantile(level, nu) == pytest.approx(stats.t.ppf((1 + level) / 2, nu), rel=1e-6)


def test_the_ends() -> None:
    assert two_sided(0.0, 5) == pytest.approx(1.0)
    assert two_sided(float("inf"), 5) == 0.0
    assert quantile(1.0, 5) == float("inf")
