"""Training options through HTTP: defaults on real tables, solvers, statistics, pre-flight, limits."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
import statsmodels.api as sm
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from tests.running_server import RunningServer


def upload(server: RunningServer, path: Path, **query: str) -> str:
    """Create a dataset from a CSV file."""
    reply = server.client.post(
        "/datasets", params=query, content=path.read_bytes(), headers={"Content-Type": "text/csv"}
    )
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


@pytest.fixture(scope="module")
def housing(server: RunningServer, real_data: Path) -> str:
    return upload(server, real_data / "california-housing.csv", target="median_house_value")


@pytest.fixture(scope="module")
def penguins(server: RunningServer, real_data: Path) -> str:
    return upload(server, real_data / "penguins.csv", target="species")


@pytest.fixture(scope="module")
def plane(server: RunningServer) -> str:
    source = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 300, "noise_std": 0.5, "seed": 1}
    return str(server.create_dataset(source)["id"])


def refused(server: RunningServer, **spec: Any) -> list[dict[str, str]]:
    """The faults for which a job is refused."""
    reply = server.client.post("/jobs", json=spec)
    assert reply.status_code == 422, reply.text
    return list(reply.json()["errors"])


def r2(server: RunningServer, dataset: str, **spec: Any) -> tuple[float, dict[str, Any]]:
    job = server.train(dataset=dataset, model="linear", validation={"fraction": 0.2}, **spec)
    assert job["status"] == "succeeded", job["error"]
    model = server.client.get(f"/models/{job['model_id']}").json()
    return model["metrics"]["validation"]["r2"], job


@pytest.mark.parametrize("options", [{"solver": "exact"}, {"solver": "lbfgs"}, {"standardize": False}], ids=str)
def test_a_target_that_float32_cannot_hold_has_its_slope(server: RunningServer, options: dict[str, Any]) -> None:
    records = [
        {"a": a, "y": y} for a, y in zip([1, 2, 3, 4], [100000001, 100000003, 100000004, 100000007], strict=True)
    ]
    dataset = server.create_dataset({"type": "records", "records": records}, target="y")["id"]
    job = server.train(dataset=dataset, model="linear", **options)
    model = f"/models/{job['model_id']}"
    found = server.client.get(f"{model}/coefficients").json()
    assert found["coefficients"][0]["weight"] == pytest.approx(1.9, rel=0.02)
    evaluated = server.client.post(f"{model}/evaluate", json={"dataset": dataset}).json()
    kept = server.client.get(model).json()["metrics"]["train"]
    assert evaluated["r2"] == pytest.approx(kept["r2"], rel=1e-6)
    assert kept["r2"] > 0.95
    if "solver" in options:
        assert found["bias"][0]["standard_error"] == pytest.approx((0.35 * 1.5) ** 0.5, rel=1e-6)


def test_the_huber_loss_on_house_prices_comes_to_its_optimum(server: RunningServer, housing: str) -> None:
    spec = {"dataset": housing, "model": "linear", "solver": "lbfgs", "loss": "huber"}
    job = server.train(**spec, optimality_gap=True)
    near = job["optimality"]
    assert (near["converged"], near["gap"] < 1e-6 * near["optimum"]) == (True, True)
    assert server.train(**spec, epochs=5)["optimality"]["converged"] is False


def test_a_constant_target_has_no_errors(server: RunningServer) -> None:
    records = [{"a": a, "y": 5} for a in range(6)]
    dataset = server.create_dataset({"type": "records", "records": records}, target="y")["id"]
    job = server.train(dataset=dataset, model="linear", solver="exact")
    inference = server.client.get(f"/models/{job['model_id']}/coefficients").json()["inference"]
    assert (inference["available"], "constant" in inference["reason"]) == (False, True)


def test_house_prices_with_defaults_are_as_good_as_least_squares(server: RunningServer, housing: str) -> None:
    for seed in range(10):
        exact, _ = r2(server, housing, solver="exact", seed=seed)
        ours, job = r2(server, housing, seed=seed)
        assert ours == pytest.approx(exact, abs=0.005)
    assert job["spec"]["precondition"] == "whiten"
    assert 0 < job["spec"]["learning_rate"] < 1
    assert job["spec"]["lr_schedule"]["type"] == "linear"
    assert job["optimality"]["gradient_norm"] > 0


def test_penguins_with_defaults(server: RunningServer, penguins: str) -> None:
    for seed in range(5):
        job = server.train(dataset=penguins, model="softmax", validation={"fraction": 0.3}, seed=seed)
        assert job["status"] == "succeeded", job["error"]
        assert job["metrics"]["validation_accuracy"] >= 0.95


def test_the_exact_solver_has_the_statistics_of_statsmodels(server: RunningServer, plane: str) -> None:
    job = server.train(dataset=plane, model="linear", solver="exact")
    found = server.client.get(f"/models/{job['model_id']}/coefficients").json()
    rows = server.client.get(f"/datasets/{plane}/rows", params={"limit": 500})
    assert found["inference"] == {
        "available": True, "reason": None, "distribution": "t", "degrees_of_freedom": 297, "reference": None,
    }  # fmt: skip
    first = found["coefficients"][0]
    assert first["ci_low"] < 2 < first["ci_high"]
    assert first["p_value"] < 1e-100
    assert first["statistic"] == pytest.approx(first["weight"] / first["standard_error"])
    if rows.status_code == 200:
        table = [[row["x1"], row["x2"], row["y"]] for row in rows.json()["items"]]
        values = np.array(table)
        theirs = sm.OLS(values[:, 2], sm.add_constant(values[:, :2])).fit()
        errors = [found["bias"][0]["standard_error"], *(c["standard_error"] for c in found["coefficients"])]
        np.testing.assert_allclose(errors, theirs.bse, rtol=1e-5)


def test_statistics_are_refused_with_the_reason(server: RunningServer, plane: str) -> None:
    for spec, reason in [({"epochs": 1, "learning_rate": 1e-4}, "steps"), ({"solver": "exact", "l2": 0.1}, "penalty")]:
        job = server.train(dataset=plane, model="linear", **spec)
        found = server.client.get(f"/models/{job['model_id']}/coefficients").json()
        assert not found["inference"]["available"]
        assert reason in found["inference"]["reason"]
        assert found["coefficients"][0]["standard_error"] is None


def test_softmax_by_lbfgs_compares_the_classes_with_the_first(server: RunningServer, penguins: str) -> None:
    features = ["flipper_length_mm", "body_mass_g"]
    job = server.train(dataset=penguins, model="softmax", solver="lbfgs", target="sex", features=features)
    assert job["status"] == "succeeded", job["error"]
    assert job["optimality"]["gradient_norm"] < 1e-6
    found = server.client.get(f"/models/{job['model_id']}/coefficients").json()
    assert found["inference"]["available"], found["inference"]
    assert found["inference"]["distribution"] == "normal"
    reference = found["inference"]["reference"]
    assert all(c["weight"] == 0 and c["p_value"] is None for c in found["coefficients"] if c["output"] == reference)
    assert all(c["p_value"] is not None for c in found["coefficients"] if c["output"] != reference)


def told(server: RunningServer, job: dict[str, Any], features: list[str], output: str | None = None) -> np.ndarray:
    """Weight, standard error and p-value of some features. Shape: (features, 3)."""
    assert job["status"] == "succeeded", job["error"]
    found = server.client.get(f"/models/{job['model_id']}/coefficients").json()
    assert found["inference"]["available"], found["inference"]
    rows = {c["feature"]: c for c in found["coefficients"] if output in (None, c["output"])}
    return np.array([[rows[name][key] for key in ("weight", "standard_error", "p_value")] for name in features])


def test_housing_is_explained_as_by_statsmodels(server: RunningServer, housing: str, real_data: Path) -> None:
    table = pyarrow.csv.read_csv(real_data / "california-housing.csv").to_pandas()
    numbers = [name for name in table if name not in ("ocean_proximity", "median_house_value")]
    design = sm.add_constant(table[numbers].fillna(table[numbers].mean()))
    for level in table["ocean_proximity"].unique():
        design[level] = (table["ocean_proximity"] == level).astype(float)
    with pytest.warns(SingularMatrixWarning):  # the levels of the category sum to the constant
        theirs = sm.OLS(table["median_house_value"], design).fit()
    expected = np.column_stack([theirs.params[numbers], theirs.bse[numbers], theirs.pvalues[numbers]])
    ours = told(server, server.train(dataset=housing, model="linear", solver="exact"), numbers)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-300)


def test_penguins_are_explained_as_by_statsmodels(server: RunningServer, penguins: str, real_data: Path) -> None:
    table = pyarrow.csv.read_csv(real_data / "penguins.csv").to_pandas()
    table = table[table["sex"] != ""]
    numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    job = server.train(dataset=penguins, model="softmax", solver="lbfgs", target="sex", features=numbers)
    classes = sorted(table["sex"].unique())
    theirs = sm.MNLogit((table["sex"] == classes[1]).astype(int), sm.add_constant(table[numbers])).fit(disp=False)
    expected = np.column_stack([theirs.params, theirs.bse, theirs.pvalues])[1:]
    np.testing.assert_allclose(told(server, job, numbers, classes[1]), expected, rtol=1e-4)


def test_training_goes_on_from_a_model(server: RunningServer, housing: str) -> None:
    _, first = r2(server, housing, solver="exact", seed=3)
    given = {"init": {"type": "model", "model": first["model_id"]}, "epochs": 1, "seed": 3, "learning_rate": 1e-6}
    again, job = r2(server, housing, **given)
    exact, _ = r2(server, housing, solver="exact", seed=3)
    assert again == pytest.approx(exact, abs=1e-3)
    assert job["spec"]["init"] == {"type": "model", "model": first["model_id"]}
    faults = refused(server, dataset=housing, model="linear", features=["households"], init=given["init"])
    assert faults[0]["location"] == "init.model"


def test_classes_that_are_not_there_cannot_be_weighted(server: RunningServer, penguins: str) -> None:
    faults = refused(server, dataset=penguins, model="softmax", class_weights={"Emu": 2.0})
    assert faults[0]["location"] == "class_weights.Emu"
    job = server.train(dataset=penguins, model="softmax", class_weights={"Gentoo": 2.0}, epochs=2)
    assert job["status"] == "succeeded", job["error"]


def test_early_stopping_keeps_the_best_epoch(server: RunningServer, penguins: str) -> None:
    spec = {"validation": {"fraction": 0.3}, "early_stopping": {"patience": 2}, "epochs": 500}
    job = server.train(dataset=penguins, model="softmax", learning_rate=5.0, **spec)
    assert job["status"] == "succeeded", job["error"]
    losses = [epoch["validation_loss"] for epoch in server.history(job)]
    assert len(losses) < 500
    assert job["metrics"]["validation_loss"] == min(losses)
    assert job["best_epoch"] == 1 + losses.index(min(losses)) == len(losses) - 2
    model = server.client.get(f"/models/{job['model_id']}").json()
    assert model["metrics"]["validation"]["cross_entropy"] == pytest.approx(min(losses), rel=1e-3)
    faults = refused(
        server, dataset=penguins, model="softmax", early_stopping={"metric": "validation_loss"}, validation=None
    )
    assert faults[0]["location"] == "early_stopping.metric"


def test_a_dry_run_says_what_a_job_would_cost_and_trains_nothing(server: RunningServer, housing: str) -> None:
    before = [job["id"] for job in server.client.get("/jobs").json()["items"]]
    spec = {"dataset": housing, "model": "linear", "validation": {"fraction": 0.2}}
    reply = server.client.post("/jobs", params={"dry_run": "true"}, json=spec)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert (found["rows"], found["validation_rows"], found["features"], found["outputs"]) == (16512, 4128, 14, 1)
    assert found["spec"]["epochs"] == 36
    assert found["device"] == "cpu"
    assert 16512 * 14 * 4 < found["memory_bytes"] < 10_000_000
    assert 0 < found["estimated_seconds"] < 5
    assert [job["id"] for job in server.client.get("/jobs").json()["items"]] == before
    assert refused(server, **{**spec, "target": "nothing"})[0]["location"] == "target"


def test_the_gap_to_the_optimum_is_told_when_asked_and_changes_no_bit(server: RunningServer, penguins: str) -> None:
    spec = {"dataset": penguins, "model": "softmax", "l2": 0.01, "epochs": 3, "learning_rate": 0.05}
    without, job = server.train(**spec), server.train(**spec, optimality_gap=True)
    near = job["optimality"]
    assert without["optimality"]["gap"] is None
    assert near["gap"] == near["objective"] - near["optimum"] > 0.01
    assert near["optimum_gradient_norm"] < 1e-6 < near["gradient_norm"] == without["optimality"]["gradient_norm"]
    weights = [server.client.get(f"/models/{one['model_id']}/coefficients").json() for one in (without, job)]
    assert weights[0]["coefficients"] == weights[1]["coefficients"]
    reply = server.client.post(f"/jobs/{job['id']}/replay", headers={"Prefer": "wait=30"})
    assert reply.json()["replay"]["identical"], reply.text
    solved = server.train(**{**spec, "epochs": 200, "solver": "lbfgs", "learning_rate": "auto"}, optimality_gap=True)
    assert solved["optimality"]["gap"] < 1e-9
    assert solved["optimality"]["optimum"] == pytest.approx(near["optimum"], rel=1e-9)
    faults = refused(
        server, dataset=penguins, model="linear", target="body_mass_g", loss="absolute", optimality_gap=True
    )
    assert "optimality_gap" in faults[0]["message"]


def test_the_gap_of_a_sweep_is_that_of_its_best(server: RunningServer, penguins: str) -> None:
    spec = {"epochs": 20, "sweep": {"learning_rate": [1e-4, 0.1], "l2": [0.02]}, "optimality_gap": True}
    near = server.train(dataset=penguins, model="softmax", **spec)["optimality"]
    alone = server.train(dataset=penguins, model="softmax", solver="lbfgs", l2=0.02, optimality_gap=True)["optimality"]
    assert near["optimum"] == pytest.approx(alone["optimum"], rel=1e-9)
    assert 0 < near["gap"] < 0.1 * near["optimum"]


def test_a_sweep_has_a_curve_for_each_candidate_and_a_leaderboard(server: RunningServer, penguins: str) -> None:
    spec = {"validation": {"fraction": 0.3}, "epochs": 5, "sweep": {"learning_rate": [1e-4, 0.1], "l2": [0.0, 0.01]}}
    job = server.train(dataset=penguins, model="softmax", **spec)
    assert job["status"] == "succeeded", job["error"]
    history = server.history(job)
    assert sorted((row["epoch"], row["candidate"]) for row in history) == [
        (epoch, candidate) for epoch in range(1, 6) for candidate in range(4)
    ]
    best = job["leaderboard"][0]
    assert best["options"]["learning_rate"] == 0.1
    assert best["validation_loss"] == min(line["validation_loss"] for line in job["leaderboard"])
    model = server.client.get(f"/models/{job['model_id']}").json()
    assert model["metrics"]["validation"]["cross_entropy"] == pytest.approx(best["validation_loss"], rel=1e-4)
    replayed = server.client.post(f"/jobs/{job['id']}/replay", headers={"Prefer": "wait=30"}).json()
    assert replayed["replay"] == {"identical": True, "epochs_compared": 5, "differences": []}
    swept = {"dataset": penguins, "model": "softmax", "epochs": 1, "sweep": {"momentum": [0.0, 0.5]}}
    again = server.train(**server.train(**swept)["spec"])
    assert again["status"] == "succeeded", again["error"]
    following = server.client.get(f"/jobs/{job['id']}/history", params={"after_epoch": 3, "limit": 1}).json()
    assert [row["epoch"] for row in following["items"]] == [4, 4, 4, 4]
    assert refused(server, dataset=penguins, model="softmax", sweep={})[0]["location"].startswith("sweep")
