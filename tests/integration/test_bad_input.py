"""Bad input: each is refused with a problem document that names the place, and leaves nothing behind."""

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import torch

from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 100}


def idx(dimensions: list[int], content: bytes, code: int = 0x08) -> bytes:
    """An IDX file."""
    return struct.pack(f">HBB{len(dimensions)}I", 0, code, len(dimensions), *dimensions) + content


IMAGES, LABELS = idx([2, 2, 2], bytes(8)), idx([2], bytes([0, 1]))


def kept(server: RunningServer) -> tuple[Any, ...]:
    """Everything that a refused request might have left: rows, folders, files being written."""
    lists = [server.client.get(path).json() for path in ("/datasets", "/jobs", "/models")]
    folders = [sorted(path.name for path in (server.data_dir / name).glob("*")) for name in ("datasets", "models")]
    return lists, folders, list((server.data_dir / "staging").iterdir())


def upload(server: RunningServer, **parts: bytes) -> httpx.Response:
    return server.client.post("/datasets", files={part: (part, content) for part, content in parts.items()})


def csv(server: RunningServer, text: str) -> httpx.Response:
    return server.client.post("/datasets", content=text.encode(), headers={"Content-Type": "text/csv"})


def job(server: RunningServer, **spec: Any) -> httpx.Response:
    return server.client.post("/jobs", json={"dataset": "line-of-bad-input", "model": "linear", **spec})


def predict(server: RunningServer, instances: str) -> httpx.Response:
    body = '{"model": "line-of-bad-input", "instances": %s}' % instances  # noqa: UP031 - NaN cannot come from json=
    return server.client.post("/predict", content=body, headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module", autouse=True)
def _line(server: RunningServer) -> None:
    server.create_dataset(LINE, name="line-of-bad-input")
    server.train(dataset="line-of-bad-input", model="linear", model_name="line-of-bad-input")
    records = [{"x": float(i), "many": i + 0.0, "text": f"t{i % 3}"} for i in range(5000)]
    server.create_dataset({"type": "records", "records": records}, name="table-of-bad-input")


UPLOADS: dict[str, tuple[Callable[[RunningServer], httpx.Response], int, str]] = {
    "a truncated gzip": (lambda s: upload(s, images=gzip.compress(IMAGES)[:-6], labels=LABELS), 422, "images"),
    "a wrong magic number": (lambda s: upload(s, images=idx([2, 2, 2], bytes(8), 0x0B), labels=LABELS), 422, "images"),
    "images without labels": (lambda s: upload(s, images=IMAGES), 422, "labels"),
    "three labels for two images": (
        lambda s: upload(s, images=IMAGES, labels=idx([3], bytes(3))),
        422,
        "labels",
    ),
    "a ragged row": (lambda s: csv(s, "a,b\n1,2\n3\n4,5\n"), 422, "row 2"),
    "an empty file": (lambda s: csv(s, ""), 422, ""),
    "a header only": (lambda s: csv(s, "a,b\n"), 422, ""),
    "two columns of one name": (lambda s: csv(s, "a,a\n1,2\n"), 422, "a"),
    "an unknown file part": (lambda s: upload(s, table=b"a\n1\n"), 422, "table"),
    "an unknown media type": (
        lambda s: s.client.post("/datasets", content=b"x", headers={"Content-Type": "application/pdf"}),
        415,
        "",
    ),
    "no JSON": (
        lambda s: s.client.post("/datasets", content=b"{", headers={"Content-Type": "application/json"}),
        422,
        "",
    ),
    "an unknown source": (lambda s: s.client.post("/datasets", json={"source": {"type": "web"}}), 422, "source"),
    "an unknown field of a source": (lambda s: s.client.post("/datasets", json={"source": {**LINE, "x": 1}}), 422, "x"),
    "a name that is taken": (
        lambda s: s.client.post("/datasets", json={"source": LINE, "name": "line-of-bad-input"}),
        409,
        "",
    ),
    "a name with a slash": (lambda s: s.client.post("/datasets", json={"source": LINE, "name": "../x"}), 422, "name"),
    "a target that is no column": (
        lambda s: s.client.post("/datasets", json={"source": LINE, "target": "z"}),
        422,
        "target",
    ),
}

JOBS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a target that does not exist": ({"target": "z"}, 422, "target"),
    "softmax on 5000 distinct numbers": (
        {"dataset": "table-of-bad-input", "model": "softmax", "target": "many"},
        422,
        "target",
    ),
    "linear on a text": ({"dataset": "table-of-bad-input", "target": "text"}, 422, "target"),
    "an unknown field": ({"learning_rat": 0.1}, 422, "learning_rat"),
    "a negative learning rate": ({"learning_rate": -0.1}, 422, "learning_rate"),
    "a learning rate that is no number": ({"learning_rate": "fast"}, 422, "learning_rate"),
    "no epochs": ({"epochs": 0}, 422, "epochs"),
    "a schedule that does not say which": ({"lr_schedule": {}}, 422, "lr_schedule"),
    "a start that there is none of": ({"init": {"type": "ones"}}, 422, "init"),
    "a loss of the other model": ({"loss": "cross_entropy"}, 422, ""),
    "a feature that does not exist": ({"features": ["x1", "z"]}, 422, "features"),
    "the target as a feature": ({"features": ["x1", "y"]}, 422, "features"),
    "a test split that is not there": ({"validation": {"split": "test"}}, 422, "validation"),
    "a fraction of 1": ({"validation": {"fraction": 1}}, 422, "validation"),
    "a dataset that does not exist": ({"dataset": "nowhere"}, 404, ""),
    "a GPU where there is none": ({"device": "cuda"}, 422, "device"),
}
if torch.cuda.is_available():
    del JOBS["a GPU where there is none"]

