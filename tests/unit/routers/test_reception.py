"""Reception: bodies of uploads on their way to disk."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from app.errors import BadRequest, InvalidRequest, StorageFull, TooLarge
from app.routers import reception
from app.routers.reception import FIELD_LIMIT_BYTES, PARTS_LIMIT, Received, receive_body, receive_multipart
from app.storage import Storage

BOUNDARY = b"b0undary"

CONTENT = b"\r\n--b0und\r\n--b0undar\r\n\r\n--\r\n-" + bytes(range(0, 256, 8)) + b"\r"
"""A file that all but contains the boundary."""


def part(name: str, content: bytes, *headers: str, file_name: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if file_name is not None:
        disposition += f'; filename="{file_name}"'
    lines = [f"--{BOUNDARY.decode()}", disposition, *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"

BODY = (
    part("name", "größe".encode())
    + part("file", CONTENT, "Content-Type: text/csv; charset=utf-8", file_name="häuser.csv")
    + part("labels", b"", "content-type: application/gzip", file_name="")
    + part("target", b"")
    + END
)


def request(chunks: Iterable[bytes], content_type: str | None = None, ends: bool = True) -> Request:
    """A request whose body arrives in these chunks, from a client that stays or goes."""
    media_type = content_type if content_type is not None else f"multipart/form-data; boundary={BOUNDARY.decode()}"
    messages = iter([{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks])
    last = {"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"}

    async def receive() -> Any:
        return next(messages, last)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", media_type.encode("latin-1"))]}
    return Request(scope, receive)


def received(folder: Path, *chunks: bytes, **options: Any) -> Received:
    return asyncio.run(receive_multipart(request(chunks, **options), folder))


def read(found: Received) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in found.files.items()}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand every chunk to the parser as it arrives, not in large blocks."""
    monkeypatch.setattr(reception, "BLOCK_BYTES", 1)


def check(found: Received) -> None:
    assert read(found) == {"file": CONTENT, "labels": b""}
    assert found.fields == {"name": "größe", "target": ""}
    assert found.file_names == {"file": "häuser.csv", "labels": ""}
    assert found.media_types == {"file": "text/csv; charset=utf-8", "labels": "application/gzip"}


# ── what arrives whole ───────────────────────────────────────────────────────────────────────────────────────────


def test_files_go_to_disk_and_fields_are_kept_as_text(tmp_path: Path):
    check(received(tmp_path, BODY))


@pytest.mark.usefixtures("at_once")
def test_a_body_may_be_split_at_any_byte(tmp_path: Path):
    async def split() -> None:
        for position in range(len(BODY) + 1):
            check(await receive_multipart(request([BODY[:position], BODY[position:]]), tmp_path))

    asyncio.run(split())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_body_may_arrive_in_tiny_chunks(tmp_path: Path, size: int):
    check(received(tmp_path, *(BODY[start : start + size] for start in range(0, len(BODY), size))))


def test_a_file_larger_than_a_block_arrives_whole(tmp_path: Path):
    content = CONTENT * 10_000
    body = part("file", content, file_name="x") + END

    found = received(tmp_path, *(body[start : start + 65_536] for start in range(0, len(body), 65_536)))

    assert read(found) == {"file": content}


@pytest.mark.parametrize("body", [BODY[:-2], BODY + b"an epilogue", b"\r\n" + BODY])
def test_what_stands_around_the_parts_is_no_matter(tmp_path: Path, body: bytes):
    check(received(tmp_path, body))


def test_a_quoted_boundary_is_the_boundary(tmp_path: Path):
    check(received(tmp_path, BODY, content_type='Multipart/Form-Data; charset=x; boundary="b0undary"'))


def test_the_name_of_a_file_never_becomes_a_path(tmp_path: Path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    names = ["../../outside", "/outside", "..\\outside", "a/b"]
    parts = [part(f"../{number}", b"x", file_name=name) for number, name in enumerate(names)]

    found = received(folder, *parts, END)

    assert list(found.file_names.values()) == names
    assert {path.parent for path in found.files.values()} == {folder}
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


def test_a_body_without_parts_holds_nothing(tmp_path: Path):
    assert received(tmp_path, END) == Received()


def test_a_raw_body_is_one_file(tmp_path: Path):
    chunks = [CONTENT, b"", CONTENT]

    found = asyncio.run(receive_body(request(chunks, "text/csv; header=present"), tmp_path))

    assert read(found) == {"file": CONTENT * 2}
    assert found.media_types == {"file": "text/csv; header=present"}
    assert found.fields == {}


def test_a_raw_body_may_be_empty(tmp_path: Path):
    assert read(asyncio.run(receive_body(request([]), tmp_path))) == {"file": b""}


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("at_once")
def test_a_body_that_is_cut_off_anywhere_is_refused(tmp_path: Path):
    async def cut() -> None:
        for position in range(len(BODY) - 2):
            with pytest.raises(BadRequest, match=r"closing boundary|broken"):
                await receive_multipart(request([BODY[:position]]), tmp_path)

    asyncio.run(cut())


@pytest.mark.parametrize("preamble", [b"\r\n", b"This is a message in MIME format.\r\n--b0undar\r\n", b"\r\n" * 500])
@pytest.mark.usefixtures("at_once")
def test_what_stands_before_the_first_boundary_is_passed_over(tmp_path: Path, preamble: bytes):
    body = preamble + BODY
    for cut in (1, len(preamble), len(preamble) + 3, len(preamble) + 20):
        (tmp_path / str(cut)).mkdir()
        check(received(tmp_path / str(cut), body[:cut], body[cut:]))


@pytest.mark.parametrize(
    "body", [b"no multipart at all", b"--other\r\n\r\n", b'{"a": 1}', BODY.replace(b": ", b" ", 1)]
)
def test_what_is_no_multipart_is_refused(tmp_path: Path, body: bytes):
    with pytest.raises(BadRequest):
        received(tmp_path, body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "", "text/csv"])
