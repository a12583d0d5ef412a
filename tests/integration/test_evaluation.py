"""What can be done with a model over HTTP: evaluate it, draw it, and predict whole datasets with it."""

import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 300, "noise_std": 0.5}
BLOBS = {"type": "synthetic_softmax", "classes": 2, "features": 3, "rows": 500, "separation": 1.0, "seed": 3}


@pytest.fixture(scope="module", autouse=True)
def _models(server: RunningServer) -> None:
    server.create_dataset(LINE, name="measured-line")
    server.create_dataset(BLOBS, name="measured-blobs")
    server.train(dataset="measured-line", model="linear", model_name="measured-line", epochs=30)
    server.train(dataset="measured-blobs", model="softmax", model_name="measured-blobs", epochs=10)


def rows(server: RunningServer, dataset: str, target: str) -> tuple[list[list[float]], list[Any]]:
    items = server.client.get(f"/datasets/{dataset}/rows", params={"limit": 1000}).json()["items"]
    return [[value for name, value in row.items() if name != target] for row in items], [row[target] for row in items]


def test_a_classifier_is_measured_as_scikit_learn_measures_it(server: RunningServer) -> None:
    X, y = rows(server, "measured-blobs", "label")
    body = {"model": "measured-blobs", "instances": X, "outputs": ["probabilities"]}
    said = server.client.post("/predict", json=body).json()
    found = server.client.post("/models/measured-blobs/evaluate", json={"dataset": "measured-blobs"}).json()
    classes = found["classes"]
    assert found["rows"] == len(y)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score([str(v) for v in y], said["predictions"]))
    assert found["cross_entropy"] == pytest.approx(metrics.log_loss([str(v) for v in y], said["probabilities"]))
    scores = [p[1] for p in said["probabilities"]]
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score([str(v) == classes[1] for v in y], scores))
    assert found["confusion_matrix"] == metrics.confusion_matrix([str(v) for v in y], said["predictions"]).tolist()
    report = metrics.classification_report([str(v) for v in y], said["predictions"], output_dict=True)
    for name in classes:
        assert found["per_class"][name]["f1"] == pytest.approx(report[name]["f1-score"])
    wrong = [max(p) for p, c, v in zip(said["probabilities"], said["predictions"], y, strict=True) if c != str(v)]
    assert [row["probability"] for row in found["most_wrong"]] == pytest.approx(sorted(wrong, reverse=True)[:10])
    worst = found["most_wrong"][0]
    assert (str(y[worst["row"]]), said["predictions"][worst["row"]]) == (worst["target"], worst["prediction"])


def test_a_regression_is_measured_as_scikit_learn_measures_it(server: RunningServer) -> None:
    X, y = rows(server, "measured-line", "y")
    said = server.client.post("/predict", json={"model": "measured-line", "instances": X}).json()["predictions"]
    found = server.client.post(
        "/models/measured-line/evaluate", json={"dataset": "measured-line", "split": "all"}
    ).json()
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(y, said))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, said))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, said))
    errors = np.abs(np.array(y) - said)
    assert [row["row"] for row in found["most_wrong"]] == np.argsort(-errors)[:10].tolist()


