"""Softmax regression on the real Fashion-MNIST, as in the text."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from tests.unit.training.reference import epochs


def _split(folder: Path, name: str) -> Rows:
    images = np.frombuffer(gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes()), np.uint8)
    labels = np.frombuffer(gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes()), np.uint8)
    return Rows(images[16:].reshape(-1, 784), labels[8:].astype(np.int32), 1 / 255)


@pytest.fixture(scope="module")
def fashion(real_data: Path) -> Problem:
    folder = real_data / "fashion-mnist"
    return Problem(_split(folder, "train"), _split(folder, "t10k"), 10)


def test_ten_epochs_reach_what_the_text_reports(fashion: Problem) -> None:
    last = epochs(fashion, Hyperparameters(model="softmax", epochs=10, batch_size=256, learning_rate=0.1))[-1]
    assert last.train_loss < 0.5
    assert (last.train_accuracy or 0) > 0.83
    assert (last.validation_accuracy or 0) > 0.81


def test_momentum_and_a_falling_rate_reach_the_best_known_accuracy(fashion: Problem) -> None:
    given = Hyperparameters(
        model="softmax", epochs=10, batch_size=256, learning_rate=0.1, momentum=0.9, lr_schedule={"type": "linear"}
    )
    assert (epochs(fashion, given)[-1].validation_accuracy or 0) >= 0.842


def test_the_automatic_rate_trains_images(fashion: Problem) -> None:
    last = epochs(fashion, Hyperparameters(model="softmax", epochs=3, batch_size=256))[-1]
    assert (last.validation_accuracy or 0) > 0.75
