"""What an export says about a model beside its numbers: enough to make the model anew from the file."""

from typing import Any

from app.models.predictor import Loaded
from app.models.weights import Matrix

FORMAT = "onelayer-model"
VERSION = 1


def description(loaded: Loaded) -> dict[str, Any]:
    """As JSON: what it is, the encoding of its features, the names of columns and outputs, what its errors mean."""
    row = loaded.row
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "kind": row.kind,
        "name": row.name,
        "version": row.version,
        "target": list(row.target),
        "classes": list(row.classes) if row.classes else None,
        "metrics": row.metrics,
        "partial": row.partial,
        "encoding": loaded.encoding.to_json(),
        "columns": loaded.encoding.names,
        "inference": loaded.coefficient_errors.about,
    }


def statistics(loaded: Loaded) -> dict[str, Matrix]:
    """The tensors beside weights and bias: what the model remembers of its training, and its coefficients' errors."""
    remembered = loaded.statistics.tensors() if loaded.statistics is not None else {}
    return remembered | loaded.coefficient_errors.tensors()
