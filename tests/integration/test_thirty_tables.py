"""Thirty tables as CSV through HTTP, trained with default options alone: each succeeds, and as well as can be.

The tables are those of `tests/unit/training/tables.py`; housing and penguins are the files themselves.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tests.running_server import RunningServer
from tests.unit.training.tables import Table, class_tables, held_out, linear_tables, logistic_accuracy

FILES = {
    "housing": ("california-housing.csv", "median_house_value"),
    "penguins": ("penguins.csv", "species"),
}
"""The tables that are a file, and its target."""


def upload(server: RunningServer, content: bytes, **query: Any) -> str:
    headers = {"Content-Type": "text/csv"}
    reply = server.client.post("/datasets", params=query, content=content, headers=headers)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def csv(X: np.ndarray, y: np.ndarray) -> tuple[bytes, list[str]]:
    """A CSV file with these columns, classes as words; and the names of the targets."""
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    targets = y.reshape(len(y), -1) if y.dtype.kind == "f" else np.char.add("class ", y.astype(str))[:, None]
    columns |= {f"y{j}": targets[:, j] for j in range(targets.shape[1])}
    sink = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns), sink)
    return sink.getvalue(), [name for name in columns if name[0] == "y"]


def made(server: RunningServer, table: Table) -> dict[str, Any]:
    content, targets = csv(*table)
    return {"dataset": upload(server, content), "target": targets[0] if len(targets) == 1 else targets}


def dataset(server: RunningServer, name: str, table: Table, real_data: Path) -> dict[str, Any]:
    if name in FILES:
        file, target = FILES[name]
        return {"dataset": upload(server, (real_data / file).read_bytes()), "target": target}
    return made(server, table)


def succeeded(job: dict[str, Any], name: str) -> dict[str, Any]:
    assert job["status"] == "succeeded", (name, job["error"])
    return job


def least_loss(X: np.ndarray, y: np.ndarray) -> float:
    """The least that ½(ŷ − y)² can be, by NumPy's least squares on standardised features."""
    design = np.column_stack([(X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1), np.ones(len(X))])
    targets = y.reshape(len(y), -1)
    residuals = targets - design @ np.linalg.lstsq(design, targets, rcond=None)[0]
    return float((residuals**2).sum() / 2 / len(X))


def test_sixteen_linear_tables_end_within_a_thousandth_of_least_squares(server: RunningServer, real_data: Path) -> None:
    excess = {}
    for name, table in linear_tables(real_data).items():
        job = succeeded(server.train(model="linear", **dataset(server, name, table, real_data)), name)
        excess[name] = job["metrics"]["train_loss"] / least_loss(*table) - 1
    assert len(excess) == 16
    assert {name: value for name, value in excess.items() if not value <= 1e-3} == {}


def test_fourteen_tables_of_classes_with_l2_end_within_a_hundredth_of_the_optimum(
    server: RunningServer, real_data: Path
) -> None:
    excess = {}
    for name, table in class_tables(real_data).items():
        given = dataset(server, name, table, real_data)
        near = succeeded(server.train(model="softmax", l2=1e-3, optimality_gap=True, **given), name)["optimality"]
        assert near["optimum_gradient_norm"] < 1e-3 * near["gradient_norm"] + 1e-6, name
        excess[name] = near["gap"] / near["optimum"]
    assert len(excess) == 14
    assert {name: value for name, value in excess.items() if not value <= 1e-2} == {}


def test_fourteen_tables_of_classes_predict_rows_held_out_as_well_as_scikit_learn(
    server: RunningServer, real_data: Path
) -> None:
    behind = {}
    for name, table in class_tables(real_data).items():
        scores = []
        for seed in range(3):
            train, test = held_out(*table, seed)
            validation = {"dataset": made(server, test)["dataset"]}
            job = server.train(model="softmax", seed=seed, validation=validation, **made(server, train))
            ours = succeeded(job, name)["metrics"]["validation_accuracy"]
            scores.append(ours - logistic_accuracy(train, test))
        behind[name] = float(np.mean(scores))
    assert len(behind) == 14
    assert {name: value for name, value in behind.items() if not value >= -0.01} == {}
