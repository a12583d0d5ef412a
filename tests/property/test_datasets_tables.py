"""What holds for every table: it survives every format, splits keep each row once, encoding loses nothing."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import CategoricalFeature, NumericFeature
from app.datasets.ingest import Choices, ingest
from app.datasets.instances import encode_records
from app.datasets.kinds import MISSING, Kind
from app.datasets.readers import FORMATS
from app.datasets.readers.content import Content, table_content
from app.datasets.readers.upload import Upload
from app.datasets.splitting import Part, split
from app.datasets.target_encoding import TargetEncoding

READERS = {form.name: form.read for form in FORMATS}

# Texts that CSV can tell from numbers, booleans, dates and missing values, so that their type is in the file.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=5).map(
    lambda text: f"t{text}"
)
integers = st.integers(-(2**53), 2**53)
floats = st.floats(-3.4e38, 3.4e38)
cells = {
    "integers": integers,
    "floats": floats,
    "texts": texts.filter(lambda text: text not in MISSING),
    "booleans": st.booleans(),
}


@st.composite
def tables(draw: st.DrawFn, missing: bool = True) -> pa.Table:
    rows = draw(st.integers(1, 12))
    types = draw(st.lists(st.sampled_from(sorted(cells)), min_size=1, max_size=4))
    columns = {}
    for number, kind in enumerate(types):
        values = st.none() | cells[kind] if missing else cells[kind]
        arrow = {
            "integers": pa.int64(),
            "floats": pa.float64(),
            "texts": pa.string(),
            "booleans": pa.bool_(),
        }[kind]
        columns[f"c{number}"] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), arrow)
    return pa.table(columns)


@contextmanager
def dataset_of(content: Content) -> Iterator[Dataset]:
    with tempfile.TemporaryDirectory() as folder:
        ingest(content, Path(folder), Choices())
        yield Dataset.open(Path(folder))


def round_trip(table: pa.Table, form: str) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    sink = io.BytesIO()
    if form == "csv":
        pyarrow.csv.write_csv(table, sink)
    elif form == "parquet":
        pyarrow.parquet.write_table(table, sink)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    else:
        sink.write(b"\n".join(orjson.dumps(row) for row in table.to_pylist()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(sink.getvalue())
        with dataset_of(READERS[form](Upload({"file": path}, 1 << 30))) as dataset:
            return dataset.description.sha256, dataset.description.columns, dataset.read()


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet", "arrow"])
@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_any_table_survives_the_round_trip_through_every_format(form: str, table: pa.Table):
    with dataset_of(table_content(table)) as dataset:
        expected = (dataset.description.sha256, dataset.description.columns, dataset.read())

    assert round_trip(table, form) == expected


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(2, 300), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_a_split_keeps_each_row_once(rows: int, fraction: float, seed: int):
    with dataset_of(table_content(pa.table({"a": np.arange(rows)}))) as dataset:
        parts = split(dataset, {"fraction": fraction}, seed)

        assert parts.validation is not None
        assert len(parts.train) >= 1
        assert len(parts.validation) >= 1
        assert sorted([*parts.train.rows, *parts.validation.rows]) == list(range(rows))


@settings(max_examples=60, deadline=None)
@given(table=tables(), seed=st.integers(0, 2**32), standardize=st.booleans())
def test_the_encoding_is_the_same_in_training_and_in_prediction_and_loses_nothing(
    table: pa.Table, seed: int, standardize: bool
):
    small = pa.table({name: _tamed(column) for name, column in zip(table.column_names, table.columns, strict=True)})
    content = table_content(small.append_column("y", pa.array(np.arange(len(small), dtype=np.float64))))
    with dataset_of(content) as dataset:
        features = [name for name, kind in dataset.kinds.items() if kind is not Kind.IGNORE and name != "y"]
        if not features:
            return
        part = Part(dataset, dataset.split("train"))
        encoding = Encoding.fit(part, features, TargetEncoding.fit(dataset, "y", "linear"), standardize)
        rows = [{name: row[name] for name in features} for row in dataset.read()]
        raw = encode_records(encoding, rows)

        weights = np.random.default_rng(seed).normal(size=(len(encoding.names), 2))
        folded, bias = encoding.fold(weights, np.ones(2))
        assert raw @ folded + bias == pytest.approx(encoding.matrix(part).X @ weights + 1, abs=1e-3, rel=1e-4)
        assert _decoded(encoding, raw, rows) == rows


def _tamed(column: pa.ChunkedArray) -> pa.Array:
    """Numbers of ordinary size, since the training matrix is float32."""
    values = column.to_pylist()
    if column.type in (pa.int64(), pa.float64()):
        return pa.array([None if value is None else float(value % 1000) for value in values], pa.float64())
    return pa.array(values, column.type)


def _decoded(encoding: Encoding, raw: np.ndarray, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that the raw design matrix stands for. Imputed numbers are as missing as they were."""
    decoded: list[dict[str, Any]] = [{} for _ in rows]
    start = 0
    for feature in encoding.features:
        block = raw[:, start : start + len(feature.names)]
        start += len(feature.names)
        for row, values in enumerate(block):
            if isinstance(feature, CategoricalFeature):
                assert values.sum() == 1
                decoded[row][feature.name] = (*feature.levels, None)[int(values.argmax())]
            elif isinstance(feature, NumericFeature):
                missing = rows[row][feature.name] is None
                assert not missing or values[0] == feature.mean
                decoded[row][feature.name] = None if missing else values[0]
    return decoded
