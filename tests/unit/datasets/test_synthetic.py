from dataclasses import fields, replace

import numpy as np
import pytest

from app.datasets.synthetic import LARGEST, LEAST_NOISE_STD, SyntheticLinear, SyntheticSoftmax
from tests.unit.datasets.conftest import Build


def matrix(dataset, prefix: str = "x") -> np.ndarray:
    return np.column_stack([dataset.column(name).to_numpy() for name in dataset.kinds if name.startswith(prefix)])


def test_a_linear_set_is_the_line_that_its_truth_tells_and_some_noise(build: Build):
    dataset = build(SyntheticLinear([2, -3.4], 4.2, rows=1000).content())

    truth = dataset.description.truth
    residual = dataset.column("y").to_numpy() - matrix(dataset) @ truth["weights"] - truth["bias"]
    assert list(dataset.kinds) == ["x1", "x2", "y"]
    assert dataset.description.target == "y"
    assert (truth["weights"], truth["bias"]) == ([2, -3.4], 4.2)
    assert residual.std() == pytest.approx(0.01, rel=0.1)
    assert abs(residual.mean()) < 0.002


def test_features_have_the_mean_and_spread_that_was_asked_for(build: Build):
    X = matrix(build(SyntheticLinear([1.2, 6.53], 10.3, 5000, feature_mean=2, feature_std=3.4).content()))

    assert X.mean(axis=0) == pytest.approx([2, 2], abs=0.2)
    assert X.std(axis=0) == pytest.approx([3.4, 3.4], rel=0.05)


def test_the_seed_makes_the_data(build: Build):
    recipe = SyntheticLinear([1.0], 0.0, rows=10, seed=3)
    first, same, other = (build(made.content()) for made in (recipe, recipe, replace(recipe, seed=4)))

    assert first.description.sha256 == same.description.sha256 != other.description.sha256


@pytest.mark.parametrize(
    "recipe",
    [
        SyntheticLinear([2.0, -3.4], 4.2, rows=5),
        SyntheticLinear([1.0], 0.5, 5, feature_mean=2.0, feature_std=3.0, noise_std=0.1, seed=7),
        SyntheticSoftmax(3, 2, 5),
        SyntheticSoftmax(3, 2, 5, separation=3.0, noise_std=0.0, seed=7),
    ],
)
def test_a_set_can_be_made_again_from_its_truth(build: Build, recipe: SyntheticLinear | SyntheticSoftmax):
    made = build(recipe.content())

    told = made.description.truth
    again = type(recipe)(**{field.name: told[field.name] for field in fields(recipe)})

    assert again == recipe
    assert build(again.content()).description.sha256 == made.description.sha256


def test_softmax_classes_are_balanced_and_as_far_apart_as_asked(build: Build):
    dataset = build(SyntheticSoftmax(classes=3, features=4, rows=601, separation=5.0).content())

    centres = np.array(dataset.description.truth["centres"])
    distances = [np.linalg.norm(centres[i] - centres[j]) for i in range(3) for j in range(i)]
    counts = [category["count"] for category in dataset.description.columns[-1]["categories"]]
    assert np.mean(distances) == pytest.approx(5.0)
    assert counts == [201, 200, 200]
    assert dataset.description.target == "label"


def test_the_softmax_truth_is_the_best_classifier(build: Build):
    dataset = build(SyntheticSoftmax(classes=3, features=2, rows=3000, separation=3.0).content())

    truth, X = dataset.description.truth, matrix(dataset)
    labels = np.array([int(label) for label in dataset.column("label").to_pylist()])
    by_truth = (X @ np.array(truth["weights"]) + truth["bias"]).argmax(axis=1)
    nearest = ((X[:, None] - np.array(truth["centres"])) ** 2).sum(axis=2).argmin(axis=1)
    assert (by_truth == nearest).all()
    assert (by_truth == labels).mean() > 0.8


@pytest.mark.parametrize("noise_std", [LEAST_NOISE_STD, LARGEST])
@pytest.mark.parametrize("separation", [0.0, 1e-300, LARGEST])
def test_the_truth_of_the_most_extreme_sets_is_made_of_numbers(noise_std: float, separation: float):
    recipe = SyntheticSoftmax(classes=3, features=2, rows=20, separation=separation, noise_std=noise_std)

    truth = recipe.content().truth

    assert truth is not None
    for name in ("centres", "weights", "bias"):
        assert np.isfinite(truth[name]).all(), name
