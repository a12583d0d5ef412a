"""Every export predicts what /predict does, on real data: images, a table with missing values, classes of a table."""

import io
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

from tests.export_readers import by_hand, by_pmml, flattened, in_duckdb, in_sqlite
from tests.running_server import RunningServer

NAMES = ["exports-fashion", "exports-housing", "exports-penguins"]
FOLDED = ["exports-housing-folded", "exports-penguins-folded"]
"""The tables once more, with missing-value indicators and rare levels in one column."""
NAMES += FOLDED
ROWS = 400


@pytest.fixture(scope="module")
def trained(server: RunningServer, real_data: Path) -> dict[str, dict[str, Any]]:
    """By model: its resource, some rows of its dataset as records, and what /predict says of them."""
    client, images = server.client, real_data / "fashion-mnist"
    parts = {
        "images": "train-images-idx3-ubyte.gz", "labels": "train-labels-idx1-ubyte.gz",
        "test_images": "t10k-images-idx3-ubyte.gz", "test_labels": "t10k-labels-idx1-ubyte.gz",
    }  # fmt: skip
    files = {part: (images / name).read_bytes() for part, name in parts.items()}
    reply = client.post("/datasets", files=files, data={"name": NAMES[0]})
    assert reply.status_code == 201, reply.text
    tables = [(NAMES[1], "california-housing.csv", "median_house_value"), (NAMES[2], "penguins.csv", "species")]
    for name, file, target in tables:
        content = (real_data / file).read_bytes()
        options = {"name": name, "target": target}
        reply = client.post("/datasets", params=options, content=content, headers={"Content-Type": "text/csv"})
        assert reply.status_code == 201, reply.text
    kinds = dict(zip(NAMES, ["softmax", "linear", "softmax", "linear", "softmax"], strict=True))
    return {name: learned(server, name, kind) for name, kind in kinds.items()}


def learned(server: RunningServer, name: str, kind: str) -> dict[str, Any]:
    dataset, options = name, {"epochs": 2}
    if name in FOLDED:
        dataset, options = name.removesuffix("-folded"), {"missing_indicator": True, "max_categories": 2}
        options |= {"solver": "exact"} if kind == "linear" else {"solver": "lbfgs", "epochs": 5}
    job = server.train(dataset=dataset, model=kind, model_name=name, validation=None, **options)
    assert job["status"] == "succeeded", job["error"]
    model = server.client.get(f"/models/{name}").json()
    items = server.client.get(f"/datasets/{dataset}/rows", params={"limit": ROWS}).json()["items"]
    taken = [feature["name"] for feature in model["features"]]
    records = [{column: row[column] for column in taken} for row in items]
    if name in FOLDED:  # a level that no training row has is one of the rare ones, a null is not
        categories = [feature["name"] for feature in model["features"] if feature["kind"] == "categorical"]
        records += [records[0] | dict.fromkeys(categories, "unseen"), records[0] | dict.fromkeys(categories)]
    outputs = ["probabilities"] if kind == "softmax" else []
    reply = server.client.post("/predict", json={"model": name, "records": records, "outputs": outputs})
    assert reply.status_code == 200, reply.text
    return {**reply.json(), "model": model, "records": records}


def exported(server: RunningServer, name: str, form: str) -> bytes:
    reply = server.client.get(f"/models/{name}/export", params={"format": form})
    assert reply.status_code == 200, reply.text
    assert f'filename="{name}-' in reply.headers["content-disposition"]
    return reply.content


