import httpx
import pytest

from app.demo.client import Client
from app.demo.failure import DemoFailed

JOB = {"id": "j"}


def client(*replies: httpx.Response) -> Client:
    """A client of a server that gives these replies, one after the other."""
    waiting = iter(replies)
    return Client("http://onelayer", httpx.MockTransport(lambda request: next(waiting)))


def status(name: str) -> httpx.Response:
    return httpx.Response(200, json={"status": name, "model_id": "m", "error": None})


def epochs(*numbers: int) -> httpx.Response:
    return httpx.Response(200, json={"items": [{"epoch": number} for number in numbers]})


def test_the_epochs_of_a_job_come_once_each_and_in_order() -> None:
    replies = [status("running"), epochs(1, 2), status("running"), epochs(), status("succeeded"), epochs(3)]

    with client(*replies) as http:
        assert [epoch["epoch"] for epoch in http.epochs(JOB)] == [1, 2, 3]


def test_the_history_is_asked_for_what_is_not_known_yet() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/history"):
            asked.append(int(request.url.params["after_epoch"]))
            return epochs(len(asked))
        return status("succeeded" if len(asked) == 2 else "running")

    with Client("http://onelayer", httpx.MockTransport(answer)) as http:
        list(http.epochs(JOB))

    assert asked == [0, 1, 2]


def test_a_problem_document_becomes_the_text_of_the_failure() -> None:
    refused = httpx.Response(422, json={"detail": "epochs: at least 1"})

    with (
        client(refused) as http,
        pytest.raises(DemoFailed, match="POST /jobs answered 422: epochs: at least 1"),
    ):
        http.post("/jobs", {})


def test_an_answer_that_is_no_problem_document_is_shown_as_it_is() -> None:
    with (
        client(httpx.Response(502, text="bad gateway")) as http,
        pytest.raises(DemoFailed, match="502: bad gateway"),
    ):
        http.get("/jobs")


def test_a_server_that_is_gone_is_a_failure_with_a_reason() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    refused = pytest.raises(DemoFailed, match="GET /jobs: connection refused")
    with Client("http://onelayer", httpx.MockTransport(gone)) as http, refused:
        http.get("/jobs")


def test_a_job_that_diverged_left_no_model_to_show() -> None:
    diverged = {"status": "diverged", "model_id": None, "error": {"detail": "the loss became infinite"}}

    refused = pytest.raises(DemoFailed, match="ended as diverged: the loss became infinite")
    with client(httpx.Response(200, json=diverged)) as http, refused:
        http.model_of(JOB)


def test_the_model_of_a_job_that_succeeded_is_known_by_its_id() -> None:
    with client(status("succeeded")) as http:
        assert http.model_of(JOB) == "m"
