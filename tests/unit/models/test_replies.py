"""Which media type is answered in."""

import pytest

from app.errors import NotAcceptable
from app.models.bodies import ARROW, CSV, NPY
from app.models.replies import JSON, chosen


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON), ("", JSON), ("*/*", JSON), ("text/csv", CSV), (f"{ARROW}, */*;q=0.1", ARROW), (NPY, NPY),
        ("text/*", CSV), ("application/*", JSON), ("text/html, text/csv;q=0.5", CSV),
        ("text/csv;q=0.2, application/json", JSON),
    ],
)  # fmt: skip
def test_the_type_that_the_client_likes_best_is_chosen(accept: str | None, expected: str) -> None:
    assert chosen(accept) == expected


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "nonsense"])
def test_a_type_that_there_is_not_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        chosen(accept)
