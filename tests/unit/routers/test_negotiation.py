import pytest

from app.errors import NotAcceptable
from app.routers.negotiation import negotiated

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
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str | None, chosen: str):
    assert negotiated(accept, OFFERS) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/gif, text/*", "image/png;q=0", "image/png;q=high"])
def test_what_is_not_offered_is_not_acceptable(accept: str):
    with pytest.raises(NotAcceptable, match="image/svg"):
        negotiated(accept, OFFERS)
