"""What handlers ask for."""

import pytest

from app.errors import InvalidRequest
from app.routers.dependencies import wait_of


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([], 0),
        (["wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (["wait=5", "respond-async"], 5),
        (["respond-async, wait=5"], 5),
        (["WAIT=5"], 5),
        (['Wait = "5"; x=1 , foo'], 5),
        (["wait=5", "wait=7"], 5),  # RFC 7240: of several only the first counts
        (["respond-async"], 0),
        (["await=5, x-wait=5"], 0),
        (["foo; wait=5"], 0),
        (["wait=soon"], 0),
        (["wait"], 0),
        (["wait=²"], 0),
        (["wait=60"], 60),
    ],
)
def test_the_wait_that_is_preferred_is_found_wherever_and_however_it_is_written(lines: list[str], seconds: float):
    assert wait_of(lines) == seconds


@pytest.mark.parametrize("value", ["61", "9" * 5000])
def test_a_wait_beyond_the_longest_is_refused(value: str):
    with pytest.raises(InvalidRequest, match="at most 60 seconds"):
        wait_of([f"wait={value}"])
