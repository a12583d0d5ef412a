"""Prediction intervals of models as jobs train them: which rows have one, how wide it is where steps ended early."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.ingest import Choices, ingest
from app.datasets.readers.content import table_content
from app.datasets.splitting import Part
from app.datasets.target_encoding import TargetEncoding
from app.models.batch import Batch, write
from app.models.bodies import ARROW, CSV, NPY, answer_records, answer_rows, answer_table
from app.models.open_inference import Output, reply
from app.models.prediction import Wish
from app.models.predictor import Loaded
from app.models.replies import WRITERS
from app.models.results import FILE
from app.models.weights import Weights
from app.tables import ModelRow
from app.training.hyperparameters import Hyperparameters
from app.training.inference import infer
from app.training.problem import Problem, Rows
from app.worker.statistics import statistics
from tests.unit.training.reference import epochs

Columns = dict[str, Any]
Train = Callable[..., Loaded]
Matrix = NDArray[np.float64]
INTERVAL = Wish(frozenset(["interval"]))
ROWS = 600
generator = np.random.default_rng(0)
X1, NOISE = generator.normal(size=(2, ROWS))
TOWN = generator.choice(["p", "q", "r"], size=ROWS)
Y = X1 + (TOWN == "q") + 0.1 * NOISE


def dataset(folder: Path, columns: Columns, target: Sequence[str] = ("y",)) -> Dataset:
    folder.mkdir()
    ingest(table_content(pa.table(columns)), folder, Choices(target[0], {}))
    return Dataset.open(folder)


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """A linear model of columns, by the exact solver unless options say otherwise, as a job has it."""

    def trained(
        columns: Columns, missing_indicator: bool = False, max_categories: int | None = None, **options: Any
    ) -> Loaded:
        data = dataset(tmp_path / "training", columns)
        part = Part(data, data.split("all"))
        target = TargetEncoding.fit(data, "y", "linear")
        encoding = Encoding.fit(part, None, target, True, max_categories, missing_indicator)
        design = encoding.matrix(part)
        problem = Problem(Rows(design.X, encoding.targets(part), design.scale), None, 1)
        last = epochs(problem, Hyperparameters(**{"model": "linear", "solver": "exact"} | options))[-1]
        found = infer(problem, last.parameters, last.options, encoding.fold_features)
        remembered = statistics(problem.train, encoding, last.options, found.covariance)
        weights = Weights(*encoding.fold(found.parameters.weights, found.parameters.bias))
        row = ModelRow(id="m", name=None, version=None, kind="linear", target=["y"], classes=None)
        return Loaded(row, weights, encoding, remembered)

    return trained


def untold(loaded: Loaded, records: list[dict[str, Any]]) -> list[bool]:
    """Which of the records have no interval."""
    bounds = answer_records(loaded, records, INTERVAL, 10_000).intervals
    assert bounds is not None
    assert (np.isnan(bounds[:, 0, 0]) == np.isnan(bounds[:, 0, 1])).all()
    return [bool(missing) for missing in np.isnan(bounds[:, 0, 0])]


def records(columns: Columns) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.table(columns).to_pylist()
    return [{name: value for name, value in row.items() if name != "y"} for row in rows]


@pytest.mark.parametrize(("offset", "unit"), [(0.0, 1.0), (1e9, 1.0), (0.0, 1e-6), (1e5, 1e-3)])
def test_a_row_off_the_plane_of_the_training_rows_has_no_interval(train: Train, offset: float, unit: float) -> None:
    x = offset + unit * X1
    columns = {"x1": x, "x2": 2 * x, "y": X1 + 0.1 * NOISE}
    loaded = train(columns)

    def at(a: float, b: float) -> dict[str, float]:
        return {"x1": offset + unit * a, "x2": 2 * offset + unit * b}

    assert untold(loaded, [at(1, 2), at(1, -5), at(1, 2.01), at(1e6, 2e6)]) == [False, True, True, False]
    assert not any(untold(loaded, records(columns)))


@pytest.mark.parametrize("aside", [1e-5, 1e-6])
def test_training_rows_that_keep_to_a_plane_but_roughly_have_theirs(train: Train, aside: float) -> None:
    columns = {"x1": X1, "x2": 2 * X1 + aside * np.random.default_rng(1).standard_t(3, size=ROWS), "y": Y}
    loaded = train(columns)

    assert not any(untold(loaded, records(columns)))
    assert untold(loaded, [{"x1": 1.0, "x2": -5.0}]) == [True]


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0, 1e9 + 0.1])
def test_ordinary_rows_of_categories_and_of_a_constant_have_theirs(train: Train, constant: float) -> None:
    columns = {"x1": X1, "one": np.full(ROWS, constant), "x2": -X1, "town": TOWN, "y": Y}
    loaded = train(columns)

    assert not any(untold(loaded, records(columns)))
    known = {"x1": 50.0, "one": constant, "x2": -50.0, "town": "q"}
    strange = [known | {"one": constant + 1}, known | {"x2": 50.0}]
    assert untold(loaded, [known, *strange]) == [False, True, True]


def test_where_no_columns_depend_on_each_other_nothing_is_kept_and_every_row_has_an_interval(train: Train) -> None:
    loaded = train({"x1": X1, "x2": NOISE, "y": Y})

    assert loaded.training.uncertainty is not None
    assert loaded.training.uncertainty.null_space is None
    assert untold(loaded, [{"x1": 1e6, "x2": -1e6}]) == [False]


def test_every_reply_says_that_there_is_none(train: Train, tmp_path: Path) -> None:
    loaded = train({"x1": X1, "x2": 2 * X1, "y": Y})
    rows = [[1.0, 2.0], [1.0, -5.0]]
    answer = answer_rows(loaded, rows, INTERVAL, 10)

    assert orjson.loads(WRITERS["application/json"](answer))["intervals"][1] == [None, None]
    assert WRITERS[CSV](answer).decode().splitlines()[2].endswith(",,")
    assert pa.ipc.open_stream(WRITERS[ARROW](answer)).read_all().column("high").null_count == 1
    assert np.isnan(np.load(io.BytesIO(WRITERS[NPY](answer)))[1]).all()
    tensors, tail = reply(answer, [Output("interval", as_bytes=False), Output("interval", as_bytes=True)], {})
    assert orjson.loads(tensors)["outputs"][0]["data"][2:] == [None, None]
    assert np.isnan(np.frombuffer(tail)[2:]).all()
    data = dataset(tmp_path / "batch", {"x1": [1.0, 1.0], "x2": [2.0, -5.0], "y": [0.0, 0.0]})
    list(write(loaded, data, Batch("all", ["interval"], None, 0.95, []), tmp_path))
    assert pyarrow.parquet.read_table(tmp_path / FILE).column("low").null_count == 1


BOTH = {
    "a": X1,
    "b": pa.array(X1 + NOISE, mask=np.arange(ROWS) % 5 == 0),
    "new": pa.array(NOISE > 1),
    "c": TOWN,
    "d": pa.array(TOWN, mask=np.arange(ROWS) % 7 == 0),
    "y": Y,
}
KNOWN: dict[str, Any] = {"a": 0.0, "b": 0.0, "new": True, "c": "p", "d": "p"}


@pytest.mark.parametrize("missing_indicator", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "is_untold"),
    [
        ("a", None, True),
        ("new", None, True),
        ("c", None, True),
        ("c", "unseen", True),
        ("d", "unseen", True),
        ("b", None, False),
        ("d", None, False),
    ],
)
def test_what_no_training_row_missed_or_had_leaves_a_row_without_an_interval(
    train: Train, tmp_path: Path, missing_indicator: bool, name: str, value: str | None, is_untold: bool
) -> None:
    loaded = train(BOTH, missing_indicator)
    rows = [KNOWN, KNOWN | {name: value}]

    assert untold(loaded, rows) == [False, is_untold]
    table = pa.Table.from_pylist(rows)
    assert answer_table(loaded, table, INTERVAL).to_json()["predictions"].tolist() == predictions(loaded, rows)
    assert np.isnan(answer_table(loaded, table, INTERVAL).intervals[:, 0, 0]).tolist() == [False, is_untold]
    asked = Batch("all", ["interval", "drift", "contributions"], None, 0.95, [])
    data = dataset(tmp_path / "batch", {name: table.column(name) for name in KNOWN} | {"y": [0.0, 0.0]})
    list(write(loaded, data, asked, tmp_path))
    written = pyarrow.parquet.read_table(tmp_path / FILE)
    assert written.column("low").null_count == is_untold
    assert written.column("prediction").to_pylist() == pytest.approx(predictions(loaded, rows))


def predictions(loaded: Loaded, rows: list[dict[str, Any]]) -> list[float]:
    found: list[float] = answer_records(loaded, rows, INTERVAL, 10).to_json()["predictions"].tolist()
    return found


def test_what_was_folded_into_the_rare_levels_was_trained(train: Train) -> None:
    loaded = train({"x1": X1, "c": [f"c{i}" for i in range(50)] * (ROWS // 50), "y": Y}, max_categories=5)
    assert untold(loaded, [{"x1": 0.0, "c": "unseen"}]) == [False]


def spread_out(rows: int, factor: float, seed: int) -> tuple[Matrix, Matrix]:
    draw = np.random.default_rng(seed)
    X = factor * draw.normal(size=(rows, 4))
    return X, X @ [1, 2, 3, 0] + 10 + draw.normal(size=rows)


@pytest.mark.parametrize("factor", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_after_steps_that_ended_early_intervals_cover_at_any_distance(train: Train, factor: float, rate: float) -> None:
    X, y = spread_out(2000, 1.0, 1)
    named = {f"x{i}": X[:, i] for i in range(4)}
    loaded = train(named | {"y": y}, solver="sgd", epochs=1, batch_size=256, learning_rate=rate)
    X, y = spread_out(2000, factor, 2)
    answer = answer_rows(loaded, X, INTERVAL, 10_000)

    assert answer.intervals is not None
    low, high = answer.intervals[:, 0].T
    np.testing.assert_allclose((low + high) / 2, answer.predictions, atol=1e-9)
    assert ((low <= y) & (y <= high)).mean() > 0.94


@pytest.mark.parametrize("solver", ["exact", "lbfgs"])
def test_at_least_squares_intervals_are_no_wider_for_it(train: Train, solver: str) -> None:
    loaded = train({"x1": X1, "y": Y}, solver=solver)

    assert loaded.training.uncertainty is not None
    assert loaded.training.uncertainty.to_least_squares is not None
    assert not loaded.training.uncertainty.to_least_squares.any()
