"""Standard errors, statistics, p-values and intervals against statsmodels, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import scipy.stats
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from app.training import covariance, objective
from app.training.covariance import Fold
from app.training.distributions import quantile, two_sided_p
from app.training.hyperparameters import Hyperparameters
from app.training.inference import Inference, infer
from app.training.problem import Parameters, Problem, Rows
from tests.unit.training.reference import blobs, epochs, line, several_targets
from tests.unit.training.tables import class_tables, linear_tables, standardised

Matrix = NDArray[np.float64]


def inferred(problem: Problem, raw: bool = False, **options: object) -> tuple[Parameters, Inference]:
    """The statistics of a trained problem, in its own units or as if they were (raw − 3) / 2."""
    d = problem.train.features
    fold = standardisation(np.full(d, 2.0), np.full(d, 3.0)) if raw else standardisation(np.ones(d), np.zeros(d))
    last = epochs(problem, Hyperparameters(**options))[-1]
    return last.parameters, infer(problem, last.parameters, last.options, fold)


def standardisation(scale: Matrix, centre: Matrix) -> Fold:
    """Coefficients that act on raw features as the given ones act on (raw − centre) / scale."""
    return lambda weights, bias: (weights / scale[:, None], bias - (centre / scale) @ weights)


def refusal(problem: Problem, **options: object) -> str:
    """Why there are no errors."""
    parameters, found = inferred(problem, **options)
    assert (found.parameters, found.errors, found.degrees) == (parameters, None, None)
    assert found.reason is not None
    return found.reason


LINEAR = {"model": "linear", "solver": "exact"}
SOFTMAX = {"model": "softmax", "solver": "lbfgs"}


@pytest.mark.parametrize("statistic", [0.0, 0.3, -1.7, 4.2, 30.0])
@pytest.mark.parametrize("degrees", [1, 3, 10, 999, 100_000, None])
def test_p_values_and_quantiles_are_those_of_scipy(statistic: float, degrees: int | None) -> None:
    law = scipy.stats.norm if degrees is None else scipy.stats.t(degrees)
    assert two_sided_p(statistic, degrees) == pytest.approx(2 * law.sf(abs(statistic)), rel=1e-8)
    assert quantile(0.95, degrees) == pytest.approx(law.ppf(0.975), rel=1e-9)


@pytest.mark.parametrize("statistic", [0.0, 1e-3, 1.7, 30.0, np.inf])
@pytest.mark.parametrize("degrees", [10, 10_000, 10_001, 1e6, 1e7, 1e9])
def test_of_many_degrees_of_freedom_ten_digits_hold_too(statistic: float, degrees: float) -> None:
    law = scipy.stats.t(degrees)
    assert two_sided_p(statistic, degrees) == pytest.approx(2 * law.sf(statistic), rel=1e-10, abs=0)
    assert quantile(0.95, degrees) == pytest.approx(law.ppf(0.975), rel=1e-10)


@pytest.mark.parametrize("degrees", [1e10, 1e18, 1e308])
def test_of_very_many_degrees_of_freedom_students_t_is_the_normal_distribution(degrees: float) -> None:
    assert two_sided_p(1.7, degrees) == pytest.approx(two_sided_p(1.7, None), rel=1e-9)
    assert quantile(0.95, degrees) == pytest.approx(quantile(0.95, None), rel=1e-9)


@pytest.mark.parametrize(("noise", "reason"), [(None, "the target is constant"), (0.0, "explains the target exactly")])
def test_where_nothing_is_left_to_explain_there_are_no_errors(noise: float | None, reason: str) -> None:
    problem = line(rows=50, noise_std=noise or 0.0)
    if noise is None:
        problem = Problem(Rows(problem.train.X, np.full_like(problem.train.y, 3)), None, 1)
    for solver in ("exact", "lbfgs"):
        assert reason in refusal(problem, model="linear", solver=solver)


def powers(degree: int, noise: float) -> tuple[Problem, Matrix, Matrix]:
    """A polynomial of a year as a job trains it: standardised in float64, then float32. With the raw X and y."""
    generator = np.random.default_rng(0)
    year = generator.integers(1900, 2021, size=500).astype(float)
    coefficients = [0.5, 0.01, 1e-4][:degree]
    y = sum(c * (year - 1960) ** (i + 1) for i, c in enumerate(coefficients)) + noise * generator.normal(size=500)
    X = np.column_stack([year ** (i + 1) for i in range(degree)])
    centred = (y - y.mean()).astype(np.float32)[:, None]
    return Problem(Rows(((X - X.mean(0)) / X.std(0)).astype(np.float32), centred), None, 1), X, y


@pytest.mark.parametrize(("degree", "noise"), [(3, 0.001), (3, 0.01), (2, 1e-4)])
def test_residuals_that_are_those_of_rounding_the_features_tell_no_errors(degree: int, noise: float) -> None:
    assert "explains the target exactly, up to rounding" in refusal(powers(degree, noise)[0], **LINEAR)


@pytest.mark.parametrize(("degree", "noise"), [(3, 0.1), (3, 1.0), (2, 0.001)])
def test_residuals_beyond_those_of_rounding_tell_the_errors_of_double_precision(degree: int, noise: float) -> None:
    problem, X, y = powers(degree, noise)
    _, found = inferred(problem, **LINEAR)
    theirs = sm.OLS(y, sm.add_constant((X - X.mean(0)) / X.std(0))).fit()
    np.testing.assert_allclose(found.errors[:-1, 0], theirs.bse[1:], rtol=0.02)
    assert (np.abs(found.parameters.weights[:, 0] - theirs.params[1:]) < 0.1 * theirs.bse[1:]).all()


@pytest.mark.parametrize("problem", [line(rows=200, noise_std=1.0), several_targets(rows=150)])
def test_linear_statistics_are_those_of_statsmodels(problem: Problem) -> None:
    parameters, found = inferred(problem, **LINEAR)
    design = sm.add_constant(problem.train.X.astype(np.float64))
    for column in range(problem.outputs):
        theirs = sm.OLS(problem.train.y[:, column].astype(np.float64), design).fit()
        ours = np.append(parameters.bias[column], parameters.weights[:, column])
        errors = np.append(found.errors[-1, column], found.errors[:-1, column])
        np.testing.assert_allclose(ours, theirs.params, rtol=1e-8)
        np.testing.assert_allclose(errors, theirs.bse, rtol=1e-8)
        np.testing.assert_allclose(
            [two_sided_p(v / e, found.degrees) for v, e in zip(ours, errors, strict=True)],
            theirs.pvalues, rtol=1e-6, atol=1e-300,
        )  # fmt: skip


def test_standard_errors_are_in_raw_units() -> None:
    problem = line(rows=200, noise_std=1.0)
    _, found = inferred(problem, raw=True, **LINEAR)
    raw = problem.train.X.astype(np.float64) * 2 + 3
    theirs = sm.OLS(problem.train.y[:, 0].astype(np.float64), sm.add_constant(raw)).fit()
    np.testing.assert_allclose(np.append(found.errors[-1, 0], found.errors[:-1, 0]), theirs.bse, rtol=1e-8)


def test_least_squares_on_housing_has_the_statistics_of_statsmodels(real_data: Path) -> None:
    """Its levels of a category sum to the constant: statsmodels takes a pseudo-inverse, and so do we."""
    raw, y = linear_tables(real_data)["housing"]
    problem, numbers = standardised(raw, y), slice(0, 8)
    last = epochs(problem, Hyperparameters(**LINEAR))[-1]
    found = infer(problem, last.parameters, last.options, standardisation(raw.std(0), raw.mean(0)))
    with pytest.warns(SingularMatrixWarning):
        theirs = sm.OLS(y, sm.add_constant(raw)).fit()
    assert found.degrees == theirs.df_resid
    weights, errors = (found.parameters.weights / raw.std(0)[:, None])[numbers, 0], found.errors[numbers, 0]
    np.testing.assert_allclose(weights, theirs.params[1:][numbers], rtol=1e-6)
    np.testing.assert_allclose(errors, theirs.bse[1:][numbers], rtol=1e-6)
    p_values = [two_sided_p(v / e, found.degrees) for v, e in zip(weights, errors, strict=True)]
    np.testing.assert_allclose(p_values, theirs.pvalues[1:][numbers], rtol=1e-4, atol=1e-300)
    assert np.isnan(found.errors[8:]).all()  # a level, without one that it is compared with, is not determined


def assert_as_mnlogit(problem: Problem, found: Inference) -> None:
    """Coefficients, standard errors and p-values within 1e-4 of themselves; the bias comes first there."""
    design = sm.add_constant(problem.train.X.astype(np.float64))
    theirs = sm.MNLogit(problem.train.y, design).fit(disp=False, tol=1e-10, maxiter=100)
    ours = np.vstack([found.parameters.bias, found.parameters.weights])[:, 1:]
    errors = np.vstack([found.errors[-1:], found.errors[:-1]])[:, 1:]
    p_values = np.vectorize(lambda statistic: two_sided_p(statistic, None))(ours / errors)
    np.testing.assert_allclose(ours, theirs.params, rtol=1e-4)
    np.testing.assert_allclose(errors, theirs.bse, rtol=1e-4)
    np.testing.assert_allclose(p_values, theirs.pvalues, rtol=1e-4, atol=1e-300)
    assert found.degrees is None
    assert np.isnan(found.errors[:, 0]).all()


def test_softmax_statistics_are_those_of_statsmodels() -> None:
    problem = overlapping()
    _, found = inferred(problem, **SOFTMAX)
    assert_as_mnlogit(problem, found)


@pytest.mark.parametrize(("rows", "features", "classes"), [(60, 1, 2), (2000, 8, 5), (20_000, 4, 3)])
def test_so_they_are_whatever_the_size(rows: int, features: int, classes: int) -> None:
    problem = overlapping(rows, features, classes)
    _, found = inferred(problem, **SOFTMAX)
    assert_as_mnlogit(problem, found)


def test_a_dear_house_is_explained_as_by_statsmodels(real_data: Path) -> None:
    X, y = class_tables(real_data)["housing, dear or not"]
    problem = standardised(X[:, :8], y)  # without the category, whose levels sum to the constant
    _, found = inferred(problem, **SOFTMAX)
    assert_as_mnlogit(problem, found)


def test_a_search_in_float32_has_the_digits_of_the_optimum_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "PRECISE_ENTRIES", 0)
    problem = overlapping()
    _, found = inferred(problem, **SOFTMAX)
    assert_as_mnlogit(problem, found)
    linear = several_targets(rows=150)
    near, found = inferred(linear, model="linear", solver="lbfgs")
    exact, _ = inferred(linear, **LINEAR)
    assert np.abs(near.weights - exact.weights).max() > 1e-9
    np.testing.assert_allclose(found.parameters.weights, exact.weights, rtol=1e-9)
    np.testing.assert_allclose(found.parameters.bias, exact.bias, rtol=1e-9)


def overlapping(rows: int = 500, features: int = 3, classes: int = 3) -> Problem:
    """Classes that cannot be separated."""
    generator = np.random.default_rng(0)
    X = generator.normal(0, 1, (rows, features))
    z = X @ generator.normal(0, 1, (features, classes)) + generator.gumbel(size=(rows, classes))
    return Problem(Rows(X.astype(np.float32), z.argmax(1).astype(np.int32)), None, classes)


def test_penguins_by_sex_are_as_in_statsmodels(real_data: Path) -> None:
    table = pyarrow.csv.read_csv(real_data / "penguins.csv").to_pandas().dropna()
    columns = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    raw = table[columns].to_numpy(float)
    scale, centre = raw.std(0), raw.mean(0)
    X = np.ascontiguousarray((raw - centre) / scale, np.float32)
    y = (table["sex"].str.lower() == "male").to_numpy().astype(np.int32)
    problem = Problem(Rows(X, y), None, 2)
    last = epochs(problem, Hyperparameters(**SOFTMAX))[-1]
    found = infer(problem, last.parameters, last.options, standardisation(scale, centre))
    theirs = sm.MNLogit(y, sm.add_constant(X.astype(np.float64) * scale + centre)).fit(disp=False, maxiter=200)
    np.testing.assert_allclose(np.append(found.errors[-1, 1], found.errors[:-1, 1]), theirs.bse[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found.parameters.weights[:, 1] / scale, theirs.params[1:, 0], rtol=1e-6)
    statistics = found.parameters.weights[:, 1] / scale / found.errors[:-1, 1]
    p_values = [two_sided_p(statistic, None) for statistic in statistics]
    np.testing.assert_allclose(p_values, theirs.pvalues[1:, 0], rtol=1e-4)


def test_a_column_that_depends_on_others_has_no_error_and_the_rest_have_theirs() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(0, 1, (200, 3))
    X = np.column_stack([X, X[:, 0]]).astype(np.float32)
    y = (X[:, 1:2] + generator.normal(0, 1, (200, 1))).astype(np.float32)
    _, found = inferred(Problem(Rows(X, y), None, 1), **LINEAR)
    assert np.isnan(found.errors[:, 0]).tolist() == [True, False, False, True, False]
    theirs = sm.OLS(y[:, 0].astype(np.float64), sm.add_constant(X[:, :3].astype(np.float64))).fit()
    np.testing.assert_allclose(found.errors[1:3, 0], theirs.bse[2:4], rtol=1e-8)
    assert found.degrees == 196


@pytest.mark.parametrize(
    ("problem", "options", "reason"),
    [
        (line(), {**LINEAR, "l2": 0.1}, "penalty"),
        (blobs(), {**SOFTMAX, "class_weights": "balanced"}, "weighted"),
        (line(), {"model": "linear", "loss": "huber"}, "huber"),
        (line(), {"model": "linear", "epochs": 1, "learning_rate": 0.001}, "by steps"),
        (line(), {"model": "linear", "epochs": 1, "learning_rate": 0.001, "l2": 0.1}, "penalty"),
        (blobs(), {"model": "softmax", "epochs": 1}, "by steps"),
        (line(noise_std=1.0), {"model": "linear", "solver": "lbfgs", "epochs": 1}, "not at the optimum"),
        (blobs(), {**SOFTMAX, "epochs": 2}, "not at the optimum"),
        (line(rows=3), LINEAR, "degree of freedom"),
        (blobs(features=600, rows=20), SOFTMAX, "too many"),
        (line(5, (1.0,) * 1000), LINEAR, "1001 coefficients over 5 rows are too many"),
    ],
)  # fmt: skip
def test_statistics_are_refused_with_the_reason(problem: Problem, options: dict[str, object], reason: str) -> None:
    assert reason in refusal(problem, **options)


def test_after_steps_the_covariance_may_take_less_work(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = line(rows=200, noise_std=1.0)
    monkeypatch.setattr(covariance, "MOST_PRODUCTS_AFTER_STEPS", 200 * 3**2 - 1)
    reason = refusal(problem, model="linear", epochs=1)
    assert reason == (
        "3 coefficients over 200 rows are too many to find their covariances after a training by steps; "
        "use the solver exact or lbfgs"
    )
    assert inferred(problem, **LINEAR)[1].covariance is not None
    monkeypatch.setattr(covariance, "MOST_PRODUCTS", 200 * 3**2 - 1)
    for solver in ("exact", "sgd"):
        assert refusal(problem, model="linear", solver=solver).endswith("too many to find their covariances")


def test_too_many_coefficients_are_refused_before_any_square_of_them_is_made() -> None:
    def fold(weights: Matrix, bias: Matrix) -> tuple[Matrix, Matrix]:
        raise AssertionError("a map of all coefficients would not fit into memory")

    for problem, options in [
        (line(5, (1.0,) * 1000), {"model": "linear", "solver": "lbfgs"}),
        (blobs(features=600, rows=20), SOFTMAX),
    ]:
        last = epochs(problem, Hyperparameters(epochs=1, **options))[-1]
        assert "too many" in str(infer(problem, last.parameters, last.options, fold).reason)


def test_a_covariance_is_there_where_no_coefficient_can_be_tested() -> None:
    """Intervals of predictions need no optimum, and no noise."""
    for problem, options in [
        (line(rows=50, noise_std=0.0), LINEAR),
        (line(rows=50, noise_std=1.0), {"model": "linear", "epochs": 1, "learning_rate": 0.001}),
    ]:
        _, found = inferred(problem, **options)
        assert found.errors is None
        assert found.covariance is not None


def test_steps_that_end_at_least_squares_have_its_errors_and_keep_their_weights() -> None:
    problem = line(rows=200, noise_std=1.0)
    options = {"model": "linear", "epochs": 300, "batch_size": 200, "learning_rate": 0.3}
    parameters, found = inferred(problem, **options)
    assert found.parameters is parameters
    np.testing.assert_allclose(found.errors, inferred(problem, **LINEAR)[1].errors, rtol=1e-6)


def test_classes_that_can_be_separated_have_no_statistics() -> None:
    X = np.concatenate([np.linspace(-2, -1, 20), np.linspace(1, 2, 20)]).astype(np.float32)[:, None]
    assert "separated" in refusal(Problem(Rows(X, np.repeat([0, 1], 20).astype(np.int32)), None, 2), **SOFTMAX)


def with_a_level(share: float, rows: int, separated: bool, seed: int) -> Problem:
    """Classes by a number and a level, standardised; where they are separated all rows of the level are of class 0."""
    generator = np.random.default_rng(seed)
    x, level = generator.normal(size=rows), (generator.random(rows) < share).astype(np.float64)
    labels = (x + generator.logistic(size=rows) > 0).astype(np.int32)
    if separated:
        labels[level == 1] = 0
    X = np.column_stack([x, level])
    return Problem(Rows(((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), labels), None, 2)


@pytest.mark.parametrize("rows", [300, 3000, 10_000])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_a_level_all_of_whose_rows_are_of_one_class_has_no_optimum(share: float, rows: int, seed: int) -> None:
    options = {**SOFTMAX, "standardize": True}
    assert "separated" in refusal(with_a_level(share, rows, separated=True, seed=seed), **options)
    assert np.isfinite(inferred(with_a_level(share, rows, separated=False, seed=seed), **options)[1].errors[:, 1]).all()


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_without_a_row_has_no_optimum(absent: int) -> None:
    problem = blobs(rows=400, classes=2, seed=4)
    labels = np.array([c for c in range(3) if c != absent], np.int32)[problem.train.y]
    X = problem.train.X + 3 * np.random.default_rng(1).normal(size=problem.train.X.shape).astype(np.float32)
    assert "separated" in refusal(Problem(Rows(X, labels), None, 3), **SOFTMAX)


def test_a_far_row_that_is_predicted_without_a_doubt_hides_nothing() -> None:
    problem = with_a_level(0.3, 500, separated=False, seed=0)
    X, labels = problem.train.X.astype(np.float64), problem.train.y.copy()
    X[0, 0], labels[0] = 1e5, 1
    _, found = inferred(Problem(Rows(X.astype(np.float32), labels), None, 2), **SOFTMAX)
    design = np.column_stack([X, np.ones(500)])  # statsmodels overflows here
    p = 1 / (1 + np.exp(-design @ np.append(found.parameters.weights[:, 1], found.parameters.bias[1])))
    assert np.abs(design.T @ (labels - p)).max() < 1e-6
    covariance = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    np.testing.assert_allclose(found.errors[:, 1], np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_what_two_equal_columns_have_in_common_is_determined() -> None:
    """The bias depends on the sum of their weights alone, in raw units too."""
    generator = np.random.default_rng(1)
    X = generator.normal(3, 2, (200, 2))
    y = (X @ [[2.0], [1.0]] + generator.normal(size=(200, 1))).astype(np.float32)
    _, found = inferred(
        Problem(Rows(np.column_stack([X[:, :1], X]).astype(np.float32), y), None, 1), raw=True, **LINEAR
    )
    assert np.isnan(found.errors[:, 0]).tolist() == [True, True, False, False]
    raw = 2 * X.astype(np.float32).astype(np.float64) + 3
    theirs = sm.OLS(y[:, 0].astype(np.float64), sm.add_constant(raw)).fit()
    np.testing.assert_allclose(found.errors[2:, 0], theirs.bse[[2, 0]], rtol=1e-8)
