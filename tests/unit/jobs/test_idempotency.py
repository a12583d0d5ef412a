"""The fingerprint of a request, and who holds a key."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import idempotency
from app.database import Database
from app.errors import RequestInProgress
from app.idempotency import Fingerprint, Held, Keys, Known
from app.tables import IdempotencyRow


@pytest.fixture(autouse=True)
def _nothing_stays_held() -> Iterator[None]:
    """A request ends with its context; a test shares its own with the next."""
    token = idempotency._held.set(None)
    yield
    idempotency._held.reset(token)


def fingerprint(body: bytes, media_type: bytes = b"application/json", path: bytes = b"/jobs", size: int = 7) -> str:
    found = Fingerprint(path, b"", media_type)
    for start in range(0, len(body), size):
        found.update(body[start : start + size])
    return found.hex()


def form(boundary: bytes, value: bytes) -> tuple[bytes, bytes]:
    body = b'--%b\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n--%b--\r\n' % (boundary, value, boundary)
    return body, b"multipart/form-data; boundary=" + boundary


def test_another_body_path_or_media_type_is_another_request() -> None:
    requests = [(b"{}",), (b"{ }",), (b"{}", b"text/csv"), (b"{}", b"application/json", b"/predict")]
    assert len({fingerprint(*request) for request in requests}) == len(requests)


@pytest.mark.parametrize("size", [1, 3, 64, 1000])
def test_the_boundary_of_a_form_counts_for_nothing(size: int) -> None:
    first, second = form(b"3f2a", b"value"), form(b"a-quite-different-one", b"value")
    other = form(b"3f2a", b"valu3")
    assert fingerprint(*first, size=size) == fingerprint(*second, size=1000)
    assert fingerprint(*first, size=size) != fingerprint(*other, size=size)


class Alive:
    """Which processes are alive."""

    def __init__(self) -> None:
        self.ids = {"one", "two"}

    def __call__(self, session: Session, process_id: str) -> bool:
        return process_id in self.ids


def keys(database: Database, process_id: str, alive: Alive) -> Keys:
    made = Keys(database, alive, keep_hours=24)
    made.process_id = process_id
    return made


def body() -> Fingerprint:
    return Fingerprint(b"/jobs", b"", b"")


def test_a_key_is_held_by_one_request_until_it_is_answered(database: Database) -> None:
    alive = Alive()
    one, two = keys(database, "one", alive), keys(database, "two", alive)
    held = one.take("key", body())
    assert isinstance(held, Held)
    assert two.take("key", body()) is None
    one.answer(held, 202, [["location", "/jobs/1"]], b"{}")
    known = two.take("key", body())
    assert isinstance(known, Known)
    assert (known.status, known.headers, known.body) == (202, [["location", "/jobs/1"]], b"{}")
    assert known.fingerprint == body().hex()


def test_a_key_is_locked_while_somebody_finds_out_who_holds_it(
    database: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = keys(database, "one", Alive())
    own.take("key", body())

    def ask(session: Session, row: IdempotencyRow) -> bool:
        asked.append("who holds it?")
        return True

    monkeypatch.setattr(own, "_is_held", ask)

    assert own.take("key", body()) is None

    *_, read, question = asked
    assert question == "who holds it?"
    assert "FROM idempotency_keys" in read
    assert read.endswith("FOR UPDATE")


def test_a_key_of_a_process_that_died_is_taken_over_and_the_dead_changes_nothing_any_more(database: Database) -> None:
    alive = Alive()
    one, two = keys(database, "one", alive), keys(database, "two", alive)
    late = one.take("key", body())
    assert isinstance(late, Held)
    alive.ids.remove("one")
    held = two.take("key", body())
    assert isinstance(held, Held)
    one.answer(late, 200, [], b"late")
    one.release(late)
    assert two.take("key", body()) is None
    with pytest.raises(RequestInProgress), idempotency.work_under(late), database.write() as session:
        idempotency.created(session, "/jobs/late")
    with idempotency.work_under(held), database.write() as session:
        idempotency.created(session, "/jobs/1")
    alive.ids.remove("two")
    known = keys(database, "three", alive).take("key", body())
    assert isinstance(known, Known)
    assert (known.location, known.status) == ("/jobs/1", None)


def test_a_key_whose_holder_never_heard_that_it_was_taken_is_free(
    database: Database, cut_off: Callable[[], None]
) -> None:
    own = keys(database, "one", Alive())
    cut_off()
    with pytest.raises(OperationalError):
        own.take("key", body())

    assert isinstance(own.take("key", body()), Held)


def test_a_refused_request_frees_its_key_and_old_keys_are_forgotten(database: Database) -> None:
    held = keys(database, "one", Alive()).take("key", body())
    assert isinstance(held, Held)
    own = keys(database, "one", Alive())
    own.release(held)
    assert isinstance(own.take("key", body()), Held)
    hasty = Keys(database, Alive(), keep_hours=-1)
    hasty.forget()
    assert isinstance(own.take("key", body()), Held)


def test_every_boundary_is_found_wherever_the_pieces_are_cut() -> None:
    body, media_type = form(b"abcabd", b"xabcabcabdx" * 3)
    whole = fingerprint(body, media_type, size=10_000)
    assert {fingerprint(body, media_type, size=size) for size in itertools.chain(range(1, 40))} == {whole}
