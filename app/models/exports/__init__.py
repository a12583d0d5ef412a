"""Exports: a model as a file that other software runs, one module for each format. Never pickle.

Two of them can be imported again, `safetensors` and `json`: they hold all there is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.models.exports import json, npz, onnx, pmml, safetensors, sql
from app.models.predictor import Loaded


@dataclass(frozen=True)
class Format:
    """How a model is written, and what the file is called."""

    media_type: str
    suffix: str
    write: Callable[[Loaded], bytes]


FORMATS: Mapping[str, Format] = {
    "safetensors": Format("application/octet-stream", "safetensors", safetensors.write),
    "onnx": Format("application/octet-stream", "onnx", onnx.write),
    "json": Format("application/json", "json", json.write),
    "npz": Format("application/x-npz", "npz", npz.write),
    "sql": Format("application/sql", "sql", sql.write),
    "pmml": Format("application/xml", "pmml", pmml.write),
}


def file_name(loaded: Loaded, suffix: str) -> str:
    """What a browser calls the file: names have no character that a header or a file system would mind."""
    row = loaded.row
    return f"{row.name}-{row.version}.{suffix}" if row.name else f"{row.id}.{suffix}"
