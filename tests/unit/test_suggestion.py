"""What a client may have meant by a field that does not exist."""

import pytest
from pydantic import BaseModel

from app.jobs.spec import Spec
from app.schemas.dataset import DatasetRequest
from app.suggestion import field_like, name_like


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("learning_rte", "learning_rate"),
        ("learningRate", "learning_rate"),
        ("num_epochs", "epochs"),
        ("patiance", None),  # which belongs into early_stopping
        ("colour", None),
        ("", None),
        ("epochs" * 100, None),
    ],
)
def test_the_name_most_like_it_is_suggested(written: str, meant: str | None):
    assert field_like((written,), Spec) == meant


@pytest.mark.parametrize(
    ("way", "kind", "meant"),
    [
        (("early_stopping", "patiance"), Spec, "patience"),
        (("early_stopping", "epochs"), Spec, None),
        (("lr_schedule", "step", "gama"), Spec, "gamma"),
        (("lr_schedule", "constant", "final"), Spec, None),
        (("sweep", "batch_size"), Spec, None),
        (("sweep", "random", "candidate"), Spec, "candidates"),
        (("source", "synthetic_linear", "wieghts"), DatasetRequest, "weights"),
        (("source", "synthetic_linear", "seperation"), DatasetRequest, None),
        (("source", "synthetic_softmax", "seperation"), DatasetRequest, "separation"),
        (("source", "nobody knows", 3, "rows"), DatasetRequest, None),
    ],
)
def test_it_is_one_of_the_object_where_the_field_stands(
    way: tuple[str | int, ...], kind: type[BaseModel], meant: str | None
):
    assert field_like(way, kind) == meant


@pytest.mark.parametrize(
    ("written", "meant"), [("LEASE_SECOND", "LEASE_SECONDS"), ("COLOUR", None), ("", None), ("PORT" * 10_000, None)]
)
def test_of_some_names_the_one_most_like_it_is_suggested(written: str, meant: str | None):
    assert name_like(written, ["PORT", "LEASE_SECONDS", "POLL_SECONDS"]) == meant
