"""The Open Inference Protocol v2, spoken by Triton's own client, unchanged, and by hand where it is spoken badly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.running_server import RunningServer


@pytest.fixture(scope="module", autouse=True)
def _models(server: RunningServer, real_data: Path) -> None:
    source = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 200}
    server.create_dataset(source, name="v2-line")
    server.train(dataset="v2-line", model="linear", model_name="v2-line", epochs=20, batch_size=10)
    content = (real_data / "penguins.csv").read_bytes()
    options = {"name": "v2-penguins", "target": "species"}
    server.client.post("/datasets", params=options, content=content, headers={"Content-Type": "text/csv"})
    server.train(dataset="v2-penguins", model="softmax", model_name="v2-penguins", epochs=20)


@pytest.fixture
def client(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield made
    made.close()


def tensor(name: str, values: Any, datatype: str, binary: bool) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def predicted(server: RunningServer, **body: Any) -> dict[str, Any]:
    reply = server.client.post("/predict", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_tritons_client_finds_server_and_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("v2-line")
    assert client.is_model_ready("v2-line", "1")
    assert not client.is_model_ready("v2-line", "99")
    assert client.get_server_metadata()["name"] == "onelayer"
    listed = {(entry["name"], entry["version"], entry["state"]) for entry in client.get_model_repository_index()}
    assert {("v2-line", "1", "READY"), ("v2-penguins", "1", "READY")} <= listed


def test_metadata_name_the_tensors(client: triton.InferenceServerClient) -> None:
    line = client.get_model_metadata("v2-line", "1")
    assert line["versions"] == ["1"]
    assert line["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}]
    assert line["outputs"][0] == {"name": "predict", "datatype": "FP64", "shape": [-1]}
    penguins = client.get_model_metadata("v2-penguins")
    kinds = {tensor["name"]: tensor["datatype"] for tensor in penguins["inputs"]}
    assert (kinds["island"], kinds["bill_length_mm"]) == ("BYTES", "FP64")
    assert [output["name"] for output in penguins["outputs"]][:2] == ["predict", "probabilities"]


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_predicts_a_regression(
    server: RunningServer, client: triton.InferenceServerClient, binary: bool
) -> None:
    X = np.array([[1, 2], [0, 0], [-3, 0.5]], np.float32)
    names = ["predict", "contributions", "baseline", "interval"]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    result = client.infer("v2-line", [tensor("X", X, "FP32", binary)], outputs=outputs, request_id="7")
    said = predicted(server, model="v2-line", instances=X.tolist(), outputs=["contributions", "interval"])
    assert result.get_response()["id"] == "7"
    np.testing.assert_allclose(result.as_numpy("predict"), said["predictions"], rtol=1e-6)
    np.testing.assert_allclose(result.as_numpy("contributions")[:, :, 0], said["contributions"]["values"], rtol=1e-5)
    np.testing.assert_allclose(result.as_numpy("interval")[:, 0], said["intervals"], rtol=1e-5)
    total = result.as_numpy("contributions").sum(axis=1)[:, 0] + result.as_numpy("baseline")
    np.testing.assert_allclose(total, result.as_numpy("predict"), atol=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_predicts_a_table_by_its_columns(
    server: RunningServer, client: triton.InferenceServerClient, binary: bool
) -> None:
    dataset = server.client.get("/datasets/v2-penguins/rows", params={"limit": 50}).json()["items"]
    rows = [row for row in dataset if row["sex"] is not None]
    kinds = {t["name"]: t["datatype"] for t in client.get_model_metadata("v2-penguins")["inputs"]}
    inputs = []
    for name, kind in kinds.items():
        values = [row[name] for row in rows]
        array = np.array(values, np.object_) if kind == "BYTES" else np.array(values, np.float64)
        inputs.append(tensor(name, array, kind, binary))
    result = client.infer("v2-penguins", inputs, request_compression_algorithm="gzip")
    said = predicted(
        server, model="v2-penguins", records=[{name: row[name] for name in kinds} for row in rows],
        outputs=["probabilities"],
    )  # fmt: skip
    classes = [value.decode() if isinstance(value, bytes) else value for value in result.as_numpy("predict")]
    assert classes == said["predictions"]
    np.testing.assert_allclose(result.as_numpy("probabilities"), said["probabilities"], atol=1e-9)


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_asks_for_the_most_probable_classes(
    server: RunningServer, client: triton.InferenceServerClient, binary: bool
) -> None:
    rows = server.client.get("/datasets/v2-penguins/rows", params={"limit": 50}).json()["items"]
    rows = [{name: value for name, value in row.items() if name != "species"} for row in rows if row["sex"] is not None]
    kinds = {t["name"]: t["datatype"] for t in client.get_model_metadata("v2-penguins")["inputs"]}
    types = {"BYTES": np.object_, "FP64": np.float64}
    inputs = [tensor(n, np.array([row[n] for row in rows], types[k]), k, binary) for n, k in kinds.items()]
    asked = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    found = client.infer("v2-penguins", inputs, outputs=asked).as_numpy("probabilities")
    said = predicted(server, model="v2-penguins", records=rows, top_k=2)["top_k"]
    classes = server.client.get("/models/v2-penguins").json()["classes"]
    texts = [[value.decode() if isinstance(value, bytes) else value for value in row] for row in found]
    assert texts == [[f"{c['probability']}:{classes.index(c['class'])}:{c['class']}" for c in row] for row in said]


def test_a_version_answers_for_itself(client: triton.InferenceServerClient) -> None:
    X = tensor("X", np.zeros((1, 2), np.float32), "FP32", binary=True)
    assert client.infer("v2-line", [X], model_version="1").get_response()["model_version"] == "1"
    with pytest.raises(InferenceServerException, match="No model is called 'v2-line:99'"):
        client.infer("v2-line", [X], model_version="99")


X = {"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
BAD: dict[str, tuple[Any, int, str]] = {
    "a shape that its data do not fill": ({"inputs": [{**X, "shape": [2, 2]}]}, 422, "inputs[0].data"),
    "an unknown datatype": ({"inputs": [{**X, "datatype": "FP12"}]}, 422, "inputs[0].datatype"),
    "a shape of truths": ({"inputs": [{**X, "shape": [True, 2]}]}, 422, "inputs[0].shape[0]"),
    "a shape of fractions": ({"inputs": [{**X, "shape": [1.0, 2]}]}, 422, "inputs[0].shape[0]"),
    "a negative shape": ({"inputs": [{**X, "shape": [-1, 2]}]}, 422, "inputs[0].shape"),
    "a wrong width": ({"inputs": [{**X, "shape": [1, 3], "data": [1, 2, 3]}]}, 422, "row 1"),
    "a text for a number": ({"inputs": [{**X, "data": [1.0, "2"]}]}, 422, "inputs[0].data[1]"),
    "a fraction for an integer": (
        {"inputs": [{**X, "datatype": "INT64", "data": [1, 2.5]}]}, 422, "inputs[0].data[1]",
    ),
    "texts as X": ({"inputs": [{**X, "datatype": "BYTES", "data": ["a", "b"]}]}, 422, "inputs[0].datatype"),
    "no inputs": ({"inputs": []}, 422, "inputs"),
    "no rows": ({"inputs": [{**X, "shape": [0, 2], "data": []}]}, 422, "instances"),
    "another name than X": ({"inputs": [{**X, "name": "Z"}]}, 422, "inputs[0].name"),
    "an unknown column": (
        {"inputs": [{**X, "name": n, "shape": [1], "data": [1.0]} for n in ("x1", "Z")]}, 422, "column x2",
    ),
    "an unknown output": ({"inputs": [X], "outputs": [{"name": "logits"}]}, 422, "outputs[0].name"),
    "classes of a regression": (
        {"inputs": [X], "outputs": [{"name": "predict", "parameters": {"classification": 2}}]}, 422,
        "outputs[0].parameters.classification",
    ),
    "no number of classes": (
        {"inputs": [X], "outputs": [{"name": "predict", "parameters": {"classification": True}}]}, 422,
        "outputs[0].parameters.classification",
    ),
    "neither yes nor no": (
        {"inputs": [X], "outputs": [{"name": "predict", "parameters": {"binary_data": "yes"}}]}, 422,
        "outputs[0].parameters.binary_data",
    ),
    "neither yes nor no for all": (
        {"inputs": [X], "parameters": {"binary_data_output": "yes"}}, 422, "parameters.binary_data_output",
    ),
    "an unknown parameter of an output": (
        {"inputs": [X], "outputs": [{"name": "predict", "parameters": {"shared_memory_region": "a"}}]}, 422,
        "outputs[0].parameters.shared_memory_region",
    ),
    "an unknown field": ({"inputs": [X], "seed": 1}, 422, "seed"),
    "bytes that are not there": (
        {"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}, 422,
        "inputs[0].parameters.binary_data_size",
    ),
    "shared memory": (
        {"inputs": [{**X, "parameters": {"shared_memory_region": "a"}}]}, 422, "inputs[0].parameters.shared_memory",
    ),
    "no JSON": ("{", 422, "body"),
    "a boolean among numbers": ({"inputs": [{**X, "data": [1.0, True]}]}, 422, "inputs[0].data[1]"),
    "a number beyond its datatype": (
        {"inputs": [{**X, "datatype": "INT8", "data": [1, 300]}]}, 422, "inputs[0].data[1]",
    ),
    "ragged data": ({"inputs": [{**X, "shape": [2, 2], "data": [[1, 2, 3], [4]]}]}, 422, "inputs[0].data"),
    "data nested beyond measure": (
        '{"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": ' + "[" * 600 + "]" * 600 + "}]}", 422,
        "body",
    ),
    "NaN": (json.dumps({"inputs": [{**X, "data": [1.0, float("nan")]}]}), 422, "row 1, column x2"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tensors_are_refused_in_the_protocols_words_and_ours(server: RunningServer, case: str) -> None:
    body, status, location = BAD[case]
    content = body if isinstance(body, str) else json.dumps(body)
    reply = server.client.post("/v2/models/v2-line/infer", content=content)
    check(reply, status, location)


def check(reply: httpx.Response, status: int, location: str) -> None:
    assert reply.status_code == status, reply.text
    problem = reply.json()
    assert problem["error"] == problem["detail"]
    assert problem["errors"][0]["location"].startswith(location), problem


def test_more_classes_than_there_are_are_refused(server: RunningServer) -> None:
    asked = {"outputs": [{"name": "probabilities", "parameters": {"classification": 9}}]}
    reply = server.client.post("/v2/models/v2-penguins/infer", json={"inputs": [X], **asked})
    check(reply, 422, "outputs[0].parameters.classification")


ELSEWHERE = {
    "no such path": ("GET", "/v2/nothing", {}, 404),
    "no such method": ("DELETE", "/v2/models/v2-line/infer", {}, 405),
    "too large a body": ("POST", "/v2/models/v2-line/infer", {"content": b" " * (65 << 20)}, 413),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_is_refused_outside_a_route_has_an_error_too(server: RunningServer, case: str) -> None:
    method, path, options, status = ELSEWHERE[case]
    reply = server.client.request(method, path, **options)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"] == reply.json()["detail"]
    assert int(reply.headers["Content-Length"]) == len(reply.content)


def test_what_is_refused_elsewhere_has_no_member_of_another_protocol(server: RunningServer) -> None:
    assert "error" not in server.client.get("/v20").json()
    assert "error" not in server.client.get("/models/nobody").json()


def test_tritons_client_reads_what_went_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="No route has this path"):
        client.get_trace_settings()


def test_a_reply_to_head_does_not_announce_the_length_of_another_body(server: RunningServer) -> None:
    for path in ("/v2/models/nobody/infer", "/v2/models/nobody"):
        head, got = server.client.head(path), server.client.get(path)
        assert head.status_code == got.status_code
        assert head.headers.get("content-length") in (None, got.headers["content-length"])


def test_a_model_that_is_not_there_is_a_404_with_an_error(server: RunningServer) -> None:
    reply = server.client.post("/v2/models/nobody/infer", json={"inputs": [X]})
    assert reply.status_code == 404
    assert "nobody" in reply.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "1000000", "9" * 5000])
def test_a_length_of_the_json_that_is_none_is_refused(server: RunningServer, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    reply = server.client.post("/v2/models/v2-line/infer", content=json.dumps({"inputs": [X]}), headers=headers)
    check(reply, 422, "Inference-Header-Content-Length")


def test_a_missing_value_is_null_in_a_column(server: RunningServer) -> None:
    columns = [{"name": name, "shape": [1], "datatype": "FP64", "data": [v]} for name, v in [("x1", None), ("x2", 1.0)]]
    reply = server.client.post("/v2/models/v2-line/infer", json={"inputs": columns})
    said = predicted(server, model="v2-line", records=[{"x1": None, "x2": 1.0}])
    assert reply.json()["outputs"][0]["data"] == pytest.approx(said["predictions"])
