"""Jobs over HTTP: order, limits, events, conditional requests, repetitions, replays, pictures."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.crowd import Crowd
from tests.patience import until
from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 1000, "noise_std": 0.01, "seed": 0}
SPEC = {"model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}
ENDLESS = {"model": "linear", "epochs": 1_000_000, "batch_size": 1, "learning_rate": 1e-6}


@pytest.fixture(scope="module")
def dataset(server: RunningServer) -> str:
    return str(server.create_dataset(LINE)["id"])


def submit(server: RunningServer, dataset: str, **spec: Any) -> dict[str, Any]:
    reply = server.client.post("/jobs", json={"dataset": dataset, **SPEC, **spec})
    assert reply.status_code == 202, reply.text
    job: dict[str, Any] = reply.json()
    return job


def over(server: RunningServer, job: dict[str, Any]) -> dict[str, Any]:
    reply = server.client.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def cancel(server: RunningServer, job: dict[str, Any]) -> None:
    assert server.client.post(f"/jobs/{job['id']}/cancel").status_code == 202


def events(server: RunningServer, job_id: str, last: str | None = None) -> Iterator[tuple[str, str | None, Any]]:
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{server.url}/jobs/{job_id}/events", headers=headers, timeout=60) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in reply.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "event" in event:
                yield event["event"], event.get("id"), json.loads(event["data"])
                event = {}


def numbers(found: list[tuple[str, str | None, Any]]) -> list[int]:
    return [body["epoch"] for kind, _, body in found if kind == "epoch"]


def lines_of(server: RunningServer, job_id: str, event: str) -> list[dict[str, Any]]:
    """The lines of the log that name a job; waits for the first, since a worker writes it once the job is over."""

    def found() -> list[dict[str, Any]]:
        *whole, _ = server.log.read_text().split("\n")
        lines = (line for line in whole if job_id in line and line.startswith("{"))
        return [line for line in map(json.loads, lines) if line.get("job") == job_id and line["event"] == event]

    return until(found)


@pytest.mark.parametrize("is_replay", [False, True])
def test_the_log_follows_a_job_from_its_request_to_its_end(
    server: RunningServer, dataset: str, is_replay: bool
) -> None:
    job = submit(server, dataset)
    over(server, job)
    if is_replay:
        job = server.client.post(f"/jobs/{job['id']}/replay").json()
        over(server, job)

    (ended,) = lines_of(server, job["id"], "a job is over")
    (claimed,) = lines_of(server, job["id"], "a job is claimed")
    (request,) = lines_of(server, job["id"], "request")

    assert (ended["status"], ended["epochs"], ended["attempt"]) == ("succeeded", 3, 1)
    assert ended["seconds"] > 0
    assert claimed["attempt"] == 1
    assert (request["method"], request["status"]) == ("POST", 202)


def test_jobs_of_higher_priority_come_first_and_equals_in_the_order_of_their_coming(
    server: RunningServer, dataset: str
) -> None:
    blocker = submit(server, dataset, **ENDLESS)
    jobs = [submit(server, dataset, priority=priority) for priority in (0, -5, 7, 0, 7)]
    cancel(server, blocker)
    finished = sorted((over(server, job) for job in jobs), key=lambda job: datetime.fromisoformat(job["started_at"]))
    assert [job["id"] for job in finished] == [jobs[place]["id"] for place in (2, 4, 0, 3, 1)]


def test_a_full_queue_refuses_with_a_time_to_try_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    limits = {"queue_limit": 2, "workers": 0}
    with RunningServer(tmp_path_factory.mktemp("full") / "data", ready="/healthz", **limits) as own:
        dataset = own.create_dataset(LINE)["id"]
        jobs = [submit(own, dataset) for _ in range(2)]
        refused = own.client.post("/jobs", json={"dataset": dataset, **SPEC})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["type"].endswith("queue-full")
        cancel(own, jobs[0])
        submit(own, dataset)


def test_a_time_limit_ends_a_job_and_keeps_what_it_learned(server: RunningServer, dataset: str) -> None:
    job = over(server, submit(server, dataset, **ENDLESS, time_limit_seconds=0.3))
    assert job["status"] == "cancelled"
    assert job["error"]["code"] == "time-limit"
    assert server.client.get(f"/models/{job['model_id']}").json()["partial"] is True


def test_a_watcher_sees_every_epoch_once_and_in_order_and_every_state(server: RunningServer, dataset: str) -> None:
    job = submit(server, dataset, epochs=20_000, learning_rate=1e-4)
    found = list(events(server, job["id"]))
    assert numbers(found) == list(range(1, 20_001))
    states = [body["status"] for kind, _, body in found if kind == "status"]
    assert states[-1] == "succeeded"
    assert found[-1][0] == "status"
    ids = [event_id for kind, event_id, _ in found if kind == "epoch"]
    assert ids == [f"{job['id']}:{number}" for number in numbers(found)]
    first = next(body for kind, _, body in found if kind == "epoch")
    assert first == server.history(job)[0]


def test_a_watcher_that_comes_back_misses_nothing(server: RunningServer, dataset: str) -> None:
    job = submit(server, dataset, epochs=20_000, learning_rate=1e-4)
    seen: list[int] = []
    last = None
    while True:
        for kind, event_id, body in events(server, job["id"], last):
            last = event_id or last
            if kind == "epoch":
                seen.append(body["epoch"])
                if len(seen) % 4000 == 0:
                    break
        else:
            break
    assert seen == list(range(1, 20_001))
    assert last == f"{job['id']}:20000.over"
    again = server.client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": last})
    assert again.status_code == 204
    wrong = server.client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
    assert wrong.status_code == 422
    assert server.client.get("/jobs/nowhere/events").status_code == 404


@pytest.mark.parametrize("last", ["3", "1", "3.over"])
@pytest.mark.parametrize("called", ["latest", "id"])
def test_a_watcher_that_has_seen_another_job_sees_all_of_this_one(
    server: RunningServer, dataset: str, last: str, called: str
) -> None:
    first, second = (over(server, submit(server, dataset)) for _ in range(2))
    path = "latest" if called == "latest" else second["id"]

    found = list(events(server, path, f"{first['id']}:{last}"))

    assert numbers(found) == [1, 2, 3]
    assert found[-1][1] == f"{second['id']}:3.over"
    assert numbers(list(events(server, path, f"{second['id']}:1"))) == [2, 3]
    assert numbers(list(events(server, second["id"], "1"))) == [2, 3]


def test_a_watcher_is_told_when_its_job_is_deleted(server: RunningServer, dataset: str) -> None:
    blocker, job = submit(server, dataset, **ENDLESS), submit(server, dataset)
    stream = events(server, job["id"])
    kind, _, body = next(stream)
    assert (kind, body["status"]) == ("status", "queued")

    assert server.client.delete(f"/jobs/{job['id']}").status_code == 204

    assert [(kind, body) for kind, _, body in stream] == [("gone", {"id": job["id"]})]
    cancel(server, blocker)
    assert server.client.get(f"/jobs/{job['id']}/events").status_code == 404


def test_the_events_end_when_the_server_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunningServer(tmp_path_factory.mktemp("stop") / "data") as own:
        job = submit(own, own.create_dataset({**LINE, "rows": 100_000})["id"], **ENDLESS)
        seen: list[str] = []
        watcher = threading.Thread(target=lambda: seen.extend(kind for kind, _, _ in events(own, job["id"])))
        watcher.start()
        until(lambda: "epoch" in seen)
        assert own.stop() == 0
        # A watcher that is cut off, since the server's patience has ended, fails.
        watcher.join(60)
        assert not watcher.is_alive()
        own.start()
        cancel(own, job)


@pytest.mark.parametrize("path", ["", "/history", "/plot"])
def test_what_has_not_changed_is_not_sent_again(server: RunningServer, dataset: str, path: str) -> None:
    job = over(server, submit(server, dataset))
    first = server.client.get(f"/jobs/{job['id']}{path}")
    assert first.status_code == 200
    same = server.client.get(f"/jobs/{job['id']}{path}", headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (same.status_code, same.content) == (304, b"")
    for tags in ((first.headers["etag"], '"x"'), ('"x"', first.headers["etag"])):
        lines = [("If-None-Match", tag) for tag in tags]
        assert server.client.get(f"/jobs/{job['id']}{path}", headers=lines).status_code == 304
    other = server.client.get(f"/jobs/{job['id']}{path}", headers={"If-None-Match": '"x"'})
    assert other.status_code == 200


def changed(server: RunningServer, path: str, tag: str) -> bool:
    return server.client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_running_job_changes_its_tags(server: RunningServer, dataset: str) -> None:
    job = submit(server, dataset, **ENDLESS)
    for path in ("", "/history"):
        tag = server.client.get(f"/jobs/{job['id']}{path}").headers["etag"]
        until(partial(changed, server, f"/jobs/{job['id']}{path}", tag))
    cancel(server, job)
    over(server, job)


def test_the_plot_is_a_picture_in_the_format_that_is_asked_for(server: RunningServer, dataset: str) -> None:
    job = over(server, submit(server, dataset, validation={"fraction": 0.2}))
    url = f"/jobs/{job['id']}/plot"
    svg = server.client.get(url)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert ET.fromstring(svg.content).tag.endswith("svg")
    assert server.client.get(url).content == svg.content
    png = server.client.get(url, headers={"Accept": "image/png, image/svg+xml;q=0.5"})
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")
    assert server.client.get(url, headers={"Accept": "image/jpeg"}).status_code == 406
    for accept, media_type in [("text/csv;q=0, */*", "application/json"), ("text/*", "text/csv; charset=utf-8")]:
        found = server.client.get(url.replace("/plot", "/history"), headers={"Accept": accept})
        assert found.headers["content-type"] == media_type


def test_a_replay_has_every_bit_of_the_first_run_and_leaves_no_model(server: RunningServer, dataset: str) -> None:
    job = over(server, submit(server, dataset, model_name="replayed"))
    reply = server.client.post(f"/jobs/{job['id']}/replay", headers={"Prefer": "wait=30"})
    assert reply.status_code == 200, reply.text
    again = reply.json()
    assert again["replay_of"] == job["id"]
    assert again["replay"] == {"identical": True, "epochs_compared": 3, "differences": []}
    assert again["model_id"] is None
    assert len(server.client.get("/models", params={"name": "replayed"}).json()["items"]) == 1


def test_a_replay_says_where_the_bits_differ(server: RunningServer, dataset: str) -> None:
    import sqlite3

    job = over(server, submit(server, dataset))
    with sqlite3.connect(server.data_dir / "onelayer.db", timeout=10) as database:
        database.execute("UPDATE epochs SET train_loss = train_loss + 1 WHERE job_id = ? AND epoch = 2", [job["id"]])
    again = server.client.post(f"/jobs/{job['id']}/replay", headers={"Prefer": "wait=30"}).json()
    assert again["replay"]["identical"] is False
    assert again["replay"]["differences"] == ["epoch 2"]


def test_what_cannot_be_replayed_says_why(server: RunningServer) -> None:
    dataset = server.create_dataset(LINE)["id"]
    job = over(server, submit(server, dataset))
    assert server.client.delete(f"/datasets/{dataset}").status_code == 204
    refused = server.client.post(f"/jobs/{job['id']}/replay")
    assert refused.status_code == 409
    assert "deleted" in refused.json()["detail"]


def test_the_same_request_with_the_same_key_has_one_effect(server: RunningServer, dataset: str) -> None:
    key = {"Idempotency-Key": "one-effect"}
    body = {"dataset": dataset, **SPEC, "model_name": "idempotent"}
    replies: list[httpx.Response] = []

    def send() -> None:
        replies.append(httpx.post(f"{server.url}/jobs", json=body, headers={**key, "Prefer": "wait=30"}, timeout=60))

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert [reply.headers.get("idempotency-replayed") for reply in replies].count(None) == 1
    assert len(server.client.get("/models", params={"name": "idempotent"}).json()["items"]) == 1
    conflict = server.client.post("/jobs", json={**body, "epochs": 4}, headers=key)
    assert conflict.status_code == 409
    assert conflict.json()["type"].endswith("idempotency-conflict")


def test_a_request_whose_server_died_before_it_replied_is_answered_with_what_it_made(
    server: RunningServer, dataset: str
) -> None:
    import sqlite3

    bodies = {
        "/jobs": {"dataset": dataset, **SPEC, "model_name": "made-once"},
        "/datasets": {"source": LINE, "name": "made-once"},
    }
    for path, body in bodies.items():
        key = {"Idempotency-Key": f"unanswered{path}"}
        first = server.client.post(path, json=body, headers=key)
        with sqlite3.connect(server.data_dir / "onelayer.db", timeout=10) as database:
            database.execute(
                "UPDATE idempotency_keys SET status = NULL, body = NULL, process_id = 'gone' WHERE key = ?",
                [key["Idempotency-Key"]],
            )
        second = server.client.post(path, json=body, headers=key)
        assert second.status_code == first.status_code
        assert second.json()["id"] == first.json()["id"]
        assert second.headers["location"] == f"{path}/{first.json()['id']}"
        assert server.client.post(path, json={**body, "x": 1}, headers=key).status_code == 409


def test_a_key_works_for_uploads_for_predictions_and_for_what_is_corrected(server: RunningServer) -> None:
    def csv(key: str, text: str) -> httpx.Response:
        files = {"file": ("table.csv", text.encode(), "text/csv")}
        return server.client.post("/datasets", files=files, headers={"Idempotency-Key": key})

    first, second = csv("upload", "a,b\n1,2\n3,5\n"), csv("upload", "a,b\n1,2\n3,5\n")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert csv("upload", "a,b\n1,2\n3,6\n").status_code == 409
    assert csv("corrected", "a,b\n1,2,3\n").status_code == 422
    assert csv("corrected", "a,b\n1,2\n").status_code == 201
    job = server.train(dataset=first.json()["id"], target="b", model="linear", epochs=3)
    body = {"model": job["model_id"], "instances": [[1.0]]}
    replies = [server.client.post("/predict", json=body, headers={"Idempotency-Key": "predict"}) for _ in range(2)]
    assert replies[0].json() == replies[1].json()
    assert replies[1].headers["idempotency-replayed"] == "true"
    wrong = server.client.post("/predict", json=body, headers={"Idempotency-Key": "x" * 256})
    assert wrong.status_code == 422


def test_a_key_replays_no_representation_that_the_repetition_does_not_accept(
    server: RunningServer, dataset: str
) -> None:
    job = server.train(dataset=dataset, model="linear", epochs=3)
    body = {"model": job["model_id"], "instances": [[1.0, 2.0]]}

    def send(accept: str) -> httpx.Response:
        headers = {"Idempotency-Key": "negotiated", "Accept": accept}
        return server.client.post("/predict", json=body, headers=headers)

    assert send("text/csv").headers["content-type"].startswith("text/csv")
    assert send("text/csv").headers["idempotency-replayed"] == "true"
    assert send("application/json").json()["type"] == "urn:onelayer:problem:idempotency-conflict"


def test_a_key_knows_the_same_request_whatever_is_added_to_its_media_type(server: RunningServer, dataset: str) -> None:
    content = json.dumps({"dataset": dataset, **SPEC}).encode()
    replies = [
        server.client.post("/jobs", content=content, headers={
            "Idempotency-Key": "media-type", "Content-Type": kind, "Accept": accept,
        })
        for kind, accept in (("application/json", "*/*"), ("Application/JSON; charset=utf-8", "application/json"))
    ]  # fmt: skip
    assert [reply.status_code for reply in replies] == [202, 202]
    assert replies[0].json()["id"] == replies[1].json()["id"]


def test_two_keys_with_one_request_are_refused(server: RunningServer, dataset: str) -> None:
    def send(*keys: str) -> httpx.Response:
        headers = [("Idempotency-Key", key) for key in keys]
        return server.client.post("/jobs", json={"dataset": dataset, **SPEC}, headers=headers)

    refused = send("one", "another")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == "Idempotency-Key"
    assert send("twice", "twice").status_code == 202


def test_old_jobs_and_histories_are_removed_and_models_stay(tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = {"keep_jobs_days": 3 / 86_400, "keep_history_days": 0, "cleanup_seconds": 0.2}
    with RunningServer(tmp_path_factory.mktemp("retention") / "data", **kept) as own:
        job = over(own, submit(own, own.create_dataset(LINE)["id"]))
        until(lambda: own.client.get(f"/jobs/{job['id']}/history").json().get("items") in (None, []))
        until(lambda: own.client.get(f"/jobs/{job['id']}").status_code == 404)
        assert own.client.get(f"/models/{job['model_id']}").status_code == 200


def test_a_crowd_of_clients_meets_no_lock_and_loses_no_update(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunningServer(tmp_path_factory.mktemp("crowd") / "data", workers=2) as own:
        crowd = Crowd(own, str(own.create_dataset(LINE)["id"]))
        crowd.run(seconds=2)
        crowd.check()


@pytest.mark.parametrize(
    ("path", "typo"),
    [
        ("/datasets", "limt"),
        ("/datasets/{dataset}", "full"),
        ("/datasets/{dataset}/rows", "ofset"),
        ("/jobs", "state"),
        ("/jobs/{job}", "wait"),
        ("/jobs/{job}/history", "point"),
        ("/jobs/{job}/plot", "sacle"),
        ("/jobs/{job}/events", "after"),
    ],
)
def test_a_misspelt_query_parameter_is_refused(server: RunningServer, dataset: str, path: str, typo: str) -> None:
    job = over(server, submit(server, dataset, epochs=1))["id"]
    reply = server.client.get(path.format(job=job, dataset=dataset), params={typo: "3"})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["location"] == typo


def test_jobs_are_listed_by_the_kind_of_model_and_a_kind_that_is_none_is_refused(
    server: RunningServer, dataset: str
) -> None:
    over(server, submit(server, dataset, epochs=1))
    linear = server.client.get("/jobs", params={"model": "linear"}).json()["items"]
    assert {job["spec"]["model"] for job in linear if job["kind"] == "train"} == {"linear"}

    refused = server.client.get("/jobs", params={"model": "foo"})

    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert fault["location"] == "model"
    assert "'linear' or 'softmax'" in fault["message"]


def test_a_sample_of_a_history_has_no_limit_beside_its_points(server: RunningServer, dataset: str) -> None:
    job = over(server, submit(server, dataset, epochs=10))
    url = f"/jobs/{job['id']}/history"

    refused = server.client.get(url, params={"points": 3, "limit": 1})

    assert (refused.status_code, refused.json()["errors"][0]["location"]) == (422, "limit")
    sample = server.client.get(url, params={"points": 3, "after_epoch": 4}).json()["items"]
    assert [item["epoch"] for item in sample][::2] == [5, 10]


def test_a_reader_that_has_seen_all_goes_on_from_where_it_is(server: RunningServer, dataset: str) -> None:
    job = over(server, submit(server, dataset, epochs=3))
    url = f"/jobs/{job['id']}/history"

    assert server.client.get(url).json()["next_after_epoch"] == 3
    for after in (3, 999_999_999):
        for more in ({}, {"points": 3}):
            rest = server.client.get(url, params={"after_epoch": after, **more}).json()
            assert rest == {"items": [], "next_after_epoch": after}


@pytest.mark.parametrize(("path", "accept"), [("/history", "text/csv"), ("/plot", "image/png")])
def test_what_depends_on_accept_says_so_even_where_nothing_has_changed(
    server: RunningServer, dataset: str, path: str, accept: str
) -> None:
    url = f"/jobs/{over(server, submit(server, dataset))['id']}{path}"
    first = server.client.get(url, headers={"Accept": accept})

    same = server.client.get(url, headers={"Accept": accept, "If-None-Match": first.headers["etag"]})

    assert (same.status_code, same.headers.get("vary")) == (304, "Accept")
    assert same.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_rows_of_a_dataset_say_that_they_depend_on_accept(server: RunningServer, dataset: str, accept: str) -> None:
    reply = server.client.get(f"/datasets/{dataset}/rows", headers={"Accept": accept})

    assert reply.headers["content-type"].startswith(accept)
    assert reply.headers.get("vary") == "Accept"


@pytest.mark.parametrize("order", [1, -1])
def test_preferences_in_several_lines_all_count(server: RunningServer, dataset: str, order: int) -> None:
    job = submit(server, dataset, **ENDLESS)
    lines = [("Prefer", "respond-async"), ("Prefer", "WAIT=1")][::order]

    began = time.monotonic()
    reply = server.client.get(f"/jobs/{job['id']}", headers=lines)

    assert (reply.status_code, reply.headers.get("preference-applied")) == (202, "wait=1")
    assert time.monotonic() - began >= 0.9
    cancel(server, job)
