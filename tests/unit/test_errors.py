"""The error tree."""

import re
from collections.abc import Iterator

import pytest

from app import errors
from app.errors import Fault, OnelayerError


def tree(root: type[OnelayerError] = OnelayerError) -> Iterator[type[OnelayerError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from tree(kind)


def test_the_drawing_shows_every_error_with_its_status():
    drawing = errors.__doc__ or ""

    for kind in tree():
        line = next((line for line in drawing.splitlines() if re.search(rf"\b{kind.__name__}\b", line)), None)
        assert line is not None, f"{kind.__name__} is missing from the drawing"
        if kind.__bases__ == (OnelayerError,):
            assert str(kind.status) in line
    assert set(re.findall(r"[A-Z][a-z]+[A-Z]\w+", drawing)) - {"OnelayerError"} <= {kind.__name__ for kind in tree()}


def test_every_code_stands_for_one_status_and_one_title():
    meanings: dict[str, set[tuple[int, str]]] = {}
    for kind in tree():
        meanings.setdefault(kind.code, set()).add((kind.status, kind.title))
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)

    assert all(len(found) == 1 for found in meanings.values())


def test_one_fault_is_its_own_summary():
    error = errors.InvalidData(Fault("row 17, column age", "'x' is not a number"))

    assert str(error) == error.detail == "row 17, column age: 'x' is not a number"
    assert error.faults == (Fault("row 17, column age", "'x' is not a number"),)


def test_of_several_faults_the_summary_names_the_first_and_counts_the_rest():
    error = errors.InvalidRequest([Fault("epochs", "too small"), Fault("seed", "no number"), Fault("l2", "negative")])

    assert error.detail == "epochs: too small (and 2 more; see errors)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.DatasetNotFound("houses"), ["'houses'", "GET /datasets"]),
        (errors.JobNotFound("j"), ["'j'", "GET /jobs"]),
        (errors.ModelNotFound("fashion:9"), ["'fashion:9'", "GET /models"]),
        (errors.NameTaken("houses"), ["'houses'", "choose another name"]),
        (errors.ScopeMissing("write", "read"), ["'write'", "'read'", "another key"]),
        (errors.NotOwner("houses"), ["'houses'", "owner"]),
        (errors.NoOwner("houses"), ["'houses'", "'admin'", "onelayer keys adopt"]),
        (errors.ModelNameTaken("fashion"), ["'fashion'", "choose another name"]),
        (errors.DatasetInUse("houses"), ["'houses'", "cancel"]),
        (errors.JobStillRunning("j"), ["POST /jobs/j/cancel"]),
        (errors.JobOver("j", "succeeded"), ["succeeded"]),
    ],
)
def test_a_detail_names_the_thing_and_what_to_do(error: OnelayerError, words: list[str]):
    assert all(word in error.detail for word in words)