def test_a_body_without_a_boundary_is_refused(tmp_path: Path, content_type: str):
    with pytest.raises(BadRequest, match="boundary"):
        received(tmp_path, BODY, content_type=content_type)


def test_a_boundary_beyond_all_bounds_is_refused(tmp_path: Path):
    with pytest.raises(BadRequest):
        received(tmp_path, BODY, content_type=f"multipart/form-data; boundary={'b' * 10_000}")


def test_a_part_without_a_name_is_refused(tmp_path: Path):
    for head in (b"Content-Type: text/csv", b"Content-Disposition: form-data", b'Content-Disposition: x; name=""'):
        with pytest.raises(BadRequest, match="name"):
            received(tmp_path, b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\nx\r\n" + END)


@pytest.mark.parametrize("first", [None, "a.csv"])
@pytest.mark.parametrize("second", [None, "b.csv"])
def test_a_part_that_is_given_twice_is_refused(tmp_path: Path, first: str | None, second: str | None):
    body = part("file", b"1", file_name=first) + part("file", b"2", file_name=second) + END

    with pytest.raises(InvalidRequest) as caught:
        received(tmp_path, body)

    assert caught.value.faults[0].location == "file"


def test_too_many_parts_are_refused(tmp_path: Path):
    parts = [part(f"p{number}", b"") for number in range(PARTS_LIMIT + 1)]

    assert len(received(tmp_path, *parts[:PARTS_LIMIT], END).fields) == PARTS_LIMIT
    with pytest.raises(TooLarge, match=str(PARTS_LIMIT)):
        received(tmp_path, *parts, END)


def test_a_field_that_is_too_large_is_refused(tmp_path: Path):
    longest = b"x" * FIELD_LIMIT_BYTES

    assert len(received(tmp_path, part("name", longest), END).fields["name"]) == FIELD_LIMIT_BYTES
    with pytest.raises(TooLarge, match="'name'"):
        received(tmp_path, part("name", longest + b"x"), END)


def test_a_field_that_never_ends_is_refused_before_it_fills_the_memory(tmp_path: Path):
    taken = 0

    async def endless() -> AsyncIterator[Any]:
        nonlocal taken
        yield {"type": "http.request", "body": part("name", b"")[:-2], "more_body": True}
        while True:
            taken += 1
            yield {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    messages = endless()
    asked = request([])
    asked._receive = messages.__anext__

    with pytest.raises(TooLarge):
        asyncio.run(receive_multipart(asked, tmp_path))

    assert taken * 65_536 <= FIELD_LIMIT_BYTES + 2 * reception.BLOCK_BYTES


@pytest.mark.parametrize("headers", [["X: " + "x" * 1_000_000], [f"X-{number}: x" for number in range(100_000)]])
def test_headers_of_a_part_beyond_all_bounds_are_refused(tmp_path: Path, headers: list[str]):
    with pytest.raises(BadRequest):
        received(tmp_path, part("name", b"x", *headers), END)


def test_a_field_that_is_no_text_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(InvalidRequest) as caught:
        received(tmp_path, part("name", b"\xff"), END)

    assert caught.value.faults[0].location == "name"


def test_a_client_that_leaves_leaves_no_file_open(tmp_path: Path):
    with pytest.raises(ClientDisconnect):
        received(tmp_path, BODY[:200], ends=False)
    with pytest.raises(ClientDisconnect):
        asyncio.run(receive_body(request([CONTENT], ends=False), tmp_path))


@pytest.mark.parametrize(("receive", "name"), [(receive_body, "file"), (receive_multipart, "part-1")])
def test_a_disk_that_is_full_is_named_as_such_and_nothing_is_left(storage: Storage, receive: Any, name: str):
    async def upload() -> None:
        with storage.stage() as stage:
            (stage.path / name).symlink_to("/dev/full")
            await receive(request([part("file", CONTENT * 100, file_name="x"), END]), stage.path)

    with pytest.raises(StorageFull):
        asyncio.run(upload())

    assert not list((storage.root / "staging").iterdir())
