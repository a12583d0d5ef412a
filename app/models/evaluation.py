"""Evaluation: how good a model is on the rows of a dataset, and where it is most wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.kinds import Kind, as_numbers
from app.datasets.target_encoding import as_classes, is_quantity
from app.errors import Fault, InvalidRequest
from app.models.prediction import are_finite, softmax
from app.models.predictor import Loaded
from app.models.scan import Block, check, scan
from app.models.weights import Matrix

MOST_WRONG = 10


@dataclass
class Tally:
    """What successive blocks add up to."""

    rows: int = 0
    dropped: int = 0
    y: list[Matrix] = field(default_factory=list)
    outputs: list[Matrix] = field(default_factory=list)
    cross_entropy: float = 0.0
    worst: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    def keep_worst(self, badness: Matrix, positions: NDArray[np.int64], about: Callable[[int], dict[str, Any]]) -> None:
        """Remember the rows that are most wrong, over all blocks."""
        order = np.argsort(-badness, kind="stable")[:MOST_WRONG].tolist()
        found = [(float(badness[i]), -int(positions[i]), about(i)) for i in order if badness[i] > 0]
        self.worst = nlargest(MOST_WRONG, self.worst + found, key=lambda entry: entry[:2])


def evaluate(loaded: Loaded, dataset: Dataset, split: str) -> dict[str, Any]:
    """The metrics of the model on a split; rows without a target are left out and counted."""
    rows = dataset.split(split)
    if rows.start == rows.stop:
        raise InvalidRequest(Fault("split", f"the dataset has no rows in {split!r}"))
    target = loaded.encoding.target
    check(loaded.encoding, dataset)
    _check_target(loaded, dataset)
    tally = Tally()
    add = _add_classes if target.classes is not None else _add_numbers
    for block in scan(loaded.encoding, dataset, rows, list(target.columns)):
        present = np.ones(len(block), bool)
        for name in target.columns:
            present &= block.extra.column(name).is_valid().to_numpy()
        tally.dropped += int((~present).sum())
        if present.any():
            add(loaded, block, present, tally)
            tally.rows += int(present.sum())
    if not tally.rows:
        raise InvalidRequest(Fault("dataset", "the target is missing in every row"))
    metrics = _class_metrics(loaded, tally) if target.classes is not None else _number_metrics(loaded, tally)
    return {
        "rows": tally.rows, "rows_without_target": tally.dropped, **metrics,
        "most_wrong": [about for _, _, about in tally.worst],
    }  # fmt: skip


def scatter(loaded: Loaded, dataset: Dataset, split: str, points: int = 5000) -> tuple[Matrix, Matrix, int]:
    """True and predicted values of a linear model's rows, evenly thinned to about so many, and how many there are."""
    rows = dataset.split(split)
    check(loaded.encoding, dataset)
    _check_target(loaded, dataset)
    tally = Tally()
    for block in scan(loaded.encoding, dataset, rows, list(loaded.encoding.target.columns)):
        present = block.extra.column(0).is_valid().to_numpy()
        _add_numbers(loaded, block, present, tally)
    y, y_hat = np.vstack(tally.y), np.vstack(tally.outputs)
    step = max(1, len(y) // points)
    return y[::step], y_hat[::step], len(y)


def _check_target(loaded: Loaded, dataset: Dataset) -> None:
    for name in loaded.encoding.target.columns:
        if dataset.kinds.get(name) in (None, Kind.ARRAY):
            raise InvalidRequest(Fault("dataset", f"it has no column {name!r}, which is the target"))
        stored = dataset.table([name]).schema.field(0).type
        if loaded.encoding.target.classes is None and not is_quantity(stored):
            raise InvalidRequest(Fault("dataset", f"its column {name!r} is {stored}; the model's target is a number"))


def _outputs(loaded: Loaded, X: Matrix) -> Matrix:
    """Those of rows to predict, in which NaN is a value that no training row had."""
    values = loaded.outputs(X)
    return values if are_finite(values) else loaded.outputs(loaded.encoding.imputed(X)[0])


def _add_numbers(loaded: Loaded, block: Block, present: NDArray[np.bool_], tally: Tally) -> None:
    columns = [as_numbers(block.extra.column(name)).to_numpy() for name in loaded.encoding.target.columns]
    y = np.column_stack(columns)[present]
    y_hat = _outputs(loaded, block.X[present])
    positions = block.first_row + np.flatnonzero(present)
    tally.y.append(y)
    tally.outputs.append(y_hat)
    wrong = np.abs(y - y_hat).sum(axis=1)

    def about(i: int) -> dict[str, Any]:
        target, prediction = (
            values[i].tolist() if len(values[i]) > 1 else float(values[i, 0]) for values in (y, y_hat)
        )
        return {"row": int(positions[i]), "target": target, "prediction": prediction}

    tally.keep_worst(wrong, positions, about)


def _add_classes(loaded: Loaded, block: Block, present: NDArray[np.bool_], tally: Tally) -> None:
    classes = loaded.encoding.target.classes or ()
    texts = as_classes(block.extra.column(0)).filter(pa.array(present))
    codes = pa.compute.index_in(texts, value_set=pa.array(classes, pa.string()))
    if codes.null_count:
        stranger = texts.filter(codes.is_null())[0].as_py()
        raise InvalidRequest(Fault("dataset", f"its target has the class {stranger!r}, which the model does not know"))
    y = codes.to_numpy().astype(np.int64)
    logits = _outputs(loaded, block.X[present])
    probabilities = softmax(logits)
    best = logits.argmax(axis=1)
    positions = block.first_row + np.flatnonzero(present)
    tally.y.append(y)
    tally.outputs.append(logits)
    tally.cross_entropy += _cross_entropy(logits, y)
    # Most confidently wrong: the wrong class that was thought most probable.
    confidence = np.where(best != y, probabilities[np.arange(len(y)), best], 0.0)

    def about(i: int) -> dict[str, Any]:
        chance, own = float(confidence[i]), float(probabilities[i, y[i]])
        said = {"prediction": classes[best[i]], "probability": chance, "probability_of_target": own}
        return {"row": int(positions[i]), "target": classes[y[i]], **said}

    tally.keep_worst(confidence, positions, about)


def _number_metrics(loaded: Loaded, tally: Tally) -> dict[str, Any]:
    y, y_hat = np.vstack(tally.y), np.vstack(tally.outputs)
    names = loaded.encoding.target.columns
    each = {name: _of_numbers(y[:, [i]], y_hat[:, [i]]) for i, name in enumerate(names)} if len(names) > 1 else None
    return {**_of_numbers(y, y_hat), "per_target": each}


def _of_numbers(y: Matrix, y_hat: Matrix) -> dict[str, Any]:
    errors = y_hat - y
    mse = float((errors**2).mean())
    total = float(((y - y.mean(axis=0)) ** 2).sum())
    # The mean of equal numbers need not be that number, but they have no variance to explain.
    r2 = 1 - float((errors**2).sum()) / total if np.ptp(y, axis=0).any() else None
    return {"mse": mse, "rmse": mse**0.5, "mae": float(np.abs(errors).mean()), "r2": r2}


def _cross_entropy(logits: Matrix, y: NDArray[np.int64]) -> float:
    """The sum of log Σ exp(o) − o_y: from logits, since a probability may be too small for a number."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]).sum())


def _class_metrics(loaded: Loaded, tally: Tally) -> dict[str, Any]:
    classes = loaded.encoding.target.classes or ()
    y, logits = np.concatenate(tally.y), np.vstack(tally.outputs)
    count = len(classes)
    confusion = np.bincount(y * count + logits.argmax(axis=1), minlength=count**2).reshape(count, count)
    right = np.diag(confusion)
    found = {
        "cross_entropy": tally.cross_entropy / len(y), "accuracy": float(right.sum() / len(y)),
        "classes": list(classes), "confusion_matrix": confusion.tolist(),
        "per_class": {name: _of_class(confusion, i) for i, name in enumerate(classes)},
    }  # fmt: skip
    return found | ({"roc_auc": roc_auc(y == 1, logits[:, 1] - logits[:, 0])} if count == 2 else {})


def _of_class(confusion: NDArray[np.int64], i: int) -> dict[str, Any]:
    right, support, predicted = int(confusion[i, i]), int(confusion[i].sum()), int(confusion[:, i].sum())
    precision = right / predicted if predicted else 0.0
    recall = right / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def roc_auc(positive: NDArray[np.bool_], score: Matrix) -> float | None:
    """The chance that a positive row has a higher score than a negative one, ties counted half (Mann-Whitney U)."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))