@pytest.mark.parametrize(
    ("model", "body", "location"),
    [
        ("measured-line", {"dataset": "measured-blobs"}, "dataset"),
        ("measured-line", {"dataset": "measured-line", "split": "test"}, "split"),
        ("measured-line", {"dataset": "measured-line", "split": "best"}, "split"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    server: RunningServer, model: str, body: dict[str, Any], location: str
) -> None:
    reply = server.client.post(f"/models/{model}/evaluate", json=body)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (422, location)


@pytest.mark.parametrize("kind", ["image/svg+xml", "image/png"])
@pytest.mark.parametrize("model", ["measured-line", "measured-blobs"])
def test_pictures_are_drawn_in_the_kind_that_is_accepted_and_alike_each_time(
    server: RunningServer, model: str, kind: str
) -> None:
    def draw() -> list[bytes]:
        weights = server.client.get(f"/models/{model}/plot", headers={"Accept": kind})
        body = {"dataset": model}
        found = server.client.post(f"/models/{model}/evaluate", json=body, headers={"Accept": kind})
        assert [weights.headers["content-type"], found.headers["content-type"]] == [kind, kind]
        return [weights.content, found.content]

    first, second = draw(), draw()
    assert first == second
    start = b"\x89PNG" if kind == "image/png" else b"<?xml"
    assert all(picture.startswith(start) and len(picture) > 3000 for picture in first)
    assert server.client.get(f"/models/{model}/plot", headers={"Accept": "image/gif"}).status_code == 406


def test_a_dataset_is_predicted_as_a_job_and_downloads_as_csv_and_parquet(server: RunningServer) -> None:
    X, _ = rows(server, "measured-blobs", "label")
    body = {"dataset": "measured-blobs", "outputs": ["probabilities"], "columns": ["x1", "label"]}
    reply = server.client.post("/models/measured-blobs/predictions", json=body, headers={"Prefer": "wait=30"})
    assert reply.status_code == 200, reply.text
    job = reply.json()
    assert (job["kind"], job["status"], job["progress"]["fraction"]) == ("predict", "succeeded", 1.0)
    asked = {"model": "measured-blobs", "instances": X, "outputs": ["probabilities"]}
    said = server.client.post("/predict", json=asked).json()
    parquet = server.client.get(f"/jobs/{job['id']}/predictions", params={"format": "parquet"})
    table = pq.read_table(io.BytesIO(parquet.content))
    assert table.column_names[:3] == ["x1", "label", "prediction"]
    assert table["prediction"].to_pylist() == said["predictions"]
    assert table["x1"].to_pylist() == [row[0] for row in X]
    np.testing.assert_allclose(table.column(3).to_numpy(), [p[0] for p in said["probabilities"]], rtol=1e-12)
    part = server.client.get(f"/jobs/{job['id']}/predictions", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PAR1")
    text = server.client.get(f"/jobs/{job['id']}/predictions", headers={"Accept": "text/csv"}).text.splitlines()
    assert text[0].startswith('"x1","label","prediction","probability:')
    assert len(text) == 1 + len(X)
    assert server.client.delete(f"/jobs/{job['id']}").status_code == 204
    assert server.client.get(f"/jobs/{job['id']}/predictions").status_code == 404
    assert not (server.data_dir / "predictions" / job["id"]).exists()


@pytest.mark.parametrize(
    ("body", "status", "location"),
    [
        ({"dataset": "nobody"}, 404, None),
        ({"dataset": "measured-line", "outputs": ["probabilities"]}, 422, "outputs"),
        ({"dataset": "measured-line", "columns": ["z"]}, 422, "columns[0]"),
        ({"dataset": "measured-line", "columns": ["y", "x1", "y"]}, 422, "columns[2]"),
        ({"dataset": "measured-line", "split": "test"}, 422, "split"),
        ({"dataset": "measured-line", "format": "xlsx"}, 422, "format"),
    ],
)
def test_a_batch_that_cannot_be_predicted_is_refused_at_once(
    server: RunningServer, body: dict[str, Any], status: int, location: str | None
) -> None:
    reply = server.client.post("/models/measured-line/predictions", json=body)
    assert reply.status_code == status, reply.text
    if location is not None:
        assert reply.json()["errors"][0]["location"] == location


def test_a_batch_is_a_job_like_others_but_none_to_replay(server: RunningServer) -> None:
    body = {"dataset": "measured-line"}
    job = server.client.post("/models/measured-line/predictions", json=body, headers={"Prefer": "wait=30"}).json()
    reply = server.client.post(f"/jobs/{job['id']}/replay")
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:onelayer:problem:job-not-replayable")
    assert server.client.get(f"/jobs/{job['id']}/history").json()["items"] == []
    assert server.client.get(f"/jobs/{job['id']}/plot").status_code in (200, 404)
    assert "status" in server.client.get(f"/jobs/{job['id']}/events").text


def test_a_job_that_trained_has_no_predictions(server: RunningServer) -> None:
    job = server.train(dataset="measured-line", model="linear", epochs=1)
    reply = server.client.get(f"/jobs/{job['id']}/predictions")
    assert (reply.status_code, reply.json()["type"]) == (404, "urn:onelayer:problem:result-not-found")


def test_what_depends_on_the_accept_header_says_so(server: RunningServer) -> None:
    model, body = "/models/measured-line", {"dataset": "measured-line"}
    for accept in ("application/json", "image/png"):
        reply = server.client.post(f"{model}/evaluate", json=body, headers={"Accept": accept})
        assert (reply.headers["content-type"], reply.headers["vary"]) == (accept, "Accept")
    assert server.client.get(f"{model}/plot").headers["vary"] == "Accept"
    job = server.client.post(f"{model}/predictions", json=body, headers={"Prefer": "wait=30"}).json()["id"]
    for accept in ("text/csv", "application/vnd.apache.parquet"):
        reply = server.client.get(f"/jobs/{job}/predictions", headers={"Accept": accept})
        assert reply.headers["vary"] == "Accept"
