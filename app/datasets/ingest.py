"""Ingest: what a reader found becomes the files of a dataset, in a folder that is not yet a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from app.datasets.content_hash import array_digest, content_sha256
from app.datasets.dataset import TABLE_FILE, Description
from app.datasets.kinds import DECLARABLE, Kind
from app.datasets.profile import profile_array, profile_table
from app.datasets.readers.content import Content, TypesChanged
from app.datasets.table_writer import TableWriter
from app.errors import Fault, InvalidData, InvalidRequest


@dataclass(frozen=True)
class Choices:
    """What a client may say about a dataset beside its content."""

    target: str | None = None
    columns: Mapping[str, Kind] = field(default_factory=dict)


def ingest(content: Content, folder: Path, choices: Choices) -> Description:
    """Write the content's files into `folder` and describe them."""
    table = _write_table(content, folder, choices.columns)
    array_files = _write_arrays(content.arrays, folder, table.rows)
    profiles = profile_table(folder / TABLE_FILE, choices.columns)
    arrays = [profile_array(name, np.load(folder / file, mmap_mode="r")) for name, file in array_files.items()]
    columns = arrays + profiles
    splits = {"train": table.rows - content.test_rows, "test": content.test_rows}
    digests = table.hash.digests() | {name: array_digest(parts) for name, parts in content.arrays.items()}
    description = Description(
        rows=table.rows,
        sha256=content_sha256(digests, {column["name"]: column["kind"] for column in columns}, splits),
        columns=columns,
        splits=splits,
        target=choices.target or content.target,
        class_names=list(content.class_names) if content.class_names else None,
        truth=dict(content.truth) if content.truth else None,
        format=dict(content.format) if content.format else None,
        array_files=array_files,
    )
    _check_choices(description, choices)
    description.write(folder)
    return description


def _write_table(content: Content, folder: Path, columns: Mapping[str, Kind]) -> TableWriter:
    try:
        return _write_once(content, folder, columns)
    except TypesChanged:
        return _write_once(content, folder, columns)


def _write_once(content: Content, folder: Path, columns: Mapping[str, Kind]) -> TableWriter:
    with TableWriter(folder / TABLE_FILE, columns) as table:
        for batch in content.batches():
            table.write(batch)
        table.finish()
    return table


def _write_arrays(arrays: Mapping[str, tuple[NDArray[Any], ...]], folder: Path, rows: int) -> dict[str, str]:
    """Lay the parts of each array column end to end in a file of its own."""
    files = {}
    for number, (name, parts) in enumerate(arrays.items()):
        files[name] = f"{number}.npy"
        dtype = np.uint8 if parts[0].dtype == np.uint8 else np.float32
        target = open_memmap(folder / files[name], "w+", dtype, (rows, *parts[0].shape[1:]))
        start = 0
        for part in parts:
            target[start : start + len(part)] = part
            start += len(part)
        if dtype is np.float32 and not np.isfinite(target).all():
            raise InvalidData(Fault(f"column {name}", "an element is not a finite number"))
        target.flush()
    return files


def _check_choices(description: Description, choices: Choices) -> None:
    names = [column["name"] for column in description.columns]
    faults = [
        Fault(f"columns.{name}", f"there is no such column; the columns are {', '.join(names[:20])}")
        for name in choices.columns
        if name not in names
    ]
    arrays = [name for name in choices.columns if name in description.array_files]
    faults += [Fault(f"columns.{name}", "an array column stays one") for name in arrays]
    faults += [
        Fault(f"columns.{name}", f"{kind} cannot be declared; use {', '.join(DECLARABLE)}")
        for name, kind in choices.columns.items()
        if kind not in DECLARABLE
    ]
    if choices.target is not None and choices.target not in names:
        faults.append(
            Fault("target", f"there is no column {choices.target!r}; the columns are {', '.join(names[:20])}")
        )
    if faults:
        raise InvalidRequest(faults)