def agree(about: dict[str, Any], predictions: Any, probabilities: Any = None) -> None:
    if about["model"]["kind"] == "linear":
        assert np.ravel(predictions) == pytest.approx(np.array(about["predictions"]), rel=1e-5, abs=1e-5)
    else:
        assert list(predictions) == about["predictions"]
        np.testing.assert_allclose(probabilities, about["probabilities"], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_onnx_takes_raw_columns_and_predicts_the_same(
    server: RunningServer, trained: dict[str, Any], name: str
) -> None:
    about = trained[name]
    session = onnxruntime.InferenceSession(exported(server, name, "onnx"))
    feed = {feature["name"]: column_of(feature, about["records"]) for feature in about["model"]["features"]}
    agree(about, *session.run(None, feed))


def column_of(feature: dict[str, Any], records: list[dict[str, Any]]) -> Any:
    values = [record[feature["name"]] for record in records]
    if feature["kind"] == "array":
        return np.array(values, np.float32)
    if feature["kind"] == "categorical":
        return np.array([["" if value is None else value] for value in values], object)
    return np.array([[math.nan if value is None else value] for value in values], np.float64)


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize("name", NAMES)
def test_sql_predicts_the_same_in_sqlite_and_duckdb(
    server: RunningServer, trained: dict[str, Any], name: str, engine: str
) -> None:
    about = trained[name]
    flat = [flattened(record) for record in about["records"][: some(name)]]
    table = pa.table({column: [row[column] for row in flat] for column in flat[0]})
    query = exported(server, name, "sql").decode()
    found = (in_sqlite if engine == "sqlite" else in_duckdb)(table, query)
    part = {key: about[key][: len(flat)] for key in ("predictions", "probabilities") if key in about}
    classes = about["model"]["classes"] or []
    probabilities = np.array([[row[f"probability:{name}"] for name in classes] for row in found])
    agree({**about, **part}, [row["prediction"] for row in found], probabilities)


def some(name: str) -> int | None:
    """How many rows: images take long where each pixel is a column."""
    return 20 if name == NAMES[0] else None


@pytest.mark.parametrize("name", NAMES)
def test_json_predicts_the_same_in_twenty_lines_of_plain_python(
    server: RunningServer, trained: dict[str, Any], name: str
) -> None:
    document = json.loads(exported(server, name, "json"))
    predict = by_hand()
    outputs = [predict(document, record) for record in trained[name]["records"]]
    if document["classes"] is None:
        agree(trained[name], outputs)
    else:
        best = [document["classes"][max(range(len(p)), key=p.__getitem__)] for p in outputs]
        agree(trained[name], best, outputs)


@pytest.mark.parametrize("name", NAMES)
def test_safetensors_open_in_torch_and_npz_in_numpy(server: RunningServer, trained: dict[str, Any], name: str) -> None:
    import safetensors.torch

    about = trained[name]
    tensors = safetensors.torch.load(exported(server, name, "safetensors"))
    arrays = np.load(io.BytesIO(exported(server, name, "npz")), allow_pickle=False)
    document = json.loads(exported(server, name, "json"))
    X = np.array([design(document, record) for record in about["records"]])
    values = X @ tensors["weights"].numpy() + tensors["bias"].numpy()
    np.testing.assert_array_equal(values, X @ arrays["weights"] + arrays["bias"])
    assert arrays["columns"].tolist() == document["columns"]
    if about["model"]["kind"] == "linear":
        agree(about, values)
    else:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        agree(about, arrays["outputs"][values.argmax(axis=1)], powers / powers.sum(axis=1, keepdims=True))


def design(document: dict[str, Any], record: dict[str, Any]) -> list[float]:
    """The design columns of a record: the identity in place of the weights."""
    width = len(document["columns"])
    identity = [[float(i == j) for j in range(width)] for i in range(width)] if width < 100 else None
    if identity is None:
        return [float(pixel) for value in record.values() for row in value for pixel in row]
    return by_hand()(document | {"weights": identity, "bias": [0.0] * width, "classes": None}, record)


@pytest.mark.parametrize("name", NAMES)
def test_pmml_read_as_the_standard_says_predicts_the_same(
    server: RunningServer, trained: dict[str, Any], name: str
) -> None:
    about = trained[name]
    root = ET.fromstring(exported(server, name, "pmml"))
    values = np.array([by_pmml(root, flattened(record)) for record in about["records"][: some(name)]])
    if about["model"]["kind"] == "linear":
        agree(about, values)
    else:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        part = {key: about[key][: some(name)] for key in ("predictions", "probabilities")}
        names = [about["model"]["classes"][index] for index in values.argmax(axis=1)]
        agree({**about, **part}, names, powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("form", ["safetensors", "json"])
@pytest.mark.parametrize("name", NAMES)
def test_an_exported_model_is_imported_and_predicts_the_same(
    server: RunningServer, trained: dict[str, Any], name: str, form: str
) -> None:
    about, content = trained[name], exported(server, name, form)
    reply = server.client.post("/models", files={"file": content}, data={"name": f"{name}-{form}"})
    assert reply.status_code == 201, reply.text
    imported = reply.json()
    assert reply.headers["location"] == f"/models/{imported['id']}"
    assert (imported["version"], imported["job_id"]) == (1, None)
    assert imported["features"] == about["model"]["features"]
    assert imported["metrics"] == about["model"]["metrics"]
    outputs = ["probabilities"] if imported["kind"] == "softmax" else ["interval"]
    asked = {"records": about["records"][:50], "outputs": ["contributions", "drift", *outputs]}
    first, second = (
        server.client.post("/predict", json={"model": model, **asked}).json() for model in (name, imported["id"])
    )
    assert first.pop("model") != second.pop("model")
    assert first == second
    coefficients = [server.client.get(f"/models/{model}/coefficients").json() for model in (name, imported["id"])]
    assert coefficients[0] == coefficients[1]
    assert coefficients[0]["inference"]["available"] == (name == "exports-housing-folded")


def test_sql_is_right_whatever_the_features_are_called_or_refused(server: RunningServer) -> None:
    client, csv = server.client, {"Content-Type": "text/csv"}
    table = b"_sum,_e0,cls\n1,2,u\n2,3,v\n3,1,u\n4,5,v\n"
    for name, content in (("sql-names", table), ("sql-clash", table.replace(b"_sum", b"Prediction"))):
        params = {"name": name, "target": "cls"}
        assert client.post("/datasets", params=params, content=content, headers=csv).status_code == 201
        server.train(dataset=name, model="softmax", l2=0.01, model_name=name)
    query = client.get("/models/sql-names/export", params={"format": "sql"}).text
    rows = [{"_sum": 1.0, "_e0": 2.0}, {"_sum": 4.0, "_e0": 5.0}]
    expected = client.post(
        "/predict", json={"model": "sql-names", "records": rows, "outputs": ["probabilities"]}
    ).json()

    found = in_sqlite(pa.Table.from_pylist(rows), query)

    assert [row["prediction"] for row in found] == expected["predictions"]
    shares = [[row["probability:u"], row["probability:v"]] for row in found]
    np.testing.assert_allclose(shares, expected["probabilities"], atol=1e-9)
    refused = client.get("/models/sql-clash/export", params={"format": "sql"})
    assert refused.status_code == 422
    assert "Prediction" in refused.json()["detail"]
