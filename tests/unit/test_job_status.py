"""The states of a job."""

import re

from app import job_status
from app.job_status import LIVING, MOVES, OVER, Status, sources


def test_the_moves_are_those_that_clients_are_told_of():
    arrows = {(source.value, target.value) for source, targets in MOVES.items() for target in targets}

    assert arrows == {
        ("queued", "running"),
        ("queued", "cancelled"),
        ("running", "succeeded"),
        ("running", "failed"),
        ("running", "diverged"),
        ("running", "cancelled"),
        ("running", "queued"),
    }


def test_the_drawing_names_every_state():
    assert set(Status) <= set(re.findall(r"\w+", job_status.__doc__ or ""))


def test_a_job_that_is_over_moves_no_more():
    assert {"succeeded", "failed", "diverged", "cancelled"} == OVER
    assert {"queued", "running"} == LIVING
    assert not any(MOVES[end] for end in OVER)


def test_a_job_is_finished_only_from_running():
    assert sources(Status.SUCCEEDED) == sources(Status.DIVERGED) == [Status.RUNNING]
    assert sources(Status.RUNNING) == [Status.QUEUED]
