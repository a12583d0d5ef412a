"""The Open Inference Protocol v2: which tensors a model takes."""

import numpy as np
import pytest

from app.datasets.feature_encoding import ArrayFeature, Feature
from app.errors import Fault, Unprocessable
from app.models.open_inference import Output, infer
from app.models.predictor import Predictor
from app.models.tensors import Tensor
from tests.unit.models.conftest import TOWN, X1, X2, Add

IMAGE = ArrayFeature("image", (1, 2), pixels=True)


def faults(add: Add, predictor: Predictor, features: list[Feature], names: list[str]) -> list[Fault]:
    """What is wrong with tensors of these names, a row of zeros each."""
    add("m", features=features, weights=np.zeros((sum(2 if f is IMAGE else 1 for f in features), 1)), bias=[0.0])
    tensors = [Tensor(name, "FP64", (1,), np.zeros(1)) for name in names]
    with pytest.raises(Unprocessable) as caught:
        infer(predictor.load("m"), tensors, [Output("predict", as_bytes=False)], 1000)
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("features", "way"),
    [
        ([X1, X2], "a tensor for each column: x1, x2"),
        ([IMAGE], "one image"),
    ],
    ids=["a table", "images"],
)
@pytest.mark.parametrize("name", ["input", "image[0,0]"])
def test_a_tensor_under_another_name_is_told_what_there_is_to_send(
    add: Add, predictor: Predictor, features: list[Feature], way: str, name: str
):
    (fault,) = faults(add, predictor, features, [name])

    said = f"the model has no input {name!r}; send one tensor X of shape [n, 2], or {way}"
    assert fault == Fault("inputs[0].name", said)


def test_a_column_that_is_missing_among_others_is_named(add: Add, predictor: Predictor):
    (fault,) = faults(add, predictor, [X1, X2], ["x1"])

    assert fault.location == "column x2"


def test_an_array_comes_as_one_tensor_and_not_as_one_for_each_element(add: Add, predictor: Predictor):
    (fault,) = faults(add, predictor, [IMAGE, X1], ["image[0,0]", "image[0,1]", "x1"])

    assert fault == Fault("column image", "the model needs it, as one tensor")


def test_a_model_with_categories_names_its_columns(add: Add, predictor: Predictor):
    found = faults(add, predictor, [X1, TOWN], ["input"])

    assert [fault.location for fault in found] == ["column x1", "column town", "column input"]
