"""What an export says about a model beside its numbers: enough to make the model anew from the file."""

from typing import Any

from app.models.predictor import Loaded

FORMAT = "onelayer-model"
VERSION = 1


def description(loaded: Loaded) -> dict[str, Any]:
    """As JSON: what it is, the encoding of its features, the names of the design columns and of the outputs."""
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
    }
