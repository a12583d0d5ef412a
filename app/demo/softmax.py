"""Softmax regression on Fashion-MNIST: ten kinds of clothing told apart from 784 pixels."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app.demo import fashion_mnist
from app.demo.client import Client, Json

SHOWN = 10

SPEC: Json = {
    "model": "softmax",
    "target": "label",
    "solver": "sgd",
    "epochs": 10,
    "batch_size": 256,
    "learning_rate": 0.1,
    "init": {"type": "normal", "mean": 0.0, "std": 0.01},
    "seed": 0,
}
SYNTHETIC: Json = {
    "type": "synthetic_softmax",
    "classes": 3,
    "features": 2,
    "rows": 6000,
    "separation": 2.0,
    "noise_std": 1.0,
    "seed": 0,
}


@dataclass(frozen=True)
class Material:
    """What is trained on: the dataset, how rows are kept aside to test, and where rows to show are."""

    dataset: Json
    validation: Json
    rows: dict[str, str]


def tell(client: Client, console: Console) -> None:
    """Upload, train with a progress bar, tell the accuracy, show ten predictions beside the truth."""
    console.print("\n[bold]2. Softmax regression[/]  Fashion-MNIST, 60 000 + 10 000 images of 28 x 28")
    folder = fashion_mnist.find(console)
    material = _synthetic(client, console) if folder is None else _uploaded(client, console, folder)
    model, accuracy = _train(client, console, material)
    console.print(f"Test accuracy: [bold]{accuracy:.4f}[/]")
    console.print(_comparison(client, model, material))


def _uploaded(client: Client, console: Console, folder: Path) -> Material:
    began = time.monotonic()
    fields = {"name": "fashion-mnist", "class_names": json.dumps(fashion_mnist.CLASSES)}
    with ExitStack() as stack:
        files = {
            file.part: (file.name, stack.enter_context((folder / file.name).open("rb")), "application/gzip")
            for file in fashion_mnist.FILES
        }
        dataset = client.upload("/datasets", fields, files)
    console.print(f"Uploaded {folder} in {time.monotonic() - began:.1f} s.")
    return Material(dataset, {"split": "test"}, {"split": "test"})


def _synthetic(client: Client, console: Console) -> Material:
    console.print("[yellow]Synthetic data takes its place:[/] 6000 points of three classes in the plane.")
    dataset = client.post("/datasets", {"source": SYNTHETIC})
    return Material(dataset, {"fraction": 0.2}, {})


def _train(client: Client, console: Console, material: Material) -> tuple[str, float]:
    """Train while a bar shows each epoch; the model's id and its accuracy on the rows kept aside."""
    spec = {
        **SPEC,
        "dataset": material.dataset["id"],
        "validation": material.validation,
        "model_name": "fashion",
    }
    job = client.post("/jobs", spec)
    accuracy = 0.0
    with _bar(console) as bar:
        task = bar.add_task("epoch", total=spec["epochs"], loss=float("nan"), accuracy=accuracy)
        for epoch in client.epochs(job):
            accuracy = epoch["validation_accuracy"]
            bar.update(task, completed=epoch["epoch"], loss=epoch["train_loss"], accuracy=accuracy)
    return client.model_of(job), accuracy


def _bar(console: Console) -> Progress:
    measures = TextColumn("train loss {task.fields[loss]:.4f}   test accuracy {task.fields[accuracy]:.4f}")
    return Progress(TextColumn("epoch"), BarColumn(30), MofNCompleteColumn(), measures, console=console)


def _comparison(client: Client, model: str, material: Material) -> Table:
    path = f"/datasets/{material.dataset['id']}/rows"
    rows: list[Json] = client.get(path, **material.rows, offset=0, limit=SHOWN)["items"]
    truths = [row.pop("label") for row in rows]
    predictions = client.post("/predict", {"model": model, "records": rows})["predictions"]
    table = Table("row", "predicted", "true", "")
    for number, (predicted, truth) in enumerate(zip(predictions, truths, strict=True)):
        verdict = "[green]right[/]" if predicted == truth else "[red]wrong[/]"
        table.add_row(str(number), str(predicted), str(truth), verdict)
    return table
