"""Bytes that are nearly CSV: each is a dataset or is refused with what is wrong, and nothing else happens."""

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.datasets.ingest import Choices, ingest
from app.datasets.kinds import Kind
from app.datasets.readers import csv
from app.datasets.readers.csv_dialect import CsvOptions
from app.datasets.readers.upload import Upload
from app.errors import InvalidData, InvalidRequest

VALUES = [
    *("1", "2.5", "-3", "1e5", "0x1", "1,5", "9" * 30, "1e-320", "inf", "nan", "NA", "NULL", "true", "12:30"),
    *("2024-01-01", "2024-13-45", "2024-01-01 25:00", "0001-01-01", "", "x", "é", "😀", " 1 ", "#", "1_0"),
    *('"', "'", '""', '"NA"', '"a,b"', '"a""b"', '"1\n2"', '"x', "\\", "\0", "\t", "\r", "\x1a", "\u2028", "\x85"),
]
NAMES = ["a", "b", "", '"q"', " x", "1", "2", "a.b", "é", "#c", "sep=;"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "gb18030"]
DECLARED = [None, None, "utf-8", "utf-16", "utf-16-le", "utf-32", "latin-1", "shift_jis", "ascii"]


@st.composite
def nearly_csv(draw: st.DrawFn) -> bytes:
    delimiter, end = draw(st.sampled_from(",;\t| ^")), draw(st.sampled_from(["\n", "\r\n", "\r", "\n\r"]))
    width = draw(st.integers(1, 3))
    rows = [draw(st.lists(st.sampled_from(NAMES), min_size=width, max_size=width))]
    for _ in range(draw(st.integers(0, 4))):
        longer = width + draw(st.sampled_from([0] * 9 + [1]))
        rows.append(draw(st.lists(st.sampled_from(VALUES), min_size=longer, max_size=longer)))
    text = end * draw(st.integers(0, 1)) + end.join(delimiter.join(row) for row in rows) + end * draw(st.integers(0, 2))
    body = bytearray(text.encode(draw(st.sampled_from(ENCODINGS)), "replace"))
    for place in draw(st.lists(st.integers(0, max(0, len(body) - 1)), max_size=2)) if body else []:
        body[place] = draw(st.sampled_from(b'\0\xff\x80\n\r",'))
    return bytes(body)


OPTIONS = st.builds(
    CsvOptions,
    delimiter=st.sampled_from([None, None, ",", ";", "tab", "space"]),
    quote=st.sampled_from([None, None, '"', "'", "none"]),
    encoding=st.sampled_from(DECLARED),
    header=st.sampled_from([None, None, True, False]),
    decimal=st.sampled_from([None, ","]),
)


@settings(max_examples=300, deadline=None)
@given(
    nearly_csv(), OPTIONS, st.dictionaries(st.sampled_from(["a", "b", "x1"]), st.sampled_from(list(Kind)), max_size=1)
)
@example("a,b\n1,2\n".encode("utf-16-le"), CsvOptions(), {})
@example(b"a,b\n1,\0\n2\n", CsvOptions(), {})
@example(b"a\0,b\n1,2\n", CsvOptions(), {})
@example(b"a,b\n1,2\n", CsvOptions(encoding="utf-16"), {})
@example(b"\n\na\n1\n", CsvOptions(), {})
@example(b"a,b\n1,\xe9\n2\n", CsvOptions(), {})
def test_a_file_is_a_dataset_or_is_refused(body: bytes, options: CsvOptions, kinds: dict[str, Kind]) -> None:
    kinds = {name: kind for name, kind in kinds.items() if kind is not Kind.ARRAY}
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder) / "file", Path(folder) / "made"
        path.write_bytes(body)
        made.mkdir()
        with suppress(InvalidData, InvalidRequest):
            content = csv.read(Upload({"file": path}, 1 << 20, kinds, csv=options))
            assert ingest(content, made, Choices(None, kinds)).rows
