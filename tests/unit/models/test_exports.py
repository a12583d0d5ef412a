"""Exports, where names or categories are such as a format cannot tell apart or does not have."""

import numpy as np
import pyarrow as pa
import pytest

from app.datasets.feature_encoding import CategoricalFeature, NumericFeature
from app.errors import Unsupported
from app.models.exports import pmml, sql
from app.models.prediction import Wish, predict
from app.models.predictor import Predictor
from tests.export_readers import in_duckdb, in_sqlite
from tests.unit.models.conftest import Add

ONE = NumericFeature("x", 0.0)
ROWS = np.array([[0.5], [-2.0], [3.0], [0.0]])


@pytest.mark.parametrize("read", [in_sqlite, in_duckdb])
def test_sql_tells_classes_apart_that_differ_in_case_alone(add: Add, predictor: Predictor, read: object) -> None:
    add("letters", weights=[[1.0, 2.5, -1.0]], bias=[0.1, -0.4, 0.2], features=[ONE], classes=["A", "a", "b"])
    loaded = predictor.load("letters")

    found = read(pa.table({"x": ROWS[:, 0]}), sql.write(loaded).decode())  # type: ignore[operator]

    expected = predict(loaded, ROWS, Wish(frozenset(["probabilities"])))
    assert [row["prediction"] for row in found] == expected.predictions
    assert "a" in expected.predictions
    told = [[row[f"probability:{name}"] for name in ("A", "a (2)", "b")] for row in found]
    np.testing.assert_allclose(told, expected.probabilities, rtol=1e-12)


@pytest.mark.parametrize("read", [in_sqlite, in_duckdb])
def test_sql_tells_targets_apart_that_differ_in_case_alone(add: Add, predictor: Predictor, read: object) -> None:
    add("two", weights=[[1.0, 10.0]], bias=[0.5, 0.25], features=[ONE], target=["y", "Y"])
    loaded = predictor.load("two")

    found = read(pa.table({"x": ROWS[:, 0]}), sql.write(loaded).decode())  # type: ignore[operator]

    told = [[row["prediction:y"], row["prediction:Y (2)"]] for row in found]
    np.testing.assert_allclose(told, predict(loaded, ROWS).predictions, rtol=1e-12)


@pytest.mark.parametrize(("write", "level", "what"), [
    (pmml.write, "a\x0bb", "XML"), (pmml.write, "a\uffff", "XML"), (sql.write, "a\0b", "null character"),
], ids=["control in PMML", "no character in PMML", "null in SQL"])  # fmt: skip
def test_a_character_that_a_format_does_not_have_is_refused(
    add: Add, predictor: Predictor, write: object, level: str, what: str
) -> None:
    town = CategoricalFeature("town", ("bonn", level), (0.5, 0.5), unknown_trained=False)
    add("odd", weights=[[1.0], [2.0], [1.5]], bias=[0.0], features=[town])
    with pytest.raises(Unsupported, match=what):
        write(predictor.load("odd"))  # type: ignore[operator]
