"""The experiments of the chapter, through HTTP, against the numbers that the text reports."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.running_server import RunningServer

SEEDS = range(10)
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
PARTS = {
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


def linear(server: RunningServer, seed: int, source: dict[str, Any], **spec: Any) -> tuple[list[float], dict[str, Any]]:
    """Train on a synthetic set; returns the losses and the parameters."""
    dataset = server.create_dataset({"type": "synthetic_linear", "rows": 1000, "seed": seed, **source})
    job = server.train(dataset=dataset["id"], model="linear", seed=seed, **spec)
    assert job["status"] == "succeeded", job["error"]
    coefficients = server.client.get(f"/models/{job['model_id']}/coefficients").json()
    return [epoch["train_loss"] for epoch in server.history(job)], coefficients


def test_the_first_linear_experiment_has_the_losses_and_parameters_of_the_text(
    server: RunningServer,
) -> None:
    truth = {"weights": [2, -3.4], "bias": 4.2, "noise_std": 0.01}
    expected = [0.0404, 0.000155, 0.000050]
    alike = 0
    for seed in SEEDS:
        losses, found = linear(server, seed, truth, batch_size=10, learning_rate=0.03, epochs=3)
        alike += all(e / 1.5 <= loss <= e * 1.5 for loss, e in zip(losses, expected, strict=True))
        assert max(*found["vs_truth"]["weight_errors"], found["vs_truth"]["bias_error"]) < 2e-3
    assert alike >= 9


@pytest.mark.parametrize(("features", "shown"), [(None, 3), (["x3", "x1"], 2)])
def test_classes_find_the_truth_behind_their_clouds(
    server: RunningServer, features: list[str] | None, shown: int
) -> None:
    source = {"type": "synthetic_softmax", "classes": 3, "features": 3, "rows": 20_000}
    dataset = server.create_dataset(source)
    assert source | {"separation": 2.0, "noise_std": 1.0, "seed": 0} == {
        name: value for name, value in dataset["truth"].items() if name not in ("centres", "weights", "bias")
    }

    job = server.train(dataset=dataset["id"], model="softmax", solver="lbfgs", features=features)
    found = server.client.get(f"/models/{job['model_id']}/coefficients").json()

    assert found["vs_truth"]["reference"] == found["inference"]["reference"] == "0"
    assert list(found["vs_truth"]["per_class"]) == ["1", "2"]
    for about in found["vs_truth"]["per_class"].values():
        assert len(about["weights"]) == shown
        assert max(*about["weight_errors"], about["bias_error"]) < 0.1


def test_the_summed_experiment_ends_at_the_loss_of_the_text(server: RunningServer) -> None:
    # One draw of noise N(0, 0.01²), added twice: standard deviation 0.02, whose square is the loss that remains.
    truth = {"weights": [4.2, 2.0, -3.2], "bias": 2, "noise_std": 0.02}
    lasts = []
    for seed in SEEDS:
        losses, _ = linear(
            server, seed, truth, batch_size=10, learning_rate=0.001, epochs=5, loss="mse",
            gradient_reduction="sum", train_metrics="running", init={"type": "normal", "mean": 0, "std": 1},
        )  # fmt: skip
        lasts.append(losses[-1])
    assert median(lasts) == pytest.approx(4e-4, rel=0.2)


def test_the_batch_1_experiment_finds_the_parameters_of_the_text(server: RunningServer) -> None:
    truth = {"weights": [1.2, 6.53], "bias": 10.3, "noise_std": 0.3, "feature_mean": 2, "feature_std": 3.4}
    for seed in SEEDS:
        _, found = linear(
            server, seed, truth, batch_size=1, learning_rate=0.001, epochs=15,
            init={"type": "normal", "mean": 5, "std": 3.4},
        )  # fmt: skip
        assert max(*found["vs_truth"]["weight_errors"], found["vs_truth"]["bias_error"]) < 0.1


def test_house_prices_with_area_and_age_are_learned_from_records(server: RunningServer) -> None:
    houses = [
        {"area": area, "age": age, "price": 3000.0 * area - 1500.0 * age + 20_000}
        for area in range(40, 200, 10)
        for age in range(0, 50, 5)
    ]
    dataset = server.create_dataset({"type": "records", "records": houses}, target="price")
    job = server.train(dataset=dataset["id"], model="linear", validation={"fraction": 0.2}, epochs=100)
    metrics = server.client.get(f"/models/{job['model_id']}").json()["metrics"]
    assert metrics["validation"]["r2"] > 0.999
    predicted = server.client.post(
        "/predict", json={"model": job["model_id"], "records": [{"area": 100, "age": 10}]}
    ).json()["predictions"][0]
    assert predicted == pytest.approx(305_000, rel=0.02)


def test_the_loss_history_is_that_of_the_same_arithmetic_done_by_pytorch(server: RunningServer) -> None:
    """The concise text: nn.Linear, MSELoss, SGD. Full batches, so that the order of the rows does not matter."""
    import torch

    dataset = server.create_dataset(
        {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 200, "seed": 1}
    )
    rows = server.client.get(f"/datasets/{dataset['id']}/rows", params={"limit": 200}).json()["items"]
    X = torch.tensor([[row["x1"], row["x2"]] for row in rows])
    y = torch.tensor([[row["y"]] for row in rows])
    net = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    trainer, measure = torch.optim.SGD(net.parameters(), lr=0.03), torch.nn.MSELoss()
    expected = []
    for _ in range(20):
        trainer.zero_grad()
        measure(net(X), y).backward()
        trainer.step()
        expected.append(measure(net(X), y).item())
    job = server.train(
        dataset=dataset["id"], model="linear", loss="mse", batch_size=200, epochs=20, learning_rate=0.03,
        init={"type": "zeros"},
    )  # fmt: skip
    assert [epoch["train_loss"] for epoch in server.history(job)] == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def fashion(server: RunningServer, real_data: Path) -> dict[str, Any]:
    """Fashion-MNIST uploaded and trained as the text does it."""
    folder = real_data / "fashion-mnist"
    files = {part: (name, (folder / name).read_bytes()) for part, name in PARTS.items()}
    reply = server.client.post(
        "/datasets", files=files, data={"name": "fashion-of-the-chapter", "class_names": json.dumps(CLASSES)}
    )
    assert reply.status_code == 201, reply.text
    spec = {
        "dataset": "fashion-of-the-chapter",
        "model": "softmax",
        "batch_size": 256,
        "learning_rate": 0.1,
        "epochs": 10,
    }
    job = server.train(**spec, model_name="fashion-of-the-chapter")
    rows = server.client.get("/datasets/fashion-of-the-chapter/rows", params={"split": "test", "limit": 200}).json()[
        "items"
    ]
    reply = server.client.post(
        "/predict", json={"model": "fashion-of-the-chapter", "instances": [row["image"] for row in rows]}
    )
    return {"spec": spec, "job": job, "rows": rows, "reply": reply.json()}


def test_fashion_mnist_comes_out_as_in_the_text(server: RunningServer, fashion: dict[str, Any]) -> None:
    last = server.history(fashion["job"])[-1]
    assert last["epoch"] == 10
    assert last["train_loss"] < 0.5
    assert last["train_accuracy"] > 0.83
    assert last["validation_accuracy"] > 0.81


def test_fashion_mnist_predicts_the_names_of_the_classes(fashion: dict[str, Any]) -> None:
    predicted = fashion["reply"]["predictions"]
    right = sum(row["label"] == name for row, name in zip(fashion["rows"], predicted, strict=True))
    assert set(predicted) <= set(CLASSES)
    assert right / len(predicted) > 0.75


def test_the_same_spec_and_seed_give_the_same_bits(server: RunningServer, fashion: dict[str, Any]) -> None:
    again = server.train(**fashion["spec"], model_name="fashion-again")
    assert again["status"] == "succeeded"

    def measured(job: dict[str, Any]) -> list[dict[str, Any]]:
        return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in server.history(job)]

    assert measured(again) == measured(fashion["job"])
    first, second = (
        (server.data_dir / "models" / job["model_id"] / "weights.safetensors").read_bytes()
        for job in (fashion["job"], again)
    )
    assert first == second
    other = server.train(**fashion["spec"], seed=1)
    assert measured(other) != measured(again)
