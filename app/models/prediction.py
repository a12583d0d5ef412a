"""A prediction: rows of the design matrix in, numbers or classes out, with what else the client asked for."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import Fault, InvalidInstances, InvalidRequest
from app.models.explanation import baseline, contribution_names, contributions, drift, intervals, undetermined
from app.models.predictor import Loaded
from app.models.weights import Matrix

_WRITTEN = 16
"""A number costs so many times more to be written as text than to be multiplied."""


@dataclass(frozen=True)
class Wish:
    """What a client wants to know beside the predictions."""

    outputs: frozenset[str] = frozenset()
    top_k: int | None = None
    interval_level: float = 0.95

    def work(self, loaded: Loaded, rows: int) -> int:
        """How many numbers the answer takes, about; those that are told count for what it takes to write them."""
        written = _WRITTEN * len(loaded.output_names) if "contributions" in self.outputs else 0
        return rows * len(loaded.weights.weights) * (1 + written)


PLAIN = Wish()
_PER_ROW = ("predictions", "probabilities", "top_k", "contributions", "intervals", "drift")


@dataclass
class Answer:
    """What a model says of some rows; what was not asked for is None."""

    loaded: Loaded
    predictions: Any
    """Numbers (n,) or (n, targets) of a linear model, the classes as a list of a softmax model."""
    probabilities: Matrix | None = None
    top_k: list[list[dict[str, Any]]] | None = None
    contributions: Matrix | None = None
    """(n, features, outputs)"""
    intervals: Matrix | None = None
    """(n, targets, 2); not a number in rows that have none"""
    drift: list[list[dict[str, Any]]] | None = None

    def to_json(self) -> dict[str, Any]:
        """The reply of /predict. A linear model of one target has no axis for its outputs."""
        reply: dict[str, Any] = {"model": self.loaded.reference, "predictions": self.predictions}
        single = self.loaded.row.kind == "linear" and len(self.loaded.row.target) == 1
        if self.probabilities is not None:
            reply["probabilities"] = self.probabilities
        if self.top_k is not None:
            reply["top_k"] = self.top_k
        if self.contributions is not None:
            base = baseline(self.loaded)
            reply["contributions"] = {
                "features": contribution_names(self.loaded),
                "outputs": self.loaded.output_names,
                "baseline": float(base[0]) if single else base,
                "values": np.ascontiguousarray(self.contributions[:, :, 0]) if single else self.contributions,
            }
        if self.intervals is not None:
            reply["intervals"] = np.ascontiguousarray(self.intervals[:, 0]) if single else self.intervals
        if self.drift is not None:
            reply["drift"] = self.drift
        return reply


def predict(loaded: Loaded, X: NDArray[Any], wish: Wish = PLAIN, first_row: int = 0) -> Answer:
    """What the model says of the rows of a design matrix, before which there were `first_row` others.

    NaN is a value that no training row had; what stands for it is predicted with, but no interval is told of the row.
    """
    values, strange = loaded.outputs(X), None
    if not are_finite(values):  # which tells of NaN in X, too
        X, strange = loaded.encoding.imputed(X)
        values = loaded.outputs(X)
        _check_finite(values, first_row)
    row = loaded.row
    if row.kind == "linear":
        answer = Answer(loaded, values.ravel() if values.shape[1] == 1 else values)
    else:
        classes = row.classes or []
        answer = Answer(loaded, [classes[index] for index in values.argmax(axis=1).tolist()])
    if wish is not PLAIN:
        _complete(answer, X, values, wish, first_row)
        if answer.intervals is not None and strange is not None:
            answer.intervals[strange] = np.nan
    return answer


def _check_finite(values: Matrix, first_row: int, what: str = "its prediction") -> None:
    if are_finite(values):
        return
    beyond = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    message = f"{what} is beyond all numbers"
    raise InvalidInstances([Fault(f"row {first_row + row + 1}", message) for row in beyond[:10].tolist()])


def are_finite(values: NDArray[Any]) -> bool:
    """Whether all are: told by the sum of their squares, unless that is too large itself."""
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def joined(answers: Sequence[Answer]) -> Answer:
    """The answers to successive batches as one."""
    if len(answers) == 1:
        return answers[0]
    parts = {name: [getattr(answer, name) for answer in answers] for name in _PER_ROW}
    return Answer(answers[0].loaded, **{name: _together(values) for name, values in parts.items()})


def _together(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else [row for part in values for row in part]


def check(loaded: Loaded, wish: Wish) -> None:
    """Refuse what a model of this kind cannot say."""
    if loaded.row.kind == "linear":
        if "probabilities" in wish.outputs:
            raise InvalidRequest(Fault("outputs", "probabilities are said of softmax models only"))
        if wish.top_k is not None:
            raise InvalidRequest(Fault("top_k", "classes are named by softmax models only"))
    else:
        if "interval" in wish.outputs:
            raise InvalidRequest(Fault("outputs", "an interval is said of linear models only; ask for probabilities"))
        if wish.top_k is not None and wish.top_k > len(loaded.row.classes or []):
            raise InvalidRequest(Fault("top_k", f"the model has {len(loaded.row.classes or [])} classes"))


def check_level(outputs: Collection[str], is_given: bool) -> None:
    """Refuse the level of an interval that nobody asked for."""
    if is_given and "interval" not in outputs:
        raise InvalidRequest(
            Fault("interval_level", "it applies to an interval; add interval to outputs, or leave it out")
        )


def _complete(answer: Answer, X: NDArray[Any], values: Matrix, wish: Wish, first_row: int) -> None:
    loaded = answer.loaded
    check(loaded, wish)
    if "probabilities" in wish.outputs or wish.top_k is not None:
        probabilities = softmax(values)
        answer.probabilities = probabilities if "probabilities" in wish.outputs else None
        answer.top_k = (
            top(values, probabilities, loaded.row.classes or [], wish.top_k) if wish.top_k is not None else None
        )
    if "contributions" in wish.outputs:
        answer.contributions = contributions(loaded, X)
        _check_finite(answer.contributions, first_row, "a contribution")
    if "interval" in wish.outputs:
        answer.intervals = np.stack(intervals(loaded, X, values, wish.interval_level), axis=2)
        _check_finite(answer.intervals, first_row, "its interval")
        answer.intervals[undetermined(loaded, X)] = np.nan
    if "drift" in wish.outputs:
        answer.drift = drift(loaded, X)


def softmax(logits: Matrix) -> Matrix:
    """P = exp(o) / Σ exp(o), from logits minus their row maximum, so that nothing overflows (d2l §4.1).

    Shapes:  logits (n, k) → (n, k), rows sum to 1
    """
    with np.errstate(over="ignore", under="ignore"):  # a difference beyond all numbers is a probability of 0
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def top(logits: Matrix, probabilities: Matrix, classes: Sequence[str], count: int) -> list[list[dict[str, Any]]]:
    """Of each row the `count` most probable classes, most probable first; logits tell equal probabilities apart."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(probabilities, order, axis=1).tolist()
    return [
        [{"class": classes[index], "probability": value} for index, value in zip(row, values, strict=True)]
        for row, values in zip(order.tolist(), best, strict=True)
    ]
