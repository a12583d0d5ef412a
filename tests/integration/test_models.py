"""Models over HTTP: aliases, import, evaluation, pictures, and batch predictions."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
    server.create_dataset(LINE, name="models-line")
    server.create_dataset(BLOBS, name="models-blobs")
    for rate in (0.01, 0.1):
        server.train(dataset="models-line", model="linear", model_name="models-line", epochs=30, learning_rate=rate)
    server.train(dataset="models-blobs", model="softmax", model_name="models-blobs", epochs=10)


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
    assert seen == known


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


def test_a_model_whose_files_are_going_is_not_found(server: RunningServer) -> None:
    job = server.train(dataset="models-line", model="linear", epochs=1)
    folder = server.data_dir / "models" / job["model_id"]
    folder.rename(folder.with_name("away"))  # as a deletion does, in the moment after the row was read
    reply = server.client.post("/predict", json={"model": job["model_id"], "instances": [[1, 2]]})
    folder.with_name("away").rename(folder)
    assert (reply.status_code, reply.json()["type"]) == (404, "urn:onelayer:problem:model-not-found")


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


# ── evaluation and pictures ──────────────────────────────────────────────────────────────────────────────────────────


def rows(server: RunningServer, dataset: str, target: str) -> tuple[list[list[float]], list[Any]]:
    items = server.client.get(f"/datasets/{dataset}/rows", params={"limit": 1000}).json()["items"]
    return [[value for name, value in row.items() if name != target] for row in items], [row[target] for row in items]


def test_a_classifier_is_measured_as_scikit_learn_measures_it(server: RunningServer) -> None:
    X, y = rows(server, "models-blobs", "label")
    body = {"model": "models-blobs", "instances": X, "outputs": ["probabilities"]}
    said = server.client.post("/predict", json=body).json()
    found = server.client.post("/models/models-blobs/evaluate", json={"dataset": "models-blobs"}).json()
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
    X, y = rows(server, "models-line", "y")
    said = server.client.post("/predict", json={"model": "models-line", "instances": X}).json()["predictions"]
    found = server.client.post("/models/models-line/evaluate", json={"dataset": "models-line", "split": "all"}).json()
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(y, said))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, said))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, said))
    errors = np.abs(np.array(y) - said)
    assert [row["row"] for row in found["most_wrong"]] == np.argsort(-errors)[:10].tolist()


@pytest.mark.parametrize(
    ("model", "body", "location"),
    [
        ("models-line", {"dataset": "models-blobs"}, "dataset"),
        ("models-line", {"dataset": "models-line", "split": "test"}, "split"),
        ("models-line", {"dataset": "models-line", "split": "best"}, "split"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    server: RunningServer, model: str, body: dict[str, Any], location: str
) -> None:
    reply = server.client.post(f"/models/{model}/evaluate", json=body)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (422, location)


@pytest.mark.parametrize("kind", ["image/svg+xml", "image/png"])
@pytest.mark.parametrize("model", ["models-line", "models-blobs"])
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


# ── batch predictions ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dataset_is_predicted_as_a_job_and_downloads_as_csv_and_parquet(server: RunningServer) -> None:
    X, _ = rows(server, "models-blobs", "label")
    body = {"dataset": "models-blobs", "outputs": ["probabilities"], "columns": ["x1", "label"]}
    reply = server.client.post("/models/models-blobs/predictions", json=body, headers={"Prefer": "wait=30"})
    assert reply.status_code == 200, reply.text
    job = reply.json()
    assert (job["kind"], job["status"], job["progress"]["fraction"]) == ("predict", "succeeded", 1.0)
    asked = {"model": "models-blobs", "instances": X, "outputs": ["probabilities"]}
    said = server.client.post("/predict", json=asked).json()
    parquet = server.client.get(f"/jobs/{job['id']}/predictions", params={"format": "parquet"})
    table = pq.read_table(io.BytesIO(parquet.content))
    assert table.column_names[:3] == ["x1", "label", "prediction"]
    assert table["prediction"].to_pylist() == said["predictions"]
    assert table["x1"].to_pylist() == [row[0] for row in X]
    np.testing.assert_allclose(table.column(3).to_numpy(), [p[0] for p in said["probabilities"]], rtol=1e-12)
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
        ({"dataset": "models-line", "outputs": ["probabilities"]}, 422, "outputs"),
        ({"dataset": "models-line", "columns": ["z"]}, 422, "columns[0]"),
        ({"dataset": "models-line", "split": "test"}, 422, "split"),
        ({"dataset": "models-line", "format": "xlsx"}, 422, "format"),
    ],
)
def test_a_batch_that_cannot_be_predicted_is_refused_at_once(
    server: RunningServer, body: dict[str, Any], status: int, location: str | None
) -> None:
    reply = server.client.post("/models/models-line/predictions", json=body)
    assert reply.status_code == status, reply.text
    if location is not None:
        assert reply.json()["errors"][0]["location"] == location


def test_a_job_that_trained_has_no_predictions(server: RunningServer) -> None:
    job = server.train(dataset="models-line", model="linear", epochs=1)
    reply = server.client.get(f"/jobs/{job['id']}/predictions")
    assert (reply.status_code, reply.json()["type"]) == (404, "urn:onelayer:problem:result-not-found")
