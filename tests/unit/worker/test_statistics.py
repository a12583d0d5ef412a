"""What a model keeps of its training rows, against NumPy on the raw design matrix."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.ingest import Choices, ingest
from app.datasets.readers.content import table_content
from app.datasets.splitting import Part
from app.datasets.target_encoding import TargetEncoding
from app.jobs.spec import Spec
from app.models.statistics import Statistics, Uncertainty
from app.training.inference import NEAR, infer
from app.training.problem import Parameters, Problem, Rows
from app.worker.statistics import statistics

ROWS = 400
LINEAR = Spec(dataset="d", model="linear").effective(ROWS)
Matrix = NDArray[np.float64]


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """A number on a large offset, one with missing values, and a category."""
    generator = np.random.default_rng(0)
    age = generator.normal(50, 9, ROWS)
    values: list[float | None] = [None if i % 11 == 0 else float(v) for i, v in enumerate(age)]
    town = generator.choice(["p", "q", "r"], ROWS, p=[0.6, 0.3, 0.1])
    area = generator.normal(1e5, 3, ROWS)
    price = 2 * area - 3 * age + 10 * (town == "q") + generator.normal(0, 2, ROWS)
    table = pa.table({"area": area, "age": values, "town": town, "price": price})
    choices = Choices("price", {})
    ingest(table_content(table), tmp_path, choices)
    dataset = Dataset.open(tmp_path)
    return Part(dataset, dataset.split("all"))


def raw_design(part: Part, encoding: Encoding) -> Matrix:
    return np.hstack([feature.encode(part.dataset.column(feature.name)) for feature in encoding.features])


def least_squares(design: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    theta = np.linalg.lstsq(np.hstack([design, np.ones((len(design), 1))]), y, rcond=1e-10)[0]
    return theta[:-1], theta[-1]


@pytest.fixture
def fitted(part: Part) -> tuple[Encoding, Rows, Parameters]:
    encoding = Encoding.fit(part, None, TargetEncoding.fit(part.dataset, "price", "linear"), standardize=True)
    design = encoding.matrix(part)
    rows = Rows(design.X, encoding.targets(part), design.scale)
    weights, bias = least_squares(design.X.astype(np.float64), rows.y.astype(np.float64))
    return encoding, rows, Parameters(weights.astype(np.float32), bias.astype(np.float32))


def remembered(fitted: tuple[Encoding, Rows, Parameters], spec: Spec = LINEAR) -> Statistics:
    """What a job keeps."""
    encoding, rows, parameters = fitted
    found = infer(Problem(rows, None, parameters.bias.size), parameters, spec, encoding.fold_features)
    return statistics(rows, encoding, spec, found.covariance)


def test_means_and_ranges_are_those_of_the_raw_columns(part: Part, fitted: tuple[Encoding, Rows, Parameters]) -> None:
    found, raw = remembered(fitted), raw_design(part, fitted[0])
    np.testing.assert_allclose(found.mean, raw.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.minimum, raw.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.maximum, raw.max(axis=0), atol=1e-5)


def told(fitted: tuple[Encoding, Rows, Parameters]) -> Uncertainty:
    found = remembered(fitted).uncertainty
    assert found is not None
    return found


def test_the_uncertainty_of_a_row_is_that_of_least_squares_on_the_raw_columns(
    part: Part, fitted: tuple[Encoding, Rows, Parameters]
) -> None:
    found, raw = told(fitted), raw_design(part, fitted[0])
    columns = np.hstack([raw - raw.mean(axis=0), np.ones((ROWS, 1))])  # centred, as NumPy would lose the offset
    expected = np.einsum("ij,jk,ik->i", columns, np.linalg.pinv(columns.T @ columns, rcond=1e-10), columns)
    extended = np.hstack([raw, np.ones((ROWS, 1))])
    leverage = np.einsum("ij,jk,ik->i", extended, found.inverse_gram, extended)
    np.testing.assert_allclose(leverage, expected, rtol=1e-4)
    assert leverage.sum() == pytest.approx(5, rel=1e-4)  # the rank: two numbers, three levels that sum to one
    assert found.degrees_of_freedom[0] == ROWS - 5


def test_the_spread_of_the_residuals_is_found_and_the_optimum_known_as_one(
    fitted: tuple[Encoding, Rows, Parameters],
) -> None:
    _, rows, parameters = fitted
    found = told(fitted)
    residuals = rows.y - rows.X.astype(np.float64) @ parameters.weights - parameters.bias
    assert found.residual_variance[0] == pytest.approx((residuals**2).sum() / (ROWS - 5), rel=1e-6)
    assert found.distance[0] < NEAR


def test_an_unknown_category_is_as_sure_as_the_mean_of_the_levels(
    part: Part, fitted: tuple[Encoding, Rows, Parameters]
) -> None:
    found, raw = told(fitted), raw_design(part, fitted[0])
    mean = np.append(raw.mean(axis=0), 1.0)
    unknown = mean.copy()
    unknown[2:6] = [0, 0, 0, 1]
    assert unknown @ found.inverse_gram @ unknown == pytest.approx(1 / ROWS, rel=1e-3)
    assert mean @ found.inverse_gram @ mean == pytest.approx(1 / ROWS, rel=1e-3)


def test_only_coefficients_that_the_data_determine_have_standard_errors(
    fitted: tuple[Encoding, Rows, Parameters],
) -> None:
    errors = told(fitted).standard_errors[:, 0]
    names = [*fitted[0].names, "bias"]
    assert [name for name, error in zip(names, errors, strict=True) if np.isfinite(error)] == ["area", "age"]


def test_weights_away_from_least_squares_are_known_by_their_distance(
    fitted: tuple[Encoding, Rows, Parameters],
) -> None:
    encoding, rows, parameters = fitted
    moved = Parameters(parameters.weights * np.float32(0.9), parameters.bias)
    assert told((encoding, rows, moved)).distance[0] > NEAR


@pytest.mark.parametrize("options", [{"l2": 0.1}, {"l1": 0.1}, {"loss": "huber"}])
def test_there_is_no_uncertainty_where_it_is_not_least_squares(
    fitted: tuple[Encoding, Rows, Parameters], options: dict[str, float | str]
) -> None:
    spec = Spec(dataset="d", model="linear", **options).effective(ROWS)  # type: ignore[arg-type]
    assert remembered(fitted, spec).uncertainty is None


def test_pixels_are_kept_in_their_own_units() -> None:
    from app.datasets.feature_encoding import ArrayFeature

    generator = np.random.default_rng(0)
    X = generator.integers(0, 200, (50, 6), np.uint8)
    encoding = Encoding((ArrayFeature("image", (3, 2), pixels=True),), TargetEncoding(("label",), ("a", "b")))
    rows = Rows(X, (np.arange(50) % 2).astype(np.int32), 1 / 255)
    parameters = Parameters(np.zeros((6, 2), np.float32), np.zeros(2, np.float32))
    spec = Spec(dataset="d", model="softmax").effective(50)
    found = remembered((encoding, rows, parameters), spec)
    np.testing.assert_allclose(found.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose([found.minimum, found.maximum], [X.min(axis=0), X.max(axis=0)], rtol=1e-12)
    assert found.uncertainty is None
