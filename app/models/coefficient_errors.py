"""Coefficient errors on disk: one safetensors file beside the weights, with the reason where there are none."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

ERRORS = "coefficient_errors"
ERRORS_FILE = "statistics.safetensors"
"""Of the coefficients; the statistics of the training rows lie with the weights."""


@dataclass(frozen=True)
class CoefficientErrors:
    """Standard errors of the weights and the bias, in raw units; NaN where a coefficient is not determined.

    degrees    of freedom of Student's t, None for the normal distribution
    reference  the class whose weights are 0, of a softmax model
    reason     why there are no errors
    Shapes:    errors (d + 1, k), bias last
    """

    errors: NDArray[np.float64] | None
    degrees: int | None = None
    reference: str | None = None
    reason: str | None = None

    @property
    def about(self) -> dict[str, Any]:
        """All but the errors, as JSON has it."""
        return {"degrees": self.degrees, "reference": self.reference, "reason": self.reason}

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """The errors by the name that they have in an export."""
        return {} if self.errors is None else {ERRORS: self.errors}

    def save(self, folder: Path) -> None:
        """Write the file into a folder that is being staged."""
        tensors = {} if self.errors is None else {"errors": np.ascontiguousarray(self.errors)}
        save_file(tensors, folder / ERRORS_FILE, metadata={"about": json.dumps(self.about)})

    @classmethod
    def load(cls, folder: Path) -> "CoefficientErrors":
        """Read a model's errors; a model without the file has none."""
        path = folder / ERRORS_FILE
        if not path.is_file():
            return UNTESTED
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            errors = file.get_tensor("errors") if "errors" in file.keys() else None  # noqa: SIM118 — no mapping
        return cls(errors, **about)


UNTESTED = CoefficientErrors(None, reason="no statistics were kept with this model")
"""Of a model that was imported from a file without any."""
