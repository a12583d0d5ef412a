from datetime import date

import numpy as np
import pytest

from app.datasets import splitting
from app.datasets import target_encoding as module
from app.datasets.splitting import Part
from app.datasets.target_encoding import TargetEncoding, natural_order
from app.errors import InvalidSpec
from tests.unit.datasets.conftest import Build, images


def everything(dataset) -> Part:
    return Part(dataset, dataset.split("all"))


def test_a_list_of_columns_is_a_target_of_several_outputs(build: Build):
    dataset = build({"a": [1, 2], "b": [1.5, 2.5], "c": [True, False]})
    target = TargetEncoding.fit(dataset, ["b", "c"], "linear")

    y = target.encode(everything(dataset))

    assert (target.outputs, y.dtype) == (2, np.float32)
    assert y.tolist() == [[1.5, 1.0], [2.5, 0.0]]


@pytest.mark.parametrize(
    ("values", "classes", "y"),
    [
        (["class 10", "class 2", "class 10"], ("class 2", "class 10"), [1, 0, 1]),
        ([10, 2, -1], ("-1", "2", "10"), [2, 1, 0]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        ([True, False, True], ("false", "true"), [1, 0, 1]),
    ],
)
def test_classes_are_texts_in_natural_order(build: Build, values: list, classes: tuple, y: list):
    dataset = build({"a": [1, 2, 3], "y": values})
    target = TargetEncoding.fit(dataset, "y", "softmax")

    encoded = target.encode(everything(dataset))

    assert (target.classes, encoded.tolist(), encoded.dtype) == (classes, y, np.int32)
    assert TargetEncoding.from_json(target.to_json()) == target


def test_class_names_of_an_image_set_keep_their_order_and_all_have_an_output(build: Build):
    dataset = build(images(6), "idx", class_names=("shirt", "coat", "bag", "boot"))

    target = TargetEncoding.fit(dataset, None, "softmax")

    assert target.classes == ("shirt", "coat", "bag", "boot")
    assert target.encode(everything(dataset)).tolist() == [0, 1, 2, 0, 1, 2]


def test_the_centre_of_a_long_table_is_that_of_evenly_spaced_rows(build: Build, monkeypatch: pytest.MonkeyPatch):
    rows = [1000.0 if row % 10 else row / 100 for row in range(1000)]
    dataset = build({"y": rows})
    monkeypatch.setattr(splitting, "BLOCK_ROWS", 7)
    monkeypatch.setattr(module, "MEDIAN_ROWS", 100)  # every tenth row, which is that of small numbers

    target = TargetEncoding(("y",), None).centred(everything(dataset), always=True)

    assert target.centre == pytest.approx((5.0,), abs=2.0)


def test_rows_without_a_target_are_dropped_and_counted(build: Build):
    dataset = build({"a": [1, 2, 3, 4], "y": [1.0, None, None, 4.0]})
    target = TargetEncoding.fit(dataset, "y", "linear")

    part = target.labelled(everything(dataset), "training")

    assert part.rows.tolist() == [0, 3]
    assert target.encode(part).tolist() == [[1.0], [4.0]]
    assert target.labelled(Part(dataset, np.array([0, 3])), "training") == Part(dataset, pytest.approx([0, 3]))

    with pytest.raises(InvalidSpec, match="in every validation row"):
        target.labelled(Part(dataset, slice(1, 3)), "validation")


BAD = {
    "a target that does not exist": ("z", "linear", "no column 'z'"),
    "no target": (None, "linear", "names no target"),
    "linear on text": ("text", "linear", "needs numbers"),
    "softmax on many distinct values": ("many", "softmax", "5000 distinct values"),
    "softmax on fractions": ("fraction", "softmax", "fractions"),
    "softmax on one class": ("same", "softmax", "two or more"),
    "softmax on two columns": (["same", "text"], "softmax", "one target"),
    "a column twice": (["same", "same"], "linear", "twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_target_that_the_model_cannot_have_is_refused(build: Build, case: str):
    target, model, message = BAD[case]
    numbers = np.arange(5000)
    dataset = build(
        {
            "many": numbers,
            "fraction": (numbers % 7) / 2,
            "text": (numbers % 3).astype(str),
            "same": numbers * 0,
        }
    )

    with pytest.raises(InvalidSpec, match=message) as caught:
        TargetEncoding.fit(dataset, target, model)

    assert caught.value.faults[0].location == "target"


def test_an_image_cannot_be_a_target(build: Build):
    with pytest.raises(InvalidSpec, match="arrays"):
        TargetEncoding.fit(build(images(3), "idx"), "image", "softmax")


def test_a_validation_dataset_with_an_unknown_class_is_refused(build: Build):
    target = TargetEncoding.fit(build({"a": [1, 2], "y": ["p", "q"]}), "y", "softmax")
    other = build({"a": [1, 2], "y": ["p", "r"]})

    with pytest.raises(InvalidSpec, match="class 'r'"):
        target.encode(everything(other))


def test_numbers_in_names_count_as_numbers():
    assert sorted(["a10", "b1", "10", "a2", "2", "x"], key=natural_order) == [
        "2",
        "10",
        "a2",
        "a10",
        "b1",
        "x",
    ]


def test_whole_numbers_beyond_a_float_are_rounded_to_one(build: Build):
    dataset = build({"a": [1, 2], "y": [2**60 + 1, -(2**60) - 1]})

    y = TargetEncoding.fit(dataset, "y", "linear").encode(everything(dataset))

    assert y.tolist() == [[2.0**60], [-(2.0**60)]]


def test_a_fraction_is_a_class_that_the_model_does_not_know(build: Build):
    target = TargetEncoding.fit(build({"a": [1, 2], "y": [10, 20]}), "y", "softmax")
    other = build({"a": [1, 2, 3, 4], "y": [10.0, None, 1e30, 20.5]})

    with pytest.raises(InvalidSpec, match="'1e\\+30', unknown"):
        target.encode(Part(other, slice(2, 4)))
    with pytest.raises(InvalidSpec, match=r"'20\.5', unknown"):
        target.encode(Part(other, slice(3, 4)))


@pytest.mark.parametrize("values", [["p", "q"], [date(2020, 1, 1), date(2020, 1, 2)]])
def test_a_target_of_another_dataset_must_hold_numbers_too(build: Build, values: list):
    target = TargetEncoding.fit(build({"a": [1, 2], "y": [1.5, 2]}), "y", "linear")

    with pytest.raises(InvalidSpec, match="where the target is a number"):
        target.encode(everything(build({"a": [1, 2], "y": values})))


def test_why_a_column_is_no_target_is_told(build: Build):
    dataset = build(b"a,when,no,c\n1,2020-01-01,,x\n2,2020-01-02,,y\n")
    ignored = build(b"a,b\n1,2\n", columns={"b": "ignore"})

    for given, message in (([], "the list is empty"), ("when", "holds date-times"), ("no", "no value"), ("c", "categ")):
        with pytest.raises(InvalidSpec, match=message):
            TargetEncoding.fit(dataset, given, "linear")
    with pytest.raises(InvalidSpec, match="is declared ignore"):
        TargetEncoding.fit(ignored, "b", "linear")


def test_zero_is_one_class_whatever_its_sign(build: Build):
    found = TargetEncoding.fit(build({"x": [1.0] * 4, "y": [0.0, -0.0, 1.0, 1.0]}), "y", "softmax")
    assert found.classes == ("0", "1")
    with pytest.raises(InvalidSpec, match="1 classes"):
        TargetEncoding.fit(build({"x": [1.0] * 2, "y": [0.0, -0.0]}), "y", "softmax")


def test_numbers_of_any_length_have_an_order():
    long = "9" * 5000
    assert sorted([long, "a" + long, "10", "9"], key=natural_order)[:2] == ["9", "10"]
