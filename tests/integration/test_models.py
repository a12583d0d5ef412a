"""The registry over HTTP: versions, aliases that move at once, deletion, and import."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_server import RunningServer

GIVEN_TWICE = "it is given 2 times; give it once"
LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 300, "noise_std": 0.5}


@pytest.fixture(scope="module", autouse=True)
def _models(server: RunningServer) -> None:
    server.create_dataset(LINE, name="models-line")
    for rate in (0.01, 0.1):
        server.train(dataset="models-line", model="linear", model_name="models-line", epochs=30, learning_rate=rate)


def predicted(server: RunningServer, model: str) -> float:
    reply = server.client.post("/predict", json={"model": model, "instances": [[1.0, 2.0]]})
    assert reply.status_code == 200, reply.text
    return float(reply.json()["predictions"][0])


def version(server: RunningServer, model: str) -> int:
    return int(server.client.get(f"/models/{model}").json()["version"])


def test_an_alias_moves_in_one_step_and_is_seen_at_once(server: RunningServer) -> None:
    path = "/models/models-line/aliases/champion"
    for number in (1, 2, 1):
        reply = server.client.put(path, json={"version": number})
        assert (reply.status_code, reply.json()["aliases"]) == (200, ["champion"])
        assert version(server, "models-line@champion") == number
        assert predicted(server, "models-line@champion") == predicted(server, f"models-line:{number}")
    assert server.client.get("/models/models-line:2").json()["aliases"] == []
    assert server.client.delete(path).status_code == 204
    assert server.client.delete(path).json()["type"].endswith("alias-not-found")
    assert server.client.get("/models/models-line@champion").status_code == 404


def test_an_alias_is_always_one_of_its_versions_while_it_moves(server: RunningServer) -> None:
    path = "/models/models-line/aliases/moving"
    assert server.client.put(path, json={"version": 1}).status_code == 200
    known = {predicted(server, "models-line:1"), predicted(server, "models-line:2")}
    with ThreadPoolExecutor(4) as pool:
        moves = pool.submit(lambda: [server.client.put(path, json={"version": 1 + i % 2}) for i in range(40)])
        seen = set(pool.map(lambda _: predicted(server, "models-line@moving"), range(120)))
    assert {reply.status_code for reply in moves.result()} == {200}
    assert seen <= known
    assert server.client.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/models-line/aliases/a:b", {"version": 1}, 422),
        ("/models/models-line/aliases/best", {"version": 0}, 422),
        ("/models/models-line/aliases/best", {"version": 99}, 404),
        ("/models/nobody/aliases/best", {"version": 1}, 404),
        ("/models/models-line/aliases/best", {"version": 1, "x": 1}, 422),
    ],
)
def test_an_alias_of_nothing_is_refused(server: RunningServer, path: str, body: dict[str, Any], status: int) -> None:
    assert server.client.put(path, json=body).status_code == status


def test_a_second_server_on_the_same_data_sees_new_versions_and_aliases_at_once(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as first, RunningServer(tmp_path / "data", workers=0) as second:
        first.create_dataset(LINE, name="shared")
        first.train(dataset="shared", model="linear", model_name="shared", epochs=1)
        assert version(second, "shared") == 1
        for number in range(2, 6):
            first.train(dataset="shared", model="linear", model_name="shared", epochs=number)
            reply = second.client.post("/predict", json={"model": "shared", "instances": [[1, 2]]}).json()
            assert reply["model"]["version"] == number
            first.client.put("/models/shared/aliases/champion", json={"version": number - 1})
            reply = second.client.post("/predict", json={"model": "shared@champion", "instances": [[1, 2]]}).json()
            assert reply["model"]["version"] == number - 1
        assert first.client.delete("/models/shared:5").status_code == 204
        reply = second.client.post("/predict", json={"model": "shared", "instances": [[1, 2]]}).json()
        assert reply["model"]["version"] == 4


def test_a_deleted_version_frees_its_files_its_aliases_and_never_its_number(server: RunningServer) -> None:
    job = server.train(dataset="models-line", model="linear", model_name="models-gone", epochs=1)
    server.client.put("/models/models-gone/aliases/champion", json={"version": 1})
    assert server.client.delete("/models/models-gone").status_code == 204
    for model in ("models-gone", "models-gone:1", "models-gone@champion", job["model_id"]):
        assert server.client.post("/predict", json={"model": model, "instances": [[1, 2]]}).status_code == 404
    assert not (server.data_dir / "models" / job["model_id"]).exists()
    server.train(dataset="models-line", model="linear", model_name="models-gone", epochs=1)
    assert version(server, "models-gone") == 2


def test_a_name_of_several_versions_is_no_model_to_delete(server: RunningServer) -> None:
    for _ in range(2):
        server.train(dataset="models-line", model="linear", model_name="models-two", epochs=1)
    refused = server.client.delete("/models/models-two")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:onelayer:problem:several-versions")
    assert "models-two:2, models-two:1" in refused.json()["detail"]
    assert server.client.delete("/models/models-two:2").status_code == 204
    assert server.client.delete("/models/models-two").status_code == 204
    assert server.client.delete("/models/models-two").status_code == 404


def test_a_model_whose_files_are_gone_is_told_of_as_damaged(server: RunningServer) -> None:
    job = server.train(dataset="models-line", model="linear", epochs=1)
    folder = server.data_dir / "models" / job["model_id"]
    folder.rename(folder.with_name("away"))
    reply = server.client.post("/predict", json={"model": job["model_id"], "instances": [[1, 2]]})
    folder.with_name("away").rename(folder)
    assert (reply.status_code, reply.json()["type"]) == (500, "urn:onelayer:problem:damaged-files")


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def changed(**changes: Any) -> Any:
    def change(document: dict[str, Any]) -> bytes:
        for path, value in changes.items():
            *way, last = path.split("__")
            place: Any = document
            for step in way:
                place = place[int(step)] if step.isdigit() else place[step]
            place[last] = value
        return json.dumps(document).encode()

    return change


BAD_FILES: dict[str, tuple[Any, str]] = {
    "weights of another shape": (changed(weights=[[1.0], [2.0], [3.0]]), "weights"),
    "a ragged matrix": (changed(weights=[[1.0], [2.0, 3.0]]), "weights"),
    "texts for weights": (changed(weights=[["a"], ["b"]]), "weights"),
    "an infinite bias": (lambda d: changed(bias=[float("inf")])(d).replace(b"Infinity", b"1e999"), "file"),
    "no weights": (changed(weights=None), "weights"),
    "another kind": (changed(kind="forest"), "kind"),
    "a version to come": (changed(format_version=99), "format_version"),
    "an unknown kind of feature": (changed(encoding__features__0__kind="text"), "encoding"),
    "a mean that is not finite": (changed(encoding__features__0__mean=None), "encoding"),
    "a column that stands twice": (changed(encoding__features__0__name="x2"), "file"),
    "a pipe for an encoding": (changed(encoding="| rm -rf"), "encoding"),
    "classes of a linear model": (changed(encoding__target__classes=["a", "b"]), "file"),
    "a covariance of another shape": (changed(statistics__inverse_gram=[[1.0]]), "inverse_gram"),
    "a list": (lambda d: b"[1]", "file"),
    "a truncated file": (lambda d: json.dumps(d).encode()[:-9], "file"),
    "a pickle": (lambda d: b"\x80\x04\x95\x00", "file"),
    "safetensors of something else": (lambda d: b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "file"),
    "nothing": (lambda d: b"", "file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_no_model_is_refused_and_leaves_nothing(server: RunningServer, case: str) -> None:
    make, location = BAD_FILES[case]
    document = server.client.get("/models/models-line/export", params={"format": "json"}).json()
    before = sorted((server.data_dir / "models").iterdir())
    reply = server.client.post("/models", files={"file": make(document)})
    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"][0]["location"].startswith(location), reply.text
    assert sorted((server.data_dir / "models").iterdir()) == before
    assert list((server.data_dir / "staging").iterdir()) == []


@pytest.mark.parametrize(
    ("parts", "location"),
    [([("nam", (None, "x"))], "nam"), ([("file", ("b", b"{}"))], "file"), ([("name", (None, "a"))] * 2, "name")],
)
def test_a_part_that_nobody_would_read_is_refused(server: RunningServer, parts: list[Any], location: str) -> None:
    content = server.client.get("/models/models-line/export", params={"format": "json"}).content
    reply = server.client.post("/models", files=[("file", ("a", content)), *parts])
    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"][0]["location"] == location


def test_a_text_where_the_file_belongs_is_refused_with_what_to_send(server: RunningServer) -> None:
    reply = server.client.post("/models", files=[("file", (None, "hello"))])
    assert reply.status_code == 422, reply.text
    (fault,) = reply.json()["errors"]
    assert fault["location"] == "file"
    assert "-F file=@model.json" in fault["message"]


@pytest.mark.parametrize("path", ["/models?limit=2&limit=3", "/models/models-line/export?format=onnx&format=json"])
def test_an_option_that_is_given_twice_is_refused(server: RunningServer, path: str) -> None:
    reply = server.client.get(path)
    assert reply.status_code == 422, reply.text
    fault = reply.json()["errors"][0]
    assert (fault["location"], fault["message"]) == (path.rpartition("&")[2].partition("=")[0], GIVEN_TWICE)


def test_an_option_of_an_upload_that_is_given_twice_is_refused(server: RunningServer) -> None:
    reply = server.client.post("/datasets?name=a&name=b", content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"] == [{"location": "name", "message": GIVEN_TWICE}]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/models?nam=x", "cursor, limit, name"),
        ("/models/models-line/export?fromat=onnx", "format"),
        ("/models/models-line?version=1", "none"),
    ],
)
def test_an_option_that_nobody_would_read_is_refused(server: RunningServer, path: str, known: str) -> None:
    reply = server.client.get(path)
    assert reply.status_code == 422, reply.text
    fault = reply.json()["errors"][0]
    assert fault["location"] == path.partition("?")[2].partition("=")[0]
    assert fault["message"].endswith(known)


# ── the same request twice ───────────────────────────────────────────────────────────────────────────────────────────


def forget_the_reply(server: RunningServer, key: dict[str, str]) -> None:
    """As if the server had died between the commit and the reply."""
    with sqlite3.connect(server.data_dir / "onelayer.db", timeout=10) as database:
        database.execute(
            "UPDATE idempotency_keys SET status = NULL, body = NULL, process_id = 'gone' WHERE key = ?",
            [key["Idempotency-Key"]],
        )


@pytest.mark.parametrize("died", [False, True])
def test_a_model_that_is_imported_twice_under_one_key_is_one(server: RunningServer, died: bool) -> None:
    content = server.client.get("/models/models-line/export", params={"format": "safetensors"}).content
    name, key = f"twice-{died}", {"Idempotency-Key": f"import-{died}"}

    def send(sent: bytes = content) -> httpx.Response:
        return server.client.post("/models", files={"file": sent}, data={"name": name.lower()}, headers=key)

    first = send()
    if died:
        forget_the_reply(server, key)
    second = send()
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert second.json() == first.json()
    assert send(content[:-8]).json()["type"] == "urn:onelayer:problem:idempotency-conflict"
    assert len(server.client.get("/models", params={"name": name.lower()}).json()["items"]) == 1


@pytest.mark.parametrize("died", [False, True])
def test_a_batch_that_is_asked_for_twice_under_one_key_is_one_job(server: RunningServer, died: bool) -> None:
    key = {"Idempotency-Key": f"batch-{died}"}

    def send(**body: Any) -> httpx.Response:
        asked = {"dataset": "models-line", **body}
        return server.client.post("/models/models-line/predictions", json=asked, headers={**key, "Prefer": "wait=30"})

    first = send()
    if died:
        forget_the_reply(server, key)
    second = send()
    assert first.status_code == 200, first.text
    assert second.headers["idempotency-replayed"] == "true"
    assert (second.json()["id"], second.json()["status"]) == (first.json()["id"], "succeeded")
    assert send(outputs=["drift"]).json()["type"] == "urn:onelayer:problem:idempotency-conflict"
    undrawn = server.client.get(f"/jobs/{first.json()['id']}/plot")
    assert undrawn.status_code == 404
    assert "batch prediction" in undrawn.json()["detail"]
