"""Batch predictions, block by block."""

import numpy as np
import pyarrow as pa
import pytest

from app.errors import InvalidInstances
from app.models import batch as module
from app.models.batch import Batch
from app.models.prediction import predict
from app.models.predictor import Loaded, Predictor
from app.models.replies import to_table
from app.models.scan import Block
from app.models.statistics import Statistics
from tests.unit.models.conftest import Add

BATCH = Batch("all", ["contributions"], None, 0.95, ["id"])


@pytest.fixture
def line(add: Add, predictor: Predictor) -> Loaded:
    add("line", statistics=Statistics(*np.arange(6.0).reshape(3, 2)))
    return predictor.load("line")


def block(rows: int) -> Block:
    return Block(1000, np.arange(2.0 * rows).reshape(rows, 2), pa.table({"id": np.arange(rows)}))


def test_contributions_come_in_parts_that_together_are_the_whole(line: Loaded, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 7)  # three rows of two features

    parts = list(module._predicted(line, block(10), BATCH))

    assert [(start, len(table)) for start, table in parts] == [(0, 3), (3, 3), (6, 3), (9, 1)]
    found = pa.concat_tables(table for _, table in parts)
    assert found.column_names[:2] == ["id", "prediction"]
    assert found["id"].to_pylist() == list(range(10))
    whole = to_table(predict(line, block(10).X, BATCH.wish))
    assert found.drop_columns("id").column_names == whole.column_names
    for name in whole.column_names:  # the products of other numbers of rows may round otherwise
        np.testing.assert_allclose(found[name].to_numpy(), whole[name].to_numpy(), rtol=1e-14)


def test_a_fault_names_its_row_in_the_dataset(line: Loaded):
    far = block(3)
    far.X[1] = 1.7e308

    with pytest.raises(InvalidInstances) as refused:
        list(module._predicted(line, far, BATCH))

    assert refused.value.faults[0].location == "row 1002"
