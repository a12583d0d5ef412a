"""What is missing: a spelling of it as it stands; in quotes it is a text, unless its column holds no texts."""

from pathlib import Path

import pytest

from app.datasets.export import csv_of
from app.datasets.kinds import MISSING
from app.datasets.readers import csv
from app.datasets.readers.csv_dialect import CsvOptions
from tests.unit.datasets.conftest import Build


def test_a_text_in_quotes_is_no_missing_value_whatever_it_says(build: Build):
    dataset = build(b'c,n\n"NA",1\nNA,2\n"",3\n,4\nx,5\n')

    assert dataset.column("c").to_pylist() == ["NA", None, "", None, "x"]


def test_in_columns_of_other_kinds_it_stays_one(build: Build):
    dataset = build(
        b'"n","f","b","d"\n"1","1.5","true","2020-01-02"\n"","","",""\n"NA","NA","NA","NA"\n"3","2","false","2021-01-02"\n'
    )

    kinds = [kind.value for kind in dataset.kinds.values()]
    assert kinds == ["numeric", "numeric", "boolean", "ignore"]
    assert [column["missing"] for column in dataset.description.columns] == [2, 2, 2, 2]
    assert dataset.column("n").to_pylist() == [1, None, None, 3]
    assert dataset.column("b").to_pylist() == [True, None, None, False]


def test_the_kind_is_that_of_all_values_also_where_the_first_block_has_quotes_alone(
    build: Build, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(b"a,b\n" + b'"","NA"\n' * 200 + b'"1","x"\n' + b'"","NA"\n')

    assert dataset.column("a").to_pylist() == [None] * 200 + [1, None]
    assert dataset.column("b").to_pylist() == ["NA"] * 200 + ["x", "NA"]


def test_declared_numbers_and_booleans_may_be_missing_in_quotes(build: Build):
    dataset = build(b'a,b,c\n"1","yes","NA"\n"","",""\n', columns={"a": "numeric", "b": "boolean", "c": "categorical"})

    assert dataset.read() == [{"a": 1, "b": True, "c": "NA"}, {"a": None, "b": None, "c": ""}]


def test_nothing_but_such_texts_is_a_column_of_texts(build: Build):
    assert build(b'a,b\n"NA",1\n"NA",2\n').read() == [{"a": "NA", "b": 1}, {"a": "NA", "b": 2}]


def test_a_download_is_the_same_dataset_when_it_is_uploaded(build: Build):
    texts = ["NA", "", None, "null", "None", "x", '"', "a,b", "nan", " "]
    for columns in ({"c": texts, "n": [1, None] * 5}, {"c": texts}, {"c": ["NA", None]}):
        dataset = build(columns)

        again = build(b"".join(csv_of(dataset, dataset.split("all"))))

        assert again.read() == dataset.read()
        assert again.description.sha256 == dataset.description.sha256


def test_numbers_may_have_a_decimal_comma(build: Build):
    options = CsvOptions(decimal=",")
    dataset = build(b"a;b;c\n1,5;x;7\n-2,25;;8\n;y;9\n", csv=options)

    assert dataset.read() == [
        {"a": 1.5, "b": "x", "c": 7}, {"a": -2.25, "b": None, "c": 8}, {"a": None, "b": "y", "c": 9},
    ]  # fmt: skip
    assert dataset.description.format["decimal"] == ","


def test_decimal_commas_are_found_late_and_in_quotes_too(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)
    options = CsvOptions(decimal=",")

    plain = build(b"a;b\n" + b"1;2\n" * 200 + b"1,5;3\n", csv=options)
    quoted = build(b"a,b\n" + b'"1",2\n' * 200 + b'"1,5",3\n"",4\n', csv=options)

    assert plain.column("a").to_pylist()[-2:] == [1, 1.5]
    assert quoted.column("a").to_pylist()[-3:] == [1, 1.5, None]


def test_a_point_is_no_number_where_the_comma_is_the_decimal_mark(build: Build):
    dataset = build(b"a;b\n1,5;1\n1.5;2\n", csv=CsvOptions(decimal=","))

    assert dataset.column("a").to_pylist() == ["1,5", "1.5"]


def test_one_column_of_decimal_commas_is_one_column(build: Build):
    assert build(b"a\n1,5\n2,5\n", csv=CsvOptions(decimal=",")).column("a").to_pylist() == [1.5, 2.5]


def test_the_readme_lists_what_is_missing():
    readme = (Path(__file__).resolve().parents[4] / "README.md").read_text()

    assert [mark for mark in MISSING if mark and f"`{mark}`" not in readme] == []


def test_rows_stay_together_over_many_blocks_though_texts_are_read_apart(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 512)
    lines = [f'{row},"{"NA" if row % 3 else "x" * (row % 50)}",{row}.5,"a\n{row}"' for row in range(1000)]

    rows = build("\n".join(["n,t,f,u", *lines]).encode()).read()

    assert [row["n"] for row in rows] == list(range(1000))
    assert all(row["f"] == row["n"] + 0.5 and row["u"] == f"a\n{row['n']}" for row in rows)
    assert all(row["t"] == ("NA" if row["n"] % 3 else "x" * (row["n"] % 50)) for row in rows)
