"""Tensors as JSON: nested as their shape says, of their datatype, and within its range."""

from typing import Any

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.models.tensors import Tail, TensorBody, decoded


def tensor(datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    body = TensorBody(name="X", shape=shape or [len(data)], datatype=datatype, data=data)
    return decoded(body, 0, Tail(memoryview(b""))).values


def refusal(datatype: str, data: list[Any], shape: list[int] | None = None) -> str:
    with pytest.raises(InvalidRequest) as raised:
        tensor(datatype, data, shape)
    (fault,) = raised.value.faults
    return f"{fault.location}: {fault.message}"


@pytest.mark.parametrize("datatype", ["INT8", "UINT64", "FP16", "FP64"])
def test_a_boolean_among_numbers_is_refused_by_its_place(datatype: str):
    assert refusal(datatype, [1, True]) == f"inputs[0].data[1]: true is no {datatype}"


def test_a_number_among_booleans_is_refused_by_its_place():
    assert refusal("BOOL", [True, 1]) == "inputs[0].data[1]: 1 is no BOOL"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 300),
        ("UINT8", -3),
        ("INT64", 2**63),
        ("FP16", 1e30),
        ("FP16", 65520),
        ("FP32", 1e39),
        ("FP64", 10**400),
    ],
)
@pytest.mark.parametrize("first", [1, None])
def test_a_number_beyond_the_datatype_is_refused_by_its_place(datatype: str, value: Any, first: int | None):
    said = refusal(datatype, [first, value])

    assert said.startswith("inputs[0].data[1]: ")
    assert said.endswith(f"is beyond the numbers of {datatype}")


def test_what_rounds_to_the_greatest_number_of_the_datatype_is_within_it():
    assert tensor("FP32", [3.4028235e38]) == 3.4028235e38


def test_a_number_that_is_not_finite_is_left_to_those_who_know_its_row():
    assert np.isnan(tensor("FP32", [1.0, float("nan")])[1])


@pytest.mark.parametrize(
    "data", [[[1, 2, 3], [4]], [[1, 2], 3, 4], [[1, 2, 3, 4]], [[[1], [2]], [[3], [4]]], [[1], [2], [3], [4]]]
)
def test_data_that_are_nested_otherwise_than_the_shape_are_refused(data: list[Any]):
    assert refusal("FP32", data, [2, 2]) == (
        "inputs[0].data: nest it as the shape [2, 2] says, or give the values flat"
    )


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_data_are_flat_or_nested(data: list[Any]):
    assert tensor("INT16", data, [2, 2]).tolist() == [[1, 2], [3, 4]]


def test_a_long_text_for_a_number_is_not_sent_back_whole():
    assert len(refusal("FP32", ["x" * 1000])) < 100
