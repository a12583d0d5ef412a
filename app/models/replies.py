"""Predictions as each media type says them: JSON, CSV, an Arrow stream, or one NumPy array."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import csv

from app.errors import NotAcceptable
from app.models.bodies import ARROW, CSV, NPY
from app.models.explanation import baseline, contribution_names
from app.models.prediction import Answer

JSON = "application/json"


def to_json(answer: Answer) -> bytes:
    """The reply of /predict."""
    return orjson.dumps(answer.to_json(), option=orjson.OPT_SERIALIZE_NUMPY)


def to_table(answer: Answer) -> pa.Table:
    """A row for each row, a column for everything that was asked for, each named for what it is."""
    return pa.table(_columns(answer))


def to_csv(answer: Answer) -> bytes:
    """The table as CSV with a header."""
    sink = io.BytesIO()
    csv.write_csv(to_table(answer), sink)
    return sink.getvalue()


def to_arrow(answer: Answer) -> bytes:
    """The table as an Arrow stream."""
    sink, table = io.BytesIO(), to_table(answer)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def to_npy(answer: Answer) -> bytes:
    """One array: the probabilities, contributions or intervals if one of them was asked for, else the predictions."""
    asked = (answer.probabilities, answer.contributions, answer.intervals, answer.top_k, answer.drift)
    extras = [extra for extra in asked if extra is not None]
    if len(extras) > 1 or any(isinstance(extra, list) for extra in extras):
        raise NotAcceptable("An NPY reply is one array: ask for one of probabilities, contributions and interval.")
    sink = io.BytesIO()
    # Classes become an array of fixed-width text, which needs no pickle.
    np.save(sink, np.asarray(extras[0] if extras else answer.predictions), allow_pickle=False)
    return sink.getvalue()


WRITERS: Mapping[str, Callable[[Answer], bytes]] = {JSON: to_json, CSV: to_csv, ARROW: to_arrow, NPY: to_npy}


def _columns(answer: Answer) -> dict[str, Any]:
    row, names = answer.loaded.row, answer.loaded.output_names
    columns: dict[str, Any] = {}
    if row.kind == "linear" and len(names) > 1:
        columns |= {f"prediction:{name}": answer.predictions[:, j] for j, name in enumerate(names)}
    else:
        columns["prediction"] = pa.array(answer.predictions)
    if answer.intervals is not None:
        for j, name in enumerate(names):
            suffix = f":{name}" if len(names) > 1 else ""
            columns |= {
                f"{end}{suffix}": pa.array(answer.intervals[:, j, i], from_pandas=True)  # null where there is none
                for i, end in enumerate(("low", "high"))
            }
    if answer.probabilities is not None:
        columns |= {f"probability:{name}": answer.probabilities[:, j] for j, name in enumerate(names)}
    return columns | _lists(answer) | _contributions(answer, names)


def _lists(answer: Answer) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for rank in range(len(answer.top_k[0]) if answer.top_k else 0):
        columns[f"top{rank + 1}"] = [row[rank]["class"] for row in answer.top_k or []]
        columns[f"top{rank + 1}_probability"] = [row[rank]["probability"] for row in answer.top_k or []]
    if answer.drift is not None:
        columns["drift"] = ["; ".join(found["feature"] for found in row) for row in answer.drift]
    return columns


def _contributions(answer: Answer, names: list[str]) -> dict[str, Any]:
    if answer.contributions is None:
        return {}
    base, columns = baseline(answer.loaded), {}
    for j, name in enumerate(names):
        suffix = f":{name}" if len(names) > 1 else ""
        columns[f"baseline{suffix}"] = np.full(len(answer.contributions), base[j])
        for i, feature in enumerate(contribution_names(answer.loaded)):
            columns[f"contribution:{feature}{suffix}"] = np.ascontiguousarray(answer.contributions[:, i, j])
    return columns
