"""Ingest: what a reader found becomes the files of a dataset, in a folder that is not yet a dataset."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.datasets.array_writer import ArrayWriter
from app.datasets.bounds import BOUNDLESS, Bounds
from app.datasets.content_hash import content_sha256
from app.datasets.dataset import TABLE_FILE, Description
from app.datasets.kinds import DECLARABLE, Kind, stored_type
from app.datasets.list_arrays import arrays_of, holds_arrays
from app.datasets.literal import literal
from app.datasets.notes import UNNAMED, note
from app.datasets.number_profile import Profile
from app.datasets.profile import profile_array, profile_table, unpredictable
from app.datasets.readers.content import Content, TypesChanged
from app.datasets.table_writer import TableWriter
from app.errors import Fault, InvalidData, InvalidRequest

NAME_LENGTH = 1000
"""Characters of a column's name, at most: the database keeps that of the target, and jobs name the others."""


@dataclass(frozen=True)
class Choices:
    """What a client may say about a dataset beside its content."""

    target: str | None = None
    columns: Mapping[str, Kind] = field(default_factory=dict)


def ingest(content: Content, folder: Path, choices: Choices, bounds: Bounds = BOUNDLESS) -> Description:
    """Write the content's files into `folder` and describe them."""
    declared = {**content.kinds, **choices.columns}
    _check_class_names(content.class_names or ())
    written = _write(content, folder, declared, bounds)
    table, array_files = written.table, written.array_files
    profiles = profile_table(folder / TABLE_FILE, declared)
    arrays = [profile_array(name, np.load(folder / file, mmap_mode="r")) for name, file in array_files.items()]
    columns = arrays + profiles
    _annotate(profiles, content, choices)
    splits = {"train": table.rows - content.test_rows, "test": content.test_rows}
    digests = table.hash.digests() | written.array_digests
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
    _check_choices(description, choices, written.left_out)
    description.write(folder)
    return description


def _check_class_names(names: Sequence[str]) -> None:
    if any("\0" in name for name in names):
        raise InvalidData(Fault("class_names", "a name has a NUL character; remove it"))
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InvalidData(Fault("class_names", f"two classes are named {literal(twice)}; rename one"))


@dataclass(frozen=True)
class _Written:
    """What lies in the folder: the table, and a file for each array column."""

    table: TableWriter
    array_files: dict[str, str]
    array_digests: dict[str, bytes]
    left_out: frozenset[str]
    """Columns that no kind holds, and that are not wanted."""


def _write(content: Content, folder: Path, columns: Mapping[str, Kind], bounds: Bounds) -> _Written:
    try:
        return _write_once(content, folder, columns, bounds)
    except TypesChanged:
        return _write_once(content, folder, columns, bounds)


def _write_once(content: Content, folder: Path, columns: Mapping[str, Kind], bounds: Bounds) -> _Written:
    rows = cells = 0
    left_out: frozenset[str] | None = None
    writers: dict[str, ArrayWriter] = {}
    with ExitStack() as stack:
        table = stack.enter_context(TableWriter(folder / TABLE_FILE, columns))

        def writer(name: str) -> ArrayWriter:
            if name not in writers:
                writers[name] = stack.enter_context(ArrayWriter(name, folder / f"{len(writers)}.npy"))
            return writers[name]

        for batch in content.batches():
            bounds.check_columns(batch.num_columns + len(content.arrays))
            if left_out is None:
                left_out = _left_out(batch.schema, columns)
            plain = _without_arrays(batch.drop_columns(list(left_out)) if left_out else batch, writer)
            rows, cells = rows + len(batch), cells + len(batch) * plain.num_columns
            bounds.check(rows, cells + sum(made.cells for made in writers.values()))
            table.write(plain)
        table.finish()
        for name, parts in content.arrays.items():
            for part in parts:
                bounds.check(rows, cells + part.size + sum(made.cells for made in writers.values()))
                writer(name).write(part)
        digests = {name: made.finish() for name, made in writers.items()}
    return _Written(
        table, {name: f"{number}.npy" for number, name in enumerate(writers)}, digests, left_out or frozenset()
    )


def _annotate(profiles: list[Profile], content: Content, choices: Choices) -> None:
    """Say of a column what may surprise, where the client has not said what it means."""
    source = content.format or {}
    about = source.get("name") == "csv", source.get("decimal") or "."
    for column in profiles:
        if column["name"] not in choices.columns:
            is_padded = column["name"] in content.padded
            said = UNNAMED if column["name"] in content.kinds else note(column, *about, is_padded)
            column.update({"note": said} if said else {})


def _left_out(schema: pa.Schema, declared: Mapping[str, Kind]) -> frozenset[str]:
    """Check the names of the columns; those that are left out, because no kind holds them and nobody wants them."""
    seen: set[str] = set()
    for position, name in enumerate(schema.names, 1):
        if not name.strip():
            raise InvalidData(Fault(f"column {position}", "the column has no name; give it one"))
        if "\0" in name:
            raise InvalidData(Fault(f"column {position}", "its name has a NUL character; rename it"))
        if len(name) > NAME_LENGTH:
            raise InvalidData(
                Fault(f"column {position}", f"its name has {len(name)} characters; it may have {NAME_LENGTH}")
            )
        if name in seen:
            raise InvalidData(Fault(f"column {position}", f"two columns are named {name!r}; rename one"))
        seen.add(name)
    unwanted = (field for field in schema if declared.get(field.name) is Kind.IGNORE)
    found = frozenset(field.name for field in unwanted if stored_type(field.type) is None)
    if found == seen:
        raise InvalidData(Fault("file", "no column is left; each is declared ignore, and of a type that is not kept"))
    return found


def _without_arrays(batch: pa.RecordBatch, writer: Callable[[str], ArrayWriter]) -> pa.RecordBatch:
    """Write the array columns of a batch; what is left is for the table."""
    names = [field.name for field in batch.schema if holds_arrays(field.type)]
    if names and len(names) == len(batch.schema):
        raise InvalidData(Fault("file", "there are arrays alone; there must be a column beside them, such as a label"))
    for name in names if len(batch) else ():
        arrays = writer(name)
        arrays.write(arrays_of(batch.column(name), name, arrays.rows))
    return batch.drop_columns(names) if names else batch


def _check_choices(description: Description, choices: Choices, left_out: frozenset[str]) -> None:
    names = [column["name"] for column in description.columns]
    faults = [
        Fault(f"columns.{name}", f"there is no such column; the columns are {', '.join(names[:20])}")
        for name in choices.columns
        if name not in names and name not in left_out
    ]
    arrays = [name for name in choices.columns if name in description.array_files]
    faults += [Fault(f"columns.{name}", "an array column stays one, or is left out by ignore") for name in arrays]
    faults += [
        Fault(f"columns.{name}", f"{kind} cannot be declared; use {', '.join(DECLARABLE)}")
        for name, kind in choices.columns.items()
        if kind not in DECLARABLE
    ]
    if choices.target is not None and choices.target not in names:
        faults.append(
            Fault("target", f"there is no column {choices.target!r}; the columns are {', '.join(names[:20])}")
        )
    aim = next((column for column in description.columns if column["name"] == choices.target), None)
    if aim is not None and (why := unpredictable(aim)) is not None:
        faults.append(Fault("target", f"the column {choices.target!r} {why}; no model predicts it"))
    if faults:
        raise InvalidRequest(faults)
