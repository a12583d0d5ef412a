"""What a client may have meant by a field that does not exist."""

import pytest

from app.jobs.spec import Spec
from app.suggestion import field_like


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("learning_rte", "learning_rate"),
        ("learningRate", "learning_rate"),
        ("num_epochs", "epochs"),
        ("patiance", "patience"),  # within early_stopping
        ("colour", None),
        ("", None),
        ("epochs" * 100, None),
    ],
)
def test_the_name_most_like_it_is_suggested(written: str, meant: str | None):
    assert field_like(written, Spec) == meant
