"""Explained predictions: contributions that sum up, intervals that cover, and features that training never saw."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from tests.running_server import RunningServer

NOISE: dict[str, Any] = {"type": "synthetic_linear", "weights": [2, -3.4, 0.5], "bias": 4.2, "noise_std": 3.0}


@pytest.fixture(scope="module", autouse=True)
def _models(server: RunningServer, real_data: Path) -> None:
    server.create_dataset({**NOISE, "rows": 2000}, name="explained-line")
    full = {"epochs": 200, "batch_size": 2000, "learning_rate": 0.3}
    server.train(dataset="explained-line", model="linear", model_name="explained-line", **full)
    server.train(dataset="explained-line", model="linear", model_name="explained-penalised", epochs=1, l2=0.1)
    options = {"params": {"name": "explained-penguins", "target": "species"}, "headers": {"Content-Type": "text/csv"}}
    server.client.post("/datasets", content=(real_data / "penguins.csv").read_bytes(), **options)
    server.train(dataset="explained-penguins", model="softmax", model_name="explained-penguins", epochs=20)


def ask(server: RunningServer, **body: Any) -> Any:
    reply = server.client.post("/predict", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def penguins(server: RunningServer, limit: int = 60) -> list[dict[str, Any]]:
    items = server.client.get("/datasets/explained-penguins/rows", params={"limit": limit}).json()["items"]
    return [{name: value for name, value in row.items() if name != "species"} for row in items]


def test_contributions_and_the_baseline_sum_to_the_prediction(server: RunningServer) -> None:
    X = np.random.default_rng(1).normal(size=(20, 3)) * 5
    said = ask(server, model="explained-line", instances=X.tolist(), outputs=["contributions"])
    found = said["contributions"]
    assert (found["features"], found["outputs"]) == (["x1", "x2", "x3"], ["y"])
    np.testing.assert_allclose(found["baseline"] + np.sum(found["values"], axis=1), said["predictions"], atol=1e-9)
    coefficients = server.client.get("/models/explained-line/coefficients").json()["coefficients"]
    mean = server.client.get("/datasets/explained-line").json()["columns"]
    weights, means = [c["weight"] for c in coefficients], [c["mean"] for c in mean[:3]]
    np.testing.assert_allclose(found["values"], (X - means) * weights, atol=1e-4)


def test_contributions_of_a_table_sum_to_the_logits(server: RunningServer) -> None:
    said = ask(
        server, model="explained-penguins", records=penguins(server), outputs=["contributions", "probabilities"]
    )  # fmt: skip
    found = said["contributions"]
    assert found["features"] == list(penguins(server)[0])
    logits = np.array(found["baseline"]) + np.sum(found["values"], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), said["probabilities"], atol=1e-5)


def test_a_missing_number_contributes_nothing(server: RunningServer) -> None:
    row = penguins(server, 1)[0] | {"body_mass_g": None}
    found = ask(server, model="explained-penguins", records=[row], outputs=["contributions"])["contributions"]
    np.testing.assert_allclose(found["values"][0][found["features"].index("body_mass_g")], 0, atol=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_as_many_fresh_draws_as_they_say(server: RunningServer, level: float) -> None:
    generator = np.random.default_rng(5)
    X = generator.normal(size=(20_000, 3))
    y = X @ NOISE["weights"] + NOISE["bias"] + NOISE["noise_std"] * generator.normal(size=len(X))
    said = ask(server, model="explained-line", instances=X.tolist(), outputs=["interval"], interval_level=level)
    low, high = np.array(said["intervals"]).T
    np.testing.assert_allclose((low + high) / 2, said["predictions"], atol=1e-9)
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(level, abs=0.02)


def test_intervals_and_standard_errors_are_those_of_least_squares(server: RunningServer) -> None:
    items = []
    for offset in (0, 1000):
        options = {"limit": 1000, "offset": offset}
        items += server.client.get("/datasets/explained-line/rows", params=options).json()["items"]
    X = np.array([[row["x1"], row["x2"], row["x3"], 1.0] for row in items])
    y = np.array([row["y"] for row in items])
    theta, squares, _, _ = np.linalg.lstsq(X, y, rcond=None)
    variance = squares[0] / (len(y) - 4)
    errors = np.sqrt(np.diag(variance * np.linalg.inv(X.T @ X)))
    found = server.client.get("/models/explained-line/coefficients").json()
    assert found["inference"]["reason"] is None
    own = [*found["coefficients"], *found["bias"]]
    np.testing.assert_allclose([c["weight"] for c in own], theta, atol=1e-3)
    np.testing.assert_allclose([c["standard_error"] for c in own], errors, rtol=1e-3)
    x = np.array([3.0, -2.0, 1.0, 1.0])
    spread = 1.9612 * np.sqrt(variance * (1 + x @ np.linalg.inv(X.T @ X) @ x))
    low, high = ask(server, model="explained-line", instances=[x[:3].tolist()], outputs=["interval"])["intervals"][0]
    assert (high - low) / 2 == pytest.approx(spread, rel=1e-3)


def test_a_penalised_model_says_why_it_has_no_interval(server: RunningServer) -> None:
    body = {"model": "explained-penalised", "instances": [[1, 2, 3]], "outputs": ["interval"]}
    reply = server.client.post("/predict", json=body)
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:onelayer:problem:unsupported")
    reason = server.client.get("/models/explained-penalised/coefficients").json()["inference"]["reason"]
    assert "penalty" in reason
    assert reason in reply.json()["detail"]


def test_drift_names_what_training_never_saw(server: RunningServer) -> None:
    known = penguins(server, 1)[0]
    strange = known | {"bill_length_mm": 10, "body_mass_g": 99_000, "island": "Mars"}
    found = ask(server, model="explained-penguins", records=[known, strange], outputs=["drift"])["drift"]
    assert found[0] == []
    assert [about["feature"] for about in found[1]] == ["island", "bill_length_mm", "body_mass_g"]
    bill, mass = found[1][1:]
    assert [bill["value"], bill["min"], bill["max"]] == [10, 32.1, 59.6]
    assert [mass["value"], mass["min"], mass["max"]] == [99_000, 2700, 6300]
    assert mass["reason"] == "outside the training range 2700 to 6300"


def test_training_rows_themselves_show_no_drift(server: RunningServer) -> None:
    for name in ("explained-line", "explained-penguins"):
        items = server.client.get(f"/datasets/{name}/rows", params={"limit": 1000}).json()["items"]
        taken = [feature["name"] for feature in server.client.get(f"/models/{name}").json()["features"]]
        records = [{column: row[column] for column in taken} for row in items]
        found = ask(server, model=name, records=records, outputs=["drift"])["drift"]
        assert not any(found)


def test_intervals_are_right_where_a_column_is_far_from_zero(server: RunningServer) -> None:
    generator = np.random.default_rng(0)
    t, z = 1.7e9 + generator.normal(size=200), generator.normal(size=200)
    y = 3 * (t - 1.7e9) + z + generator.normal(size=200)
    table = "t,z,y\n" + "\n".join(f"{a!r},{b!r},{c!r}" for a, b, c in np.column_stack([t, z, y]).tolist())
    options = {"params": {"name": "explained-times", "target": "y"}, "headers": {"Content-Type": "text/csv"}}
    assert server.client.post("/datasets", content=table.encode(), **options).status_code == 201
    job = {"dataset": "explained-times", "model": "linear", "solver": "exact", "model_name": "explained-times"}
    server.train(**job)
    rows = np.column_stack([t, z])[:50]
    said = ask(server, model="explained-times", instances=rows.tolist(), outputs=["interval", "drift"])

    design = sm.add_constant(np.column_stack([t - 1.7e9, z]))
    theirs = sm.OLS(y, design).fit().get_prediction(design[:50]).conf_int(obs=True, alpha=0.05)
    np.testing.assert_allclose(said["intervals"], theirs, atol=1e-4)
    assert not any(said["drift"])


def test_rows_of_an_unscaled_training_show_no_drift_either(server: RunningServer) -> None:
    values = 100 + np.random.default_rng(0).random(300)
    table = "c,x,y\n" + "\n".join(f"0.1,{x!r},{2 * x!r}" for x in values.tolist())
    options = {"params": {"name": "explained-unscaled", "target": "y"}, "headers": {"Content-Type": "text/csv"}}
    assert server.client.post("/datasets", content=table.encode(), **options).status_code == 201
    job = {"dataset": "explained-unscaled", "model": "linear", "solver": "exact", "standardize": False}
    server.train(**job, model_name="explained-unscaled")
    instances = [[0.1, x] for x in values.tolist()]
    assert not any(ask(server, model="explained-unscaled", instances=instances, outputs=["drift"])["drift"])
    (strange,) = ask(server, model="explained-unscaled", instances=[[0.11, 100.5]], outputs=["drift"])["drift"]
    assert [stray["feature"] for stray in strange] == ["c"]
