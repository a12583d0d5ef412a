"""Thirty tables that differ in scale, rank, rare categories, outliers and class balance."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from app.training.problem import Problem, Rows

Table = tuple[NDArray[np.float64], NDArray[np.generic]]


def standardised(X: NDArray[np.float64], y: NDArray[np.generic]) -> Problem:
    """The problem as the encoding of a table makes it."""
    std = X.std(axis=0)
    std[std <= 1e-12 * np.maximum(abs(X.mean(axis=0)), 1e-300)] = 1
    features = np.ascontiguousarray((X - X.mean(axis=0)) / std, np.float32)
    if y.dtype.kind == "f":
        targets = y.reshape(len(y), -1)
        return Problem(Rows(features, targets.astype(np.float32)), None, targets.shape[1])
    return Problem(Rows(features, y.astype(np.int32)), None, int(y.max()) + 1)


def held_out(X: NDArray[np.float64], y: NDArray[np.generic], seed: int) -> tuple[Table, Table]:
    """Rows to train on and three tenths to test on, each class in its share."""
    X1, X2, y1, y2 = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
    return (X1, y1), (X2, y2)


def logistic_accuracy(train: Table, test: Table) -> float:
    """That of scikit-learn's LogisticRegression, with its defaults, on standardised features."""
    mean, std = train[0].mean(0), np.where(train[0].std(0) > 0, train[0].std(0), 1)
    fitted = LogisticRegression(max_iter=5000).fit((train[0] - mean) / std, train[1])
    return float(fitted.score((test[0] - mean) / std, test[1]))


def linear_tables(real_data: Path) -> dict[str, Table]:
    """Sixteen for linear regression."""
    diabetes, linnerud = datasets.load_diabetes(return_X_y=True), datasets.load_linnerud(return_X_y=True)
    cancer = datasets.load_breast_cancer(return_X_y=True)[0]
    made: dict[str, Table] = {
        "diabetes": diabetes,
        "linnerud, three targets": linnerud,
        "cancer's area from the rest": (np.delete(cancer, 3, axis=1), cancer[:, 3]),
        "housing": _housing(real_data),
        "friedman 1": datasets.make_friedman1(800, random_state=0),
        "friedman 2": datasets.make_friedman2(800, random_state=0),
        "low rank": datasets.make_regression(500, 30, effective_rank=5, noise=1.0, random_state=0),
        "many rows": datasets.make_regression(20_000, 8, noise=50.0, random_state=1),
    }
    return made | {name: make(np.random.default_rng(5)) for name, make in GENERATED.items()}


def _scales(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (1000, 7)) * 10.0 ** np.arange(-6, 8, 2) + 10.0 ** np.arange(-6, 8, 2)
    return X, (X / X.std(0)) @ g.normal(0, 1, 7) + g.normal(0, 1, 1000)


def _duplicates(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (600, 5))
    X = np.column_stack([X, X[:, :2], X.sum(axis=1), np.full(600, 3.0)])
    return X, X[:, 0] - X[:, 3] + g.normal(0, 0.5, 600)


def _nearly_dependent(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (800, 4))
    X = np.column_stack([X, X[:, 0] + 1e-3 * g.normal(0, 1, 800)])
    return X, 500 * (X[:, 4] - X[:, 0]) + X[:, 1] + g.normal(0, 0.2, 800)


def _rare_categories(g: np.random.Generator) -> Table:
    levels = g.choice(6, 3000, p=[0.6, 0.3, 0.095, 0.003, 0.001, 0.001])
    X = np.column_stack([g.normal(0, 1, (3000, 3)), np.eye(6)[levels], np.zeros(3000)])
    return X, X[:, 0] + levels * 2.0 + g.normal(0, 1, 3000)


def _outliers(g: np.random.Generator) -> Table:
    X = g.standard_t(1.5, (1500, 4))
    return X, X @ g.normal(0, 1, 4) + g.standard_t(2, 1500)


def _one_outlier(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (1000, 3))
    X[17, 1] = 1e6
    return X, X[:, 0] + g.normal(0, 1, 1000)


def _offset_target(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (700, 3))
    return X, 2000.0 + X[:, 0] + g.normal(0, 1, 700)


def _tiny(g: np.random.Generator) -> Table:
    X = g.normal(0, 1, (20, 2))
    return X, 1e-6 * (X[:, 0] + g.normal(0, 1, 20))


GENERATED: dict[str, Callable[[np.random.Generator], Table]] = {
    "columns from 1e-6 to 1e6": _scales,
    "duplicates": _duplicates,
    "nearly dependent": _nearly_dependent,
    "rare categories": _rare_categories,
    "heavy tails": _outliers,
    "one outlier": _one_outlier,
    "target far from zero": _offset_target,
    "twenty rows, tiny target": _tiny,
}


def class_tables(real_data: Path) -> dict[str, Table]:
    """Fourteen for softmax regression."""
    make = datasets.make_classification
    common = {"n_informative": 4, "random_state": 0}
    housing, price = _housing(real_data)
    return {
        "iris": datasets.load_iris(return_X_y=True),
        "wine": datasets.load_wine(return_X_y=True),
        "cancer": datasets.load_breast_cancer(return_X_y=True),
        "digits": datasets.load_digits(return_X_y=True),
        "penguins": _penguins(real_data),
        "housing, dear or not": (housing, (price > 250_000).astype(np.int64)),
        "two classes": make(1000, 10, **common),
        "five classes": make(2000, 12, n_classes=5, **common),
        "imbalanced": make(3000, 8, weights=[0.97], **common),
        "noisy labels": make(2000, 10, flip_y=0.3, **common),
        "redundant": make(1500, 20, n_redundant=10, n_repeated=4, **common),
        "scales": _scaled(make(1500, 7, **common)),
        "outliers": _with_outliers(make(1500, 6, **common)),
        "many rows": make(20_000, 15, n_classes=3, **common),
    }


def _scaled(table: Table) -> Table:
    return table[0] * 10.0 ** np.arange(-6, 8, 2) + 1e3, table[1]


def _with_outliers(table: Table) -> Table:
    X = table[0].copy()
    X[::100] *= 1000
    return X, table[1]


def _housing(real_data: Path) -> Table:
    table = pyarrow.csv.read_csv(real_data / "california-housing.csv")
    return _encoded(table, "median_house_value"), table["median_house_value"].to_numpy().astype(np.float64)


def _penguins(real_data: Path) -> Table:
    table = pyarrow.csv.read_csv(real_data / "penguins.csv")
    return _encoded(table, "species"), table["species"].dictionary_encode().combine_chunks().indices.to_numpy()


def _encoded(table: pyarrow.Table, target: str) -> NDArray[np.float64]:
    """Numbers with the mean for what is missing, and a column for each level of a category."""
    blocks = []
    for name in table.column_names:
        column = table[name].to_numpy(zero_copy_only=False)
        if name == target:
            continue
        if column.dtype.kind in "if":
            numbers = column.astype(np.float64)
            blocks.append(np.where(np.isnan(numbers), np.nanmean(numbers), numbers)[:, None])
        else:
            texts = np.array([str(value) for value in column])
            blocks.append((texts[:, None] == np.unique(texts)).astype(np.float64))
    return np.hstack(blocks)
