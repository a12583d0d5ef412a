"""Tables of very many columns: refused before their values are read, or read within bounded memory."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.bounds import Bounds
from app.datasets.readers import FORMATS
from app.datasets.readers import csv as csv_reader
from app.datasets.readers.upload import Upload
from app.errors import TooLarge
from tests.unit.datasets.conftest import Build

WIDTH = 20
_READERS = {form.name: form.reader for form in FORMATS}


def csv(quote: str) -> bytes:
    header, row = (",".join(f"{quote}{name}{i}{quote}" for i in range(WIDTH)) for name in ("c", ""))
    return f"{header}\n{row}\n".encode()


def ndjson() -> bytes:
    return b"".join(b'{"c%d": 1}\n' % i for i in range(WIDTH))


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({f"c{i}": [1.0] for i in range(WIDTH)}), file)
    return file.getvalue()


def arrow(opened: Callable[..., pa.ipc.RecordBatchStreamWriter]) -> bytes:
    file, table = io.BytesIO(), pa.table({f"c{i}": [1.0] for i in range(WIDTH)})
    with opened(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, X=np.zeros((3, WIDTH - 1)), y=np.zeros(3))
    return file.getvalue()


SOURCES = {
    "csv": ("csv", csv("")),
    "csv with quotes": ("csv", csv('"')),
    "ndjson": ("ndjson", ndjson()),
    "parquet": ("parquet", parquet()),
    "an arrow stream": ("arrow", arrow(pa.ipc.new_stream)),
    "an arrow file": ("arrow", arrow(pa.ipc.new_file)),
    "npz": ("npz", npz()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_too_many_columns_are_refused_by_whoever_knows_of_them_first(tmp_path: Path, source: str) -> None:
    form, content = SOURCES[source]
    (tmp_path / "file").write_bytes(content)

    def first(columns: int) -> pa.RecordBatch:
        upload = Upload({"file": tmp_path / "file"}, 1 << 20, bounds=Bounds(columns=columns))
        return next(iter(_READERS[form](upload).batches()))

    assert first(WIDTH).num_columns == WIDTH
    with pytest.raises(TooLarge, match=f"{WIDTH - 1} columns; this one has {WIDTH}"):
        first(WIDTH - 1)


@pytest.mark.parametrize("quote", ["", '"'])
def test_columns_that_are_converted_some_at_a_time_are_all_there_with_a_type_each(
    build: Build, monkeypatch: pytest.MonkeyPatch, quote: str
) -> None:
    monkeypatch.setattr(csv_reader, "COLUMNS_AT_ONCE", 5)
    width = 13
    values = [("1", "2.5", f"{quote}red{quote}")[i % 3] for i in range(width)]
    rows = [",".join(f"c{i}" for i in range(width)), ",".join(values), ",".join(values)]

    columns = build("\n".join([*rows, ""]).encode()).description.columns

    assert [column["name"] for column in columns] == [f"c{i}" for i in range(width)]
    assert [column["kind"] for column in columns] == [
        ("numeric", "numeric", "categorical")[i % 3] for i in range(width)
    ]


MEMORY = """
import resource, sys
from pathlib import Path
from app.datasets.ingest import Choices, ingest
from app.datasets.readers import csv
from app.datasets.readers.upload import Upload
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
ingest(csv.read(Upload({"file": folder / "wide.csv"}, 1 << 30)), folder, Choices())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux")
def test_a_column_costs_some_kilobytes_while_it_is_read_and_written(tmp_path: Path) -> None:
    width = 10_000
    rows = [",".join(f"c{i}" for i in range(width)), ",".join(["1.5"] * width)]
    (tmp_path / "wide.csv").write_text("\n".join([*rows, ""]))

    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert int(ran.stdout) < 160  # MiB; of each column, 16 KiB
