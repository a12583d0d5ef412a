"""Where a problem document says that a request is wrong: in the client's own words."""

from typing import Annotated, Any, Literal

import pydantic
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from app import problems
from app.errors import Fault
from app.problems import ProblemDocuments, faults_of
from tests.unit.asgi import call, problem


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["step"]
    gamma: float


class Flat(BaseModel):
    type: Literal["flat"]


class Body(BaseModel):
    """A request such as ours are: no unknown field, and some that depend on each other."""

    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(gt=0)
    rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    layers: list[int] = []
    columns: dict[str, Literal["numeric"]] = {}
    schedule: Annotated[Step | Flat, Field(discriminator="type")] = Flat(type="flat")

    @model_validator(mode="after")
    def _some_depend_on_each_other(self) -> "Body":
        if self.epochs == 13:
            raise ValueError("13 epochs bring bad luck")
        return self


@pytest.fixture(scope="module")
def app() -> ProblemDocuments:
    api = FastAPI(docs_url=None)
    problems.install(api)

    @api.post("/body")
    def body(body: Body, verbose: Annotated[int, Query(ge=0)] = 0) -> Body:
        return body

    return ProblemDocuments(api)


@pytest.mark.parametrize(
    ("body", "location", "message"),
    [
        ({"epochs": 0}, "epochs", "greater than 0"),
        ({"epochs": 1, "epoch": 1}, "epoch", "no such field; did you mean epochs? See /docs"),
        ({"epochs": 1, "schedule": {"type": "step", "gamma": 1, "Gama": 1}}, "schedule.Gama", "did you mean gamma?"),
        ({"epochs": 1, "weather": 1}, "weather", "no such field; see /docs"),
        ({"epochs": 1, "epochs" * 10_000: 1}, "epochs" * 10_000, "no such field; see /docs"),
        ({}, "epochs", "required"),
        ({"epochs": 1, "rate": -1}, "rate", "greater than 0"),
        ({"epochs": 1, "layers": [1, "two"]}, "layers[1]", "integer"),
        ({"epochs": 1, "schedule": {"type": "steep"}}, "schedule", "'step'"),
        ({"epochs": 1, "schedule": "step"}, "schedule", "a JSON object is needed; see /docs for its fields"),
        ({"epochs": 1, "columns": ["age"]}, "columns", "a JSON object is needed; see /docs"),
        ([1], "body", "a JSON object is needed, sent as application/json"),
        ({"epochs": 1, "columns": {"age": "text"}}, "columns.age", "'numeric'"),
        ({"epochs": 1, "columns": {"float": "text"}}, "columns.float", "'numeric'"),
    ],
)
def test_a_fault_of_a_body_names_its_field(app: ProblemDocuments, body: Any, location: str, message: str):
    found = problem(call(app, "POST", "/body", json=body), 422, "invalid-request")

    assert [fault["location"] for fault in found["errors"]] == [location]
    assert message in found["errors"][0]["message"]
    assert found["detail"].startswith(f"{location}: ")


def test_a_field_of_one_of_several_kinds_is_named_as_the_client_wrote_it(app: ProblemDocuments):
    body = {"epochs": 1, "schedule": {"type": "step", "gamma": "x"}}

    found = problem(call(app, "POST", "/body", json=body), 422, "invalid-request")

    assert [fault["location"] for fault in found["errors"]] == ["schedule.gamma"]


def test_a_fault_of_the_query_names_its_parameter(app: ProblemDocuments):
    found = problem(call(app, "POST", "/body?verbose=-1", json={"epochs": 1}), 422, "invalid-request")

    assert [fault["location"] for fault in found["errors"]] == ["verbose"]


@pytest.mark.parametrize(
    "options",
    [
        {"json": {"epochs": 13}},
        {"json": [1]},
        {"content": b'{"epochs": ', "headers": {"Content-Type": "application/json"}},
        {"content": b"", "headers": {"Content-Type": "application/json"}},
    ],
    ids=["fields that contradict each other", "a list", "no JSON", "nothing"],
)
def test_a_fault_of_the_body_as_a_whole_is_located_there(app: ProblemDocuments, options: dict[str, Any]):
    found = problem(call(app, "POST", "/body", **options), 422, "invalid-request")

    assert [fault["location"] for fault in found["errors"]] == ["body"]


class Contradiction(ValueError):
    """As options of a training contradict each other: it says which of them is to be changed."""

    option = "rate"


class Nested(BaseModel):
    inner: int = 1
    rate: float = 1.0

    @model_validator(mode="after")
    def _contradicts(self) -> "Nested":
        raise Contradiction("rate does not go with inner")


class Outer(BaseModel):
    deep: Nested


def test_fields_that_contradict_each_other_are_located_where_the_error_says():
    for kind, body, location in ((Nested, {}, "rate"), (Outer, {"deep": {}}, "deep.rate")):
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(kind).validate_python(body)

        assert list(faults_of(caught.value.errors(), body)) == [Fault(location, "rate does not go with inner")]


def test_a_fault_of_a_body_that_was_read_by_hand_is_located_in_it_too():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Body).validate_python({"epochs": 13})

    assert list(faults_of(caught.value.errors())) == [Fault("body", "13 epochs bring bad luck")]


@pytest.mark.parametrize("field", ["header", "query", "path", "body"])
def test_a_field_that_is_called_like_a_part_of_a_request_is_named(field: str):
    kind = pydantic.create_model("Form", **{field: (bool, ...)})
    with pytest.raises(pydantic.ValidationError) as caught:
        kind.model_validate({field: "perhaps"})

    (fault,) = faults_of(caught.value.errors(), {field: "perhaps"})
    assert fault.location == field


def test_json_inside_a_form_field_is_named_by_its_field():
    kind = pydantic.create_model("Form", columns=(pydantic.Json, ...))
    with pytest.raises(pydantic.ValidationError) as caught:
        kind.model_validate({"columns": "{"})

    (fault,) = faults_of(caught.value.errors(), {"columns": "{"})
    assert fault.location == "columns"
    assert "JSON" in fault.message
