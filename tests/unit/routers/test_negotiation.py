"""Which of the representations that there are a client gets."""

import pytest
from fastapi import Request

from app.errors import NotAcceptable
from app.models.replies import WRITERS
from app.routers.negotiation import negotiated, preferred

OFFERS = ("image/svg+xml", "image/png")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "image/svg+xml"),
        ("", "image/svg+xml"),
        ("*/*", "image/svg+xml"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("text/html, image/*;q=0.5", "image/svg+xml"),
        ("image/svg+xml;q=0.4, image/png;q=0.8", "image/png"),
        ("image/svg+xml;q=0, */*", "image/png"),
        ("image/*, image/svg+xml;q=0.1", "image/png"),
        ("image/svg+xml;q=nan, image/png;q=0.1", "image/png"),
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str | None, chosen: str):
    assert negotiated(accept, OFFERS) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/gif, text/*", "image/png;q=0", "image/png;q=high"])
def test_what_is_not_offered_is_not_acceptable(accept: str):
    with pytest.raises(NotAcceptable, match="image/svg"):
        negotiated(accept, OFFERS)


JSON, CSV, ARROW, NPY = WRITERS


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON), ("", JSON), ("*/*", JSON), ("text/csv", CSV), (f"{ARROW}, */*;q=0.1", ARROW), (NPY, NPY),
        ("text/*", CSV), ("application/*", JSON), ("text/html, text/csv;q=0.5", CSV),
        ("text/csv;q=0.2, application/json", JSON), ("*/*, application/json;q=0", CSV),
    ],
)  # fmt: skip
def test_predictions_come_as_the_client_likes_best(accept: str | None, expected: str):
    assert negotiated(accept, tuple(WRITERS)) == expected


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "nonsense"])
def test_predictions_that_there_are_not_are_not_acceptable(accept: str):
    with pytest.raises(NotAcceptable):
        negotiated(accept, tuple(WRITERS))


def test_several_lines_are_one_list():
    lines = [(b"accept", b"image/svg+xml;q=0"), (b"host", b"a"), (b"accept", b"image/*")]

    assert preferred(Request({"type": "http", "headers": lines}), OFFERS) == "image/png"
    assert preferred(Request({"type": "http", "headers": []}), OFFERS) == "image/svg+xml"
