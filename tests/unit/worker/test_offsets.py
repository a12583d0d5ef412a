"""Numbers far from zero: what a job finds in them is what float64 finds, whatever the solver."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.readers.content import table_content
from app.errors import InvalidSpec
from app.jobs.spec import Spec
from app.models.registry import Registry
from app.models.weights import Weights
from app.storage import Storage
from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.inference import Inference, infer
from app.worker.continuation import start_from
from app.worker.evaluation import evaluate
from app.worker.preparation import Prepared, prepare
from app.worker.statistics import statistics
from tests.unit.worker.conftest import Claimed

ROWS = 400
CONSTANT = "the target is constant, so that there is nothing to explain and no error to measure"
SOLVERS = [{"solver": "exact"}, {"solver": "lbfgs"}, {"solver": "sgd"}]

Matrix = NDArray[np.float64]
Job = Callable[..., tuple[Prepared, Epoch, Spec]]


def noise(rows: int = ROWS) -> tuple[Matrix, Matrix]:
    generator = np.random.default_rng(7)
    a = np.round(generator.normal(0, 3, rows), 2)
    return a, 1.5 * a + np.round(generator.normal(0, 2, rows), 2)


def by_steps(options: dict[str, Any], otherwise: float) -> float:
    """Steps end near the optimum but not at it."""
    return 1e-3 if options["solver"] == "sgd" else otherwise


@pytest.fixture
def job(claimed: Claimed, catalogue: Catalogue, registry: Registry) -> Job:
    """Train on columns, the last of which is the target."""
    numbers = count()

    def run(columns: dict[str, Any], **options: Any) -> tuple[Prepared, Epoch, Spec]:
        name = f"d{next(numbers)}"
        catalogue.create(table_content(pa.table(columns)), Choices(target=list(columns)[-1]), name)
        row, _ = claimed(dataset=name, **{"epochs": None, **options})
        spec = Spec.model_validate(row.spec)
        prepared = prepare(spec, row, catalogue, registry)
        *_, last = (step for step in fit(prepared.problem, spec) if isinstance(step, Epoch))
        return prepared, last, spec

    return run


def folded(prepared: Prepared, epoch: Epoch) -> Weights:
    return Weights(*prepared.encoding.fold(epoch.parameters.weights, epoch.parameters.bias))


def inferred(prepared: Prepared, epoch: Epoch) -> Inference:
    return infer(prepared.problem, epoch.parameters, epoch.options, prepared.encoding.fold_features)


@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.parametrize("offset", [1e7, 1e8, -3e12])
def test_a_target_far_from_zero_loses_nothing(job: Job, options: dict[str, Any], offset: float):
    a, y = noise()
    prepared, last, _ = job({"a": a, "y": offset + y}, **options)

    found = folded(prepared, last)
    theirs = sm.OLS((offset + y) - offset, sm.add_constant(a)).fit()
    assert found.weights[0, 0] == pytest.approx(theirs.params[1], rel=by_steps(options, 1e-6))
    assert found.bias[0] - offset == pytest.approx(theirs.params[0], abs=0.01)
    metrics = evaluate(prepared.problem, last.parameters)["train"]
    assert metrics["mse"] == pytest.approx(theirs.ssr / ROWS, rel=1e-4)
    assert metrics["r2"] == pytest.approx(theirs.rsquared, rel=1e-4)
    told = inferred(prepared, last)
    assert told.errors is not None
    np.testing.assert_allclose(told.errors[::-1, 0], theirs.bse, rtol=1e-3)


def test_three_rows_beyond_float32_have_their_line(job: Job):
    prepared, last, _ = job({"a": [1, 2, 3], "y": [100000001, 100000003, 100000004]}, solver="exact")
    found = folded(prepared, last)
    assert (found.weights[0, 0], found.bias[0]) == pytest.approx((1.5, 1e8 - 1 / 3), rel=1e-7)


@pytest.mark.parametrize("options", SOLVERS, ids=str)
def test_a_feature_far_from_zero_loses_nothing_either_where_nothing_is_standardised(job: Job, options: dict[str, Any]):
    a, y = noise()
    prepared, last, _ = job({"a": 1.7e9 + a, "b": a**2, "y": y}, standardize=False, **options)

    found = folded(prepared, last)
    theirs = sm.OLS(y, sm.add_constant(np.column_stack([a, a**2]))).fit()
    np.testing.assert_allclose(found.weights[:, 0], theirs.params[1:], rtol=20 * by_steps(options, 1e-6))
    remembered = statistics(prepared.problem.train, prepared.encoding, last.options)
    np.testing.assert_allclose(remembered.mean, [1.7e9 + a.mean(), (a**2).mean()], rtol=1e-7)
    if options["solver"] != "sgd":
        told = inferred(prepared, last)
        assert told.errors is not None
        np.testing.assert_allclose(told.errors[:2, 0], theirs.bse[1:], rtol=1e-4)


def test_steps_on_raw_numbers_near_zero_see_them_as_they_are(job: Job):
    """The textbook's experiments start at weights near zero and a bias of zero, in the target's own units."""
    prepared, _, _ = job({"a": [1.0, 2.0, 4.0], "y": [100.0, 104.0, 109.0]}, standardize=False, epochs=1)
    assert prepared.problem.train.y[:, 0].tolist() == [100.0, 104.0, 109.0]
    assert prepared.problem.train.X[:, 0].tolist() == [1.0, 2.0, 4.0]


def test_centring_costs_no_bit(job: Job):
    """The centre is a multiple of the power of two below the spread, so that what float32 holds it still holds."""
    y = [1000.125, 1003.5, 1010.0, 999.0]
    prepared, _, _ = job({"a": [1.0, 2.0, 4.0, 5.0], "y": y}, solver="exact")
    centre = prepared.encoding.target.centre[0]
    assert centre % 4 == 0
    assert (prepared.problem.train.y[:, 0].astype(float) + centre).tolist() == y


ROBUST = {"solver": "lbfgs", "loss": "huber"}


@pytest.mark.parametrize("options", [{}, {"precondition": "none"}, {"standardize": False}], ids=str)
@pytest.mark.parametrize(("offset", "unknown"), [(0.0, 1e9), (37.0, -1e9), (1e8, 1e9), (1e8, 1e12)])
def test_a_few_huge_targets_cost_the_others_no_digit(job: Job, options: dict[str, Any], offset: float, unknown: float):
    """A row pulls no harder for being farther off: the optimum is that of rows which are off by a thousand."""
    a, y = noise()
    a = np.append(a, a[: ROWS // 4])
    runs = [
        job({"a": a, "y": np.append(y + start, np.full(ROWS // 4, far))}, **ROBUST, **options)
        for start, far in [(offset, unknown), (0.0, np.copysign(1000, unknown))]
    ]
    prepared, last, _ = runs[0]

    centre = prepared.encoding.target.centre[0]
    kept = prepared.problem.train.y[:ROWS, 0].astype(float) + centre
    np.testing.assert_allclose(kept, offset + y, rtol=0, atol=1e-5)
    found, theirs = (folded(prepared, last) for prepared, last, _ in runs)
    assert last.converged
    assert found.weights[0, 0] == pytest.approx(theirs.weights[0, 0], abs=0.01)
    assert found.bias[0] - offset == pytest.approx(theirs.bias[0], abs=0.01)


def test_a_category_that_tells_the_huge_targets_leaves_the_others_their_line(job: Job):
    a, y = noise()
    is_known = np.arange(ROWS) % 5 > 0
    columns = {"a": a, "known": np.where(is_known, "yes", "no"), "y": np.where(is_known, y, 1e9)}
    prepared, last, _ = job(columns, solver="exact")
    assert prepared.problem.train.y[is_known, 0].tolist() == y[is_known].astype(np.float32).tolist()
    assert folded(prepared, last).weights[0, 0] == pytest.approx(1.2, abs=0.1)


def test_a_training_goes_on_from_a_model_with_another_centre(job: Job, storage: Storage, registry: Registry):
    a, y = noise()
    prepared, last, _ = job({"a": a, "y": 1e8 + y}, solver="exact")
    with storage.stage() as stage:
        folded(prepared, last).save(stage.path, prepared.encoding)
        stage.publish("models/m")
    other, _, _ = job({"a": a[:50], "y": 1e8 + y[:50]}, solver="exact")
    start = start_from("m", other.encoding, registry)
    raw, bias = other.encoding.fold(start.weights, start.bias)
    assert raw[0, 0] == pytest.approx(folded(prepared, last).weights[0, 0], rel=1e-6)
    assert bias[0] == pytest.approx(folded(prepared, last).bias[0], abs=1e-6)


def test_several_targets_have_a_centre_each(job: Job, catalogue: Catalogue):
    a, y = noise()
    columns = {"a": a, "near": y, "y": 1e9 + 2 * y}
    prepared, last, _ = job(columns, solver="exact", target=["near", "y"])
    found = folded(prepared, last)
    assert found.weights[0, 1] == pytest.approx(2 * found.weights[0, 0], rel=1e-6)
    assert found.bias[1] - 1e9 == pytest.approx(2 * found.bias[0], abs=1e-5)


@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.parametrize("unit", [1e-24, 1e-10, 1e15, 1e20, 1e28])
def test_any_unit_of_the_target_will_do(job: Job, options: dict[str, Any], unit: float):
    a, y = noise()
    prepared, last, _ = job({"a": a, "y": y * unit}, **options)
    theirs = sm.OLS(y, sm.add_constant(a)).fit()
    assert folded(prepared, last).weights[0, 0] == pytest.approx(
        theirs.params[1] * unit, rel=by_steps(options, 1e-6), abs=0
    )
    metrics = evaluate(prepared.problem, last.parameters)["train"]
    assert metrics["r2"] == pytest.approx(theirs.rsquared, rel=1e-5)
    assert metrics["mse"] == pytest.approx(theirs.ssr / ROWS * unit**2, rel=1e-4, abs=0)
    assert last.train_loss == pytest.approx(metrics["mse"] / 2, rel=1e-3, abs=0)


@pytest.mark.parametrize("unit", [1e-35, 1e33])
def test_beyond_what_float32_holds_the_target_is_refused(job: Job, unit: float):
    a, y = noise()
    with pytest.raises(InvalidSpec, match="another unit"):
        job({"a": a, "y": y * unit}, solver="exact")


@pytest.mark.parametrize("options", SOLVERS, ids=str)
def test_a_constant_target_has_no_errors_and_no_share_explained(job: Job, options: dict[str, Any]):
    a, _ = noise()
    prepared, last, _ = job({"a": a, "y": np.full(ROWS, 0.1)}, **options)
    assert folded(prepared, last).bias[0] == pytest.approx(0.1, rel=1e-6)
    assert "r2" not in evaluate(prepared.problem, last.parameters)["train"]
    told = inferred(prepared, last)
    assert (told.errors, told.reason) == (None, CONSTANT)


@pytest.mark.parametrize("options", SOLVERS[1:], ids=str)
def test_classes_are_told_apart_by_a_feature_far_from_zero(job: Job, options: dict[str, Any]):
    a, y = noise()
    labels = np.where(y > 0, "up", "down")
    given = {"model": "softmax", "standardize": False, "l2": 0.001, **options}
    runs = [job({"a": offset + a, "y": labels}, **given) for offset in (0.0, 1.7e9)]
    accuracies = [evaluate(found[0].problem, found[1].parameters)["train"]["accuracy"] for found in runs]
    assert accuracies == pytest.approx([accuracies[0]] * 2, abs=0.01)
    assert accuracies[0] > 0.7
    weights = [folded(found[0], found[1]).weights for found in runs]
    np.testing.assert_allclose(weights[1], weights[0], rtol=0.1 if options["solver"] == "sgd" else 1e-4)


@pytest.mark.parametrize("options", [{"solver": "exact"}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("levels", ["ab", "abcd"])
def test_a_category_whose_levels_are_equally_frequent_leaves_the_others_their_errors(
    job: Job, options: dict[str, Any], levels: str
):
    """What `unknown` has is the mean of the levels, of which rounding alone is left."""
    a, y = noise()
    category = [levels[row % len(levels)] for row in range(ROWS)]
    prepared, last, _ = job({"a": a, "c": category, "y": y}, **options)

    found = inferred(prepared, last)

    X = np.column_stack([a, *([float(value == level) for value in category] for level in levels)])
    residuals = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    error = np.sqrt(residuals @ residuals / (ROWS - 1 - len(levels)) * np.linalg.pinv(X.T @ X)[0, 0])
    assert found.reason is None
    assert found.errors is not None
    assert found.errors[0, 0] == pytest.approx(error, rel=1e-5)
