import gzip
import zlib

import pytest

from app.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from app.routers.unpacking import unpacked


@pytest.mark.parametrize("encoding", ["gzip", " GZIP ", "x-gzip"])
def test_gzip_is_known_by_all_its_names(encoding: str) -> None:
    assert unpacked(gzip.compress(b"abc"), encoding, 100) == b"abc"


@pytest.mark.parametrize("encoding", [None, "identity", "Identity"])
def test_what_is_not_compressed_is_itself(encoding: str | None) -> None:
    assert unpacked(b"abc", encoding, 1) == b"abc"


def test_what_cannot_be_unpacked_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        unpacked(b"abc", "br", 100)
    with pytest.raises(InvalidRequest, match="is not gzip"):
        unpacked(b"abc", "gzip", 100)
    with pytest.raises(InvalidRequest, match="cut short"):
        unpacked(zlib.compress(b"abc" * 100)[:-3], "deflate", 1000)
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(bytes(1000)), "gzip", 100)
