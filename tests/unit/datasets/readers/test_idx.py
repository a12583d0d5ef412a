import gzip
from pathlib import Path

import numpy as np
import pytest

from app.errors import InvalidData, InvalidRequest
from tests.unit.datasets.conftest import Build, idx, images

PIXELS = np.arange(4 * 6).reshape(4, 3, 2)
GOOD = {"images": idx(PIXELS), "labels": idx(np.array([0, 1, 2, 1]))}


def test_images_and_labels_become_an_array_and_a_category(build: Build):
    dataset = build(GOOD, "idx")

    assert dataset.read(limit=1) == [{"image": PIXELS[0].tolist(), "label": "0"}]
    assert np.array_equal(dataset.array("image"), PIXELS)
    assert dataset.array("image").dtype == np.uint8
    assert (dataset.description.target, dataset.description.class_names) == ("label", ["0", "1", "2"])
    assert dataset.description.splits == {"train": 4, "test": 0}


def test_the_test_pair_follows_the_training_pair(build: Build):
    test = {f"test_{part}": body for part, body in images(3, seed=1).items()}

    dataset = build({**images(9), **test}, "idx")

    assert dataset.description.splits == {"train": 9, "test": 3}
    assert [row["label"] for row in dataset.read("test")] == ["0", "1", "2"]


def test_class_names_take_the_place_of_the_numbers(build: Build):
    dataset = build(GOOD, "idx", class_names=("shirt", "coat", "bag"))

    assert dataset.column("label").to_pylist() == ["shirt", "coat", "bag", "coat"]
    assert dataset.description.columns[1]["categories"][0] == {"value": "coat", "count": 2}


def test_gzip_and_plain_files_are_the_same_dataset(build: Build):
    packed = {part: gzip.compress(body) for part, body in GOOD.items()}

    assert build(packed, "idx").description.sha256 == build(GOOD, "idx").description.sha256


BAD = {
    "no magic number": ({"images": b"\x89PNG" + GOOD["images"]}, "images", "not an IDX file"),
    "an empty file": ({"labels": b""}, "labels", "not an IDX file"),
    "another type": ({"images": idx(PIXELS, kind=13)}, "images", "0x0d"),
    "a truncated file": ({"images": GOOD["images"][:-1]}, "images", "24 bytes of values, but 23"),
    "a byte too many": ({"labels": GOOD["labels"] + b"\0"}, "labels", "4 bytes of values, but 5"),
    "a truncated header": ({"images": GOOD["images"][:9]}, "images", "damaged"),
    "no dimension": ({"labels": b"\0\0\x08\0"}, "labels", "damaged"),
    "no images": ({"images": idx(PIXELS[:0])}, "images", "no values"),
    "fewer labels than images": ({"labels": idx(np.array([0, 1, 2]))}, "labels", "3 labels for 4 images"),
    "labels as images": ({"images": GOOD["labels"]}, "images", "look like labels"),
    "images as labels": ({"labels": GOOD["images"]}, "labels", "one dimension"),
    "a truncated gzip": ({"images": gzip.compress(GOOD["images"])[:-3]}, "images", "truncated"),
    "a test pair of another shape": (
        {"test_images": idx(PIXELS.reshape(4, 6, 1)), "test_labels": GOOD["labels"]}, "test_images", "shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_its_part_is_named(build: Build, case: str):
    changes, location, message = BAD[case]

    with pytest.raises(InvalidData) as caught:
        build(GOOD | changes, "idx")

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


def test_a_label_beyond_the_class_names_names_its_row(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(GOOD, "idx", class_names=("shirt", "coat"))

    assert caught.value.faults[0].location == "labels, row 3"


@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_half_pair_is_refused(build: Build, missing: str):
    with pytest.raises(InvalidRequest) as caught:
        build({part: body for part, body in GOOD.items() if part != missing}, "idx")

    assert caught.value.faults[0].location == missing


def test_fashion_mnist_is_read_as_it_is(build: Build, real_data: Path):
    folder = real_data / "fashion-mnist"
    parts = {
        "images": "train-images-idx3", "labels": "train-labels-idx1",
        "test_images": "t10k-images-idx3", "test_labels": "t10k-labels-idx1",
    }  # fmt: skip
    dataset = build({part: (folder / f"{name}-ubyte.gz").read_bytes() for part, name in parts.items()}, "idx")

    image, label = dataset.description.columns
    assert dataset.description.splits == {"train": 60_000, "test": 10_000}
    assert dataset.array("image")[:60_000].mean() / 255 == pytest.approx(0.28604, abs=1e-5)
    assert image["mean"] == pytest.approx(dataset.array("image").mean(), rel=1e-12)
    assert image["std"] == pytest.approx(dataset.array("image").std(), rel=1e-9)
    assert {category["count"] for category in label["categories"]} == {7000}
