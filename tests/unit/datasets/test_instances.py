import numpy as np
import pytest

from app.datasets.encoding import Encoding
from app.datasets.instances import encode_instances, encode_records
from app.datasets.splitting import Part
from app.datasets.target_encoding import TargetEncoding
from app.errors import InvalidInstances
from tests.unit.datasets.conftest import Build, images


def fitted(dataset, target: str = "y", model: str = "linear") -> Encoding:
    part = Part(dataset, dataset.split("train"))
    return Encoding.fit(part, None, TargetEncoding.fit(dataset, target, model), standardize=False)


@pytest.fixture
def numeric(build: Build) -> Encoding:
    return fitted(build({"a": [1.0, 3.0], "b": [10, 20], "y": [1, 2]}))


@pytest.fixture
def mixed(build: Build) -> Encoding:
    return fitted(build({"a": [1.0, 3.0], "town": ["p", "q"], "new": [True, False], "y": [1, 2]}))


@pytest.fixture
def image(build: Build) -> Encoding:
    return fitted(build(images(6), "idx"), "label", "softmax")


def test_numeric_rows_are_taken_as_they_are(numeric: Encoding):
    for rows in ([[1, 2.5], [3, 4]], np.array([[1, 2.5], [3, 4]], np.float32)):
        assert encode_instances(numeric, rows).tolist() == [[1.0, 2.5], [3.0, 4.0]]


def test_null_is_imputed_by_the_training_mean(numeric: Encoding):
    rows, strange = numeric.imputed(encode_instances(numeric, [[None, 2], [5, None], [5, 2]]))

    assert rows.tolist() == [[2.0, 2.0], [5.0, 15.0], [5.0, 2.0]]
    assert strange.tolist() == [True, True, False]


def test_records_and_instances_of_a_mixed_model_agree(mixed: Encoding):
    expected = [[1.0, 1, 0, 0, 1.0], [2.0, 0, 0, 1, 0.5], [0.0, 0, 0, 1, 0.0]]
    records = [{"new": True, "town": "p", "a": 1}, {"town": None}, {"a": 0, "town": "elsewhere", "new": 0}]

    rows = encode_instances(mixed, [[1, "p", True], [None, None, None], [0, "elsewhere", 0]])
    np.testing.assert_array_equal(encode_records(mixed, records), rows)
    assert mixed.imputed(rows)[0].tolist() == expected


def test_images_come_flat_or_in_their_shape(image: Encoding):
    pixels = np.arange(12).reshape(2, 3, 2)

    for rows in (pixels.tolist(), pixels.reshape(2, 6).tolist(), pixels.astype(np.uint8)):
        assert encode_instances(image, rows).tolist() == pixels.reshape(2, 6).tolist()
    records = [{"image": pixels[0].tolist()}, {"image": pixels[1].ravel().tolist()}]
    assert encode_records(image, records).tolist() == pixels.reshape(2, 6).tolist()


BAD_NUMERIC = {
    "NaN": ([[1, 2], [float("nan"), 2]], "row 2, column a", "not a finite"),
    "an infinity": ([[1, float("inf")]], "row 1, column b", "not a finite"),
    "an immense integer": ([[1, 10**400]], "row 1, column b", "not a finite"),
    "too wide": ([[1, 2], [1, 2, 3]], "row 2", "3 values; the model takes 2: a, b"),
    "too narrow throughout": ([[1], [2]], "row 1", "1 values"),
    "a number as text": ([[1, "2"]], "row 1, column b", '"2" is not a number'),
    "all texts": ([["1", "2"]], "row 1, column a", '"1" is not a number'),
    "no list": ([[1, 2], 3], "row 2", "a list of values is needed, not a number"),
    "flat": ([1, 2], "row 1", "a list of values"),
    "deeper": ([[[1, 2]]], "row 1", "1 values"),
    "a list as value": ([[1, [2]]], "row 1, column b", "not a number"),
    "only booleans": ([[True, False]], "row 1, column a", "not a number"),
}


@pytest.mark.parametrize("case", BAD_NUMERIC)
def test_bad_rows_are_refused_and_their_place_is_named(numeric: Encoding, case: str):
    rows, location, message = BAD_NUMERIC[case]

    with pytest.raises(InvalidInstances) as caught:
        encode_instances(numeric, rows)

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


BAD_RECORDS = {
    "an unknown column": ({"a": 1, "price": 2}, "row 1, column price", "no such feature"),
    "text for a number": ({"a": "x"}, "row 1, column a", "not a number"),
    "a boolean for a number": ({"a": True}, "row 1, column a", "true is not a number"),
    "an object for a number": ({"a": {"b": None}}, "row 1, column a", '{"b": null} is not a number'),
    "a number for a boolean": ({"new": 2}, "row 1, column new", "not a boolean"),
    "text for a boolean": ({"new": "yes"}, "row 1, column new", "not a boolean"),
    "a list for a category": ({"town": ["p"]}, "row 1, column town", "not a category"),
    "no object": ([1], "row 1", "an object by column name is needed, not a list"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_records_are_refused_and_their_place_is_named(mixed: Encoding, case: str):
    record, location, message = BAD_RECORDS[case]

    with pytest.raises(InvalidInstances) as caught:
        encode_records(mixed, [record])

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


BAD_IMAGES = {
    "a wrong width": ([[0] * 6, [0] * 5], "row 2, column image", "shape is [5]"),
    "a wrong shape": ([[[0, 0, 0], [0, 0, 0]]], "row 1, column image", "shape is [2, 3]"),
    "a null": ([[0, None, 0, 0, 0, 0]], "row 1, column image", "element 2 is null"),
    "a text": ([[0, 0, 0, 0, 0, "9"]], "row 1, column image", 'element 6 is "9"'),
    "NaN": ([[float("nan")] * 6], "row 1, column image", "element 1"),
    "nothing": ([None], "row 1, column image", "null"),
    "a ragged image": ([[[0, 0], [0], [0, 0]]], "row 1, column image", "shape [3, 2]"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_are_refused_and_their_place_is_named(image: Encoding, case: str):
    rows, location, message = BAD_IMAGES[case]

    with pytest.raises(InvalidInstances) as caught:
        encode_instances(image, rows)

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


def test_at_most_ten_faults_are_reported(numeric: Encoding):
    with pytest.raises(InvalidInstances) as caught:
        encode_instances(numeric, [["x", "y"]] * 50)

    assert len(caught.value.faults) == 10


def test_no_rows_make_an_empty_matrix(numeric: Encoding, mixed: Encoding, image: Encoding):
    for encoding, width in ((numeric, 2), (mixed, 5), (image, 6)):
        assert encode_instances(encoding, []).shape == (0, width)
        assert encode_records(encoding, []).shape == (0, width)