INSTANCES: dict[str, tuple[str, str]] = {
    "NaN": ("[[1, 2], [1, NaN]]", "row 2, column x2"),
    "Infinity": ("[[1, Infinity]]", "row 1, column x2"),
    "a text": ('[[1, "two"]]', "row 1, column x2"),
    "a wrong width": ("[[1, 2], [1, 2, 3]]", "row 2"),
    "a row that is no list": ("[1, 2]", "row 1"),
}


def check(reply: httpx.Response, status: int, location: str) -> None:
    """It is the problem document of this status, and names the place."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:onelayer:problem:")
    assert problem["title"]
    assert problem["detail"]
    if status == 422:
        assert any(location in fault["location"] for fault in problem["errors"]), problem
    assert "Traceback" not in reply.text
    assert "/" not in problem["detail"].replace("GET /", "").replace("/docs", "").replace("POST /", "") or status != 500


@pytest.mark.parametrize("name", UPLOADS)
def test_a_bad_upload_is_refused_and_nothing_is_kept(server: RunningServer, name: str) -> None:
    call, status, location = UPLOADS[name]
    before = kept(server)
    check(call(server), status, location)
    assert kept(server) == before


CLOUDS = {"type": "synthetic_softmax", "classes": 3, "features": 2, "rows": 20}


@pytest.mark.parametrize(
    ("source", "location"),
    [
        *(({**CLOUDS, "noise_std": std}, "source.noise_std") for std in (1e308, 1e155, 1e-160, 1e-200, 5e-324)),
        ({**CLOUDS, "separation": 1e308}, "source.separation"),
        ({**CLOUDS, "classes": 1000, "features": 10_000, "rows": 1}, "source.features"),
        ({**LINE, "noise_std": 1e308}, "source.noise_std"),
        ({**LINE, "weights": [1, -1e308]}, "source.weights[1]"),
        ({**LINE, "bias": -1e308}, "source.bias"),
        ({**LINE, "feature_mean": 1e308}, "source.feature_mean"),
        ({**LINE, "feature_std": 1e308}, "source.feature_std"),
        ({**LINE, "weights": [3e38, 3e38], "feature_mean": 3e38}, "row 1, column y"),
    ],
)
def test_a_synthetic_set_beyond_all_numbers_is_refused_where_it_is_asked_for(
    server: RunningServer, source: dict[str, Any], location: str
) -> None:
    check(server.client.post("/datasets?dry_run=true", json={"source": source}), 422, location)


@pytest.mark.parametrize("name", JOBS)
def test_a_bad_job_is_refused_and_not_queued(server: RunningServer, name: str) -> None:
    spec, status, location = JOBS[name]
    before = kept(server)
    check(job(server, **spec), status, location)
    assert kept(server) == before


@pytest.mark.parametrize(("options", "words"), [
    ({"lr_schedule": {}}, "it has to say which one it is, by 'type'"),
    ({"init": {"type": "ones"}}, "there is no 'ones'; use one of 'normal', 'zeros', 'model'"),
])  # fmt: skip
def test_what_is_one_of_several_says_what_is_missing(
    server: RunningServer, options: dict[str, Any], words: str
) -> None:
    (fault,) = job(server, **options).json()["errors"]
    assert words in fault["message"]


@pytest.mark.parametrize("name", INSTANCES)
def test_bad_instances_are_refused_by_row_and_column(server: RunningServer, name: str) -> None:
    instances, location = INSTANCES[name]
    check(predict(server, instances), 422, location)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"),
        ("PATCH", "/datasets/line-of-bad-input"),
        ("POST", "/models/line-of-bad-input/evaluate"),
        ("POST", "/models/line-of-bad-input/predictions"),
        ("PUT", "/models/line-of-bad-input/aliases/best"),
        ("POST", "/v2/repository/index"),
    ],
)
@pytest.mark.parametrize("media_type", [None, "application/x-www-form-urlencoded", "text/csv", "text/json"])
def test_json_under_another_media_type_is_refused_with_what_to_send(
    server: RunningServer, method: str, path: str, media_type: str | None
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    reply = server.client.request(method, path, content=b'{"dataset": "line-of-bad-input"}', headers=headers)
    check(reply, 415, "")
    assert "Content-Type: application/json" in reply.json()["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
def test_every_kind_of_json_is_json(server: RunningServer, media_type: str) -> None:
    spec = json.dumps({"dataset": "line-of-bad-input", "model": "linear"})
    source = json.dumps({"source": LINE})
    for path, body in (("/jobs", spec), ("/datasets", source)):
        reply = server.client.post(f"{path}?dry_run=true", content=body, headers={"Content-Type": media_type})
        assert reply.status_code == 200, reply.text


def test_where_no_body_came_none_has_a_media_type(server: RunningServer) -> None:
    assert server.client.post("/v2/repository/index").status_code == 200
    check(server.client.post("/jobs"), 422, "body")


def test_records_with_an_unknown_column_are_refused(server: RunningServer) -> None:
    reply = server.client.post("/predict", json={"model": "line-of-bad-input", "records": [{"x1": 1, "x2": 2, "z": 3}]})
    check(reply, 422, "row 1, column z")


def test_softmax_outputs_are_refused_for_a_linear_model(server: RunningServer) -> None:
    for asked, location in ({"outputs": ["probabilities"]}, "outputs"), ({"top_k": 1}, "top_k"):
        body = {"model": "line-of-bad-input", "instances": [[1, 2]], **asked}
        check(server.client.post("/predict", json=body), 422, location)


def test_a_job_on_a_deleted_dataset_is_refused(server: RunningServer) -> None:
    dataset = server.create_dataset(LINE)
    assert server.client.delete(f"/datasets/{dataset['id']}").status_code == 204
    assert not (server.data_dir / "datasets" / dataset["id"]).exists()
    check(server.client.post("/jobs", json={"dataset": dataset["id"], "model": "linear"}), 404, "")


def test_a_dataset_that_a_job_needs_is_not_deleted(server: RunningServer) -> None:
    dataset = server.create_dataset({**LINE, "rows": 20_000})
    slow = {"dataset": dataset["id"], "model": "linear", "epochs": 1_000_000, "batch_size": 1, "learning_rate": 1e-6}
    running = server.client.post("/jobs", json=slow).json()
    check(server.client.delete(f"/datasets/{dataset['id']}"), 409, "")
    assert server.client.post(f"/jobs/{running['id']}/cancel").status_code == 202
    over = server.client.get(f"/jobs/{running['id']}", headers={"Prefer": "wait=10"})
    assert over.json()["status"] == "cancelled"
    assert server.client.delete(f"/datasets/{dataset['id']}").status_code == 204


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/nowhere", "/models/nowhere", "/datasets/nowhere", "/jobs/%00"])
def test_what_is_not_there_is_a_404(server: RunningServer, path: str) -> None:
    check(server.client.get(path), 404, "")


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("GET", "/jobs/", "/jobs"),
        ("POST", "/jobs/", "/jobs"),
        ("GET", "/jobs/latest/history//", "/jobs/latest/history"),
    ],
)
def test_a_slash_too_many_is_told_and_leads_nowhere(server: RunningServer, method: str, path: str, meant: str) -> None:
    reply = server.client.request(method, path)
    assert (reply.status_code, "location" in reply.headers) == (404, False)
    assert reply.json()["detail"] == f"No route has this path, but one has {meant!r}, without the slash at its end."


def test_a_path_that_nothing_has_either_way_is_not_called_one_that_is(server: RunningServer) -> None:
    assert "see /docs" in server.client.get("/nowhere/").json()["detail"]


def test_a_method_that_a_path_does_not_have_is_a_405_that_names_those_it_has(server: RunningServer) -> None:
    reply = server.client.put("/jobs")
    check(reply, 405, "")
    assert reply.headers["allow"] == "GET, HEAD, POST"
    assert server.client.put("/docs").headers["allow"] == "GET, HEAD"


JSON_BODIES = {
    "/predict": {"model": "nobody", "instances": [[1.0]]},
    "/jobs": {"dataset": "nobody", "model": "linear"},
    "/datasets": {"source": {"type": "records", "records": [{"a": 1}]}, "target": "nobody"},
    "/v2/models/nobody/infer": {"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]},
}


@pytest.mark.parametrize("path", JSON_BODIES)
def test_json_is_utf_8_with_a_byte_order_mark_or_without(server: RunningServer, path: str) -> None:
    text, headers = json.dumps(JSON_BODIES[path]), {"Content-Type": "application/json"}
    plain, marked, wide = (
        server.client.post(path, content=text.encode(encoding), headers=headers)
        for encoding in ("utf-8", "utf-8-sig", "utf-16")
    )
    assert "nobody" in plain.text
    assert (marked.status_code, marked.json()["detail"]) == (plain.status_code, plain.json()["detail"])
    check(wide, 422, "body")


@pytest.mark.parametrize("path", ["/datasets", "/models"])
def test_a_form_is_not_read_compressed(server: RunningServer, path: str) -> None:
    for content in (gzip.compress(b"--b--"), b"--b--"):
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
        check(server.client.post(path, content=content, headers=headers), 415, "")


@pytest.mark.parametrize("source", [{}, {"type": "web"}, {"type": None}, {"type": ["records"]}, {**LINE, "type": 3}])
def test_a_source_without_a_type_is_told_which_there_are(server: RunningServer, source: dict[str, Any]) -> None:
    reply = server.client.post("/datasets", json={"source": source})

    assert reply.status_code == 422
    (fault,) = reply.json()["errors"]
    assert fault["location"] == "source.type"
    assert "synthetic_linear, synthetic_softmax or records" in fault["message"]


def test_a_name_that_is_none_is_refused_with_the_rule_for_names(server: RunningServer) -> None:
    body = {"source": LINE, "name": "a b"}

    reply = server.client.post("/datasets", json=body)

    (fault,) = reply.json()["errors"]
    assert fault["location"] == "name"
    assert "letters, digits" in fault["message"]
    assert "^" not in fault["message"]


@pytest.mark.parametrize("path", ["/healthz", "/datasets", "/openapi.json", "/jobs/latest"])
def test_head_has_the_status_and_the_type_of_get_and_leaves_the_connection_usable(
    server: RunningServer, path: str
) -> None:
    server.train(dataset="line-of-bad-input", model="linear")  # the newest job is one that changes no more
    got = server.client.get(path)

    assert got.status_code == 200
    for _ in range(2):
        head = server.client.head(path)
        assert head.content == b""
        assert head.status_code == got.status_code
        assert head.headers.get("content-length") == got.headers.get("content-length")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert server.client.get("/healthz").json() == {"status": "ok"}


def test_a_body_over_the_limit_is_a_413(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small") / "data"
    limits = {"body_limit_mib": 1, "upload_limit_mib": 2, "workers": 0}
    with RunningServer(folder, ready="/healthz", **limits) as small:
        before = kept(small)
        check(csv(small, "a,b\n" + "1,2\n" * 1_000_000), 413, "")
        large = upload(small, file=bytes(3 << 20))
        check(large, 413, "")
        assert "may have 2 MiB" in large.json()["detail"]
        records = [{"text": "x" * 1000} for _ in range(1500)]
        source = small.client.post("/datasets", json={"source": {"type": "records", "records": records}})
        check(source, 413, "")
        assert "may have 1 MiB" in source.json()["detail"]
        check(predict(small, str([[1, 2]] * 300_000)), 413, "")

        def endless() -> Iterator[bytes]:
            for _ in range(200):
                yield b"1,2\n" * 10_000

        with suppress(httpx.TransportError):  # the server may close while the client still sends
            headers = {"Content-Type": "text/csv"}
            check(small.client.post("/datasets", content=endless(), headers=headers), 413, "")
        assert kept(small) == before


def test_a_diverging_job_ends_as_diverged_and_offers_a_rate_that_trains(server: RunningServer) -> None:
    spec = {"dataset": "line-of-bad-input", "model": "linear", "epochs": 20, "batch_size": 10}
    over = server.train(**spec, learning_rate=50.0)
    assert over["status"] == "diverged"
    assert over["error"]["code"] == "diverged"
    assert over["error"]["epoch"] >= 1
    model = server.client.get(f"/models/{over['model_id']}").json()
    assert model["partial"] is True
    weights = server.client.get(f"/models/{over['model_id']}/coefficients").json()["coefficients"]
    assert all(json.dumps(entry["weight"]) not in ("NaN", "Infinity") for entry in weights)
    again = server.train(**spec, learning_rate=over["error"]["learning_rate_to_try"])
    assert again["status"] == "succeeded"
    assert server.history(again)[-1]["train_loss"] < server.history(again)[0]["train_loss"]


def packed(server: RunningServer, path: str, body: Any, encoding: str = "gzip") -> httpx.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    return server.client.post(path, content=gzip.compress(json.dumps(body).encode()), headers=headers)


def test_every_json_body_may_be_compressed_and_no_other_coding_is_passed_over(server: RunningServer) -> None:
    source = {"source": LINE, "name": "line-of-a-packed-body"}
    spec = {"dataset": "line-of-a-packed-body", "model": "linear"}

    assert packed(server, "/datasets", source).status_code == 201
    assert packed(server, "/jobs?dry_run=true", spec).status_code == 200
    assert packed(server, "/models/line-of-bad-input/evaluate", {"dataset": "line-of-bad-input"}).status_code == 200
    for path, body in (("/datasets", source), ("/jobs", spec)):
        assert packed(server, path, body, "br").status_code == 415
    plain = server.client.post("/jobs", json=spec, headers={"Content-Encoding": "gzip"})
    assert (plain.status_code, plain.json()["errors"][0]["location"]) == (422, "body")


def test_a_packed_json_body_has_the_limits_of_a_plain_one(server: RunningServer) -> None:
    reply = packed(server, "/jobs", {"dataset": "x" * (2 << 20), "model": "linear"})

    assert reply.status_code == 413


def test_a_kind_that_is_none_is_named_by_its_column_in_a_form_too(server: RunningServer) -> None:
    fields = {"columns": '{"a.b": "foo", "c": "numeric"}'}
    reply = server.client.post("/datasets", data=fields, files={"file": ("x.csv", b"a.b,c\n1,2\n")})

    check(reply, 422, "columns.a.b")


@pytest.mark.parametrize(
    ("options", "location"),
    [
        ({"solver": "exact", "epochs": 3}, "epochs"),
        ({"loss": "cross_entropy"}, "loss"),
        ({"nesterov": True}, "nesterov"),
        ({"sweep": {}}, "sweep"),
        ({"sweep": {"l2": [0.1]}, "l2": 0.1}, "l2"),
    ],
)
def test_options_that_contradict_each_other_name_the_one_to_change(
    server: RunningServer, options: dict[str, Any], location: str
) -> None:
    check(job(server, **options), 422, location)
