"""The first linear experiment: 1000 rows drawn around a known plane, which minibatch SGD finds again."""

from rich.console import Console
from rich.table import Table

from app.demo.client import Client, Json

WEIGHTS = [2.0, -3.4]
BIAS = 4.2

SOURCE: Json = {
    "type": "synthetic_linear",
    "weights": WEIGHTS,
    "bias": BIAS,
    "rows": 1000,
    "noise_std": 0.01,
    "seed": 0,
}
SPEC: Json = {
    "model": "linear",
    "target": "y",
    "solver": "sgd",
    "epochs": 3,
    "batch_size": 10,
    "learning_rate": 0.03,
    "init": {"type": "normal", "mean": 0.0, "std": 0.01},
    "seed": 0,
}
SAMPLE = [1.0, 2.0]


def tell(client: Client, console: Console) -> None:
    """Create the data, train, compare what was learned with the truth, predict once."""
    console.print("\n[bold]1. Linear regression[/]  y = 2 x1 - 3.4 x2 + 4.2 + noise, 1000 rows")
    dataset = client.post("/datasets", {"source": SOURCE})
    model = _train(client, console, dataset)
    console.print(_comparison(client.get(f"/models/{model}/coefficients")))
    (prediction,) = client.post("/predict", {"model": model, "instances": [SAMPLE]})["predictions"]
    truth = sum(w * x for w, x in zip(WEIGHTS, SAMPLE, strict=True)) + BIAS
    console.print(f"One prediction, for x = {SAMPLE}: {prediction:.4f} (the truth is {truth:.4f}).")


def _train(client: Client, console: Console, dataset: Json) -> str:
    job = client.post("/jobs", {**SPEC, "dataset": dataset["id"]})
    console.print("epoch   train loss")
    for epoch in client.epochs(job):
        console.print(f"{epoch['epoch']:>5}   {epoch['train_loss']:.6f}")
    return client.model_of(job)


def _comparison(learned: Json) -> Table:
    table = Table("parameter", "learned", "true", "difference")
    names = [weight["feature"] for weight in learned["coefficients"]] + ["bias"]
    found = [parameter["weight"] for parameter in learned["coefficients"] + learned["bias"]]
    for name, value, true in zip(names, found, [*WEIGHTS, BIAS], strict=True):
        table.add_row(name, f"{value:.5f}", f"{true:.5f}", f"{value - true:+.5f}")
    return table
