import pytest

from app.datasets import table_writer
from app.datasets.dataset import Dataset, Description
from tests.unit.datasets.conftest import Build, images


@pytest.mark.parametrize(("offset", "limit"), [(0, 3), (5, 10), (97, 10), (200, 5), (0, None), (40, 0)])
def test_rows_are_read_from_the_row_groups_that_hold_them(
    build: Build, monkeypatch: pytest.MonkeyPatch, offset: int, limit: int | None
):
    monkeypatch.setattr(table_writer, "_GROUP_BYTES", 1)
    body = b"a,b\n" + b"".join(b"%d,t%d\n" % (i, i) for i in range(100))
    monkeypatch.setattr("app.datasets.readers.csv.BLOCK_BYTES", 128)
    dataset = build(body)

    expected = [{"a": i, "b": f"t{i}"} for i in range(100)]
    assert dataset.read("all", offset, limit) == expected[offset:][:limit]


def test_rows_of_a_split_count_from_its_own_beginning(build: Build):
    dataset = build({**images(9), **{f"test_{part}": body for part, body in images(6, 1).items()}}, "idx")

    assert [row["label"] for row in dataset.read("test", 1, 3)] == ["1", "2", "0"]
    assert dataset.read("test", 1, 1)[0]["image"] == dataset.array("image")[10].tolist()
    assert dataset.read("train", 8, 5) == dataset.read("all", 8, 1)


def test_a_dataset_is_opened_from_its_folder_alone(build: Build):
    made = build(images(3), "idx")

    again = Dataset.open(made.folder)

    assert again.description == made.description
    assert Description.read(made.folder) == made.description
    assert again.shape("image") == (3, 2)
