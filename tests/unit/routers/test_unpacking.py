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
    with pytest.raises(TooLarge, match="may have 1 MiB once it is unpacked"):
        unpacked(gzip.compress(bytes(2**20 + 1)), "gzip", 2**20)


def test_gzip_may_have_several_members_and_padding_and_one_limit_for_all() -> None:
    first, second = gzip.compress(b"abc" * 10_000), gzip.compress(b"def")

    assert unpacked(first + second + bytes(600), "gzip", 30_003) == b"abc" * 10_000 + b"def"
    assert unpacked(first + bytes(20_000) + second, "gzip", 30_003) == b"abc" * 10_000 + b"def"
    assert unpacked(gzip.compress(b"") * 2 + second, "gzip", 3) == b"def"
    with pytest.raises(TooLarge):
        unpacked(first + second, "gzip", 30_002)
    with pytest.raises(InvalidRequest, match="cut short"):
        unpacked(first + second[:-1], "gzip", 30_003)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_follows_the_compressed_body_is_not_passed_over(encoding: str) -> None:
    body = gzip.compress(b"abc") if encoding == "gzip" else zlib.compress(b"abc")

    with pytest.raises(InvalidRequest):
        unpacked(body + b"more", encoding, 100)
