"""Records whose keys differ: rows times keys may be far more than there are values."""

from typing import Any

import orjson
import pytest

from app.datasets.bounds import Bounds
from app.datasets.readers import records
from app.errors import InvalidData, TooLarge
from tests.unit.datasets.conftest import Build

Row = dict[str, Any]


def own_keys(rows: int) -> list[Row]:
    return [{f"k{row}": 1} for row in range(rows)]


@pytest.mark.parametrize("form", ["ndjson", "records"])
def test_keys_used_as_values_are_refused_before_they_are_a_table(build: Build, form: str) -> None:
    rows = own_keys(100_000)
    with pytest.raises(InvalidData, match="is a key used as a value") as caught:
        _ = records.read(rows, {}) if form == "records" else build(b"\n".join(map(orjson.dumps, rows)), form)

    assert caught.value.faults[0].location == "row 1024"
    assert '"k1023" as column 1024' in caught.value.faults[0].message


def test_a_thousand_keys_of_their_own_and_wide_rows_are_a_table(build: Build) -> None:
    assert len(build(records.read(own_keys(1000), {})).kinds) == 1000
    half_empty = [{f"k{key}": 1 for key in range(row % 2, 2000, 2)} for row in range(300)]
    dataset = build(records.read(half_empty, {}))

    assert len(dataset.kinds) == 2000
    assert {column["missing"] for column in dataset.description.columns} == {150}


def test_values_are_counted_while_the_keys_are_looked_for() -> None:
    with pytest.raises(TooLarge, match="999 values"):
        records.read(own_keys(40), {}, Bounds(cells=999))


def test_many_columns_come_in_batches_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_BATCH_CELLS", 1000)
    content = records.read([{f"k{key}": row for key in range(300)} for row in range(10)], {})

    assert [len(batch) for batch in content.batches()] == [3, 3, 3, 1]
