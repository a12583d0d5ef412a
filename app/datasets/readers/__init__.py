"""Readers: one file per format. This page is the one place that knows them all.

A reader takes an `Upload` and gives `Content`. To add a format: write `read(upload)` in a file of its own and
add a line to `FORMATS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from app.datasets.readers import arrow_stream, csv, idx, ndjson, npz, parquet
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import UnsupportedMediaType


@dataclass(frozen=True)
class Format:
    """A format: what announces it, and what reads it."""

    name: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    reader: Callable[[Upload], Content]
    options: tuple[str, ...] = ()
    """The options of an upload that mean something to this format, and not to all."""

    def read(self, upload: Upload) -> Content:
        """What is in the upload."""
        content = self.reader(upload)
        return replace(content, format={"name": self.name, **(content.format or {})})


FORMATS = (
    Format(
        "csv",
        ("text/csv", "application/csv", "text/tab-separated-values"),
        (".csv", ".tsv"),
        csv.read,
        ("delimiter", "quote", "encoding", "header", "decimal"),
    ),
    Format("ndjson", ("application/x-ndjson", "application/jsonl"), (".ndjson", ".jsonl"), ndjson.read),
    Format("parquet", ("application/vnd.apache.parquet",), (".parquet",), parquet.read),
    Format("arrow", ("application/vnd.apache.arrow.stream",), (".arrows", ".arrow"), arrow_stream.read),
    Format("npz", ("application/x-npz",), (".npz",), npz.read, ("class_names",)),
)
IDX = Format("idx", (), (), idx.read, ("class_names",))
"""Known by its parts `images` and `labels`, since it needs more than one file."""

_BY_MEDIA_TYPE: Mapping[str, Format] = {media_type: form for form in FORMATS for media_type in form.media_types}
_BY_SUFFIX: Mapping[str, Format] = {suffix: form for form in FORMATS for suffix in form.suffixes}


def format_of(media_type: str | None, file_name: str | None = None) -> Format:
    """The format that a media type names, else the one that the file's name ends in."""
    essence = (media_type or "").partition(";")[0].strip().lower()
    suffixes = [suffix.lower() for suffix in PurePath(file_name or "").suffixes if suffix.lower() != ".gz"]
    found = _BY_MEDIA_TYPE.get(essence) or _BY_SUFFIX.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise UnsupportedMediaType(
            f"Neither the media type {essence or 'none'!r} nor the file name says a format known here. "
            f"Formats: {', '.join(_BY_MEDIA_TYPE)}; or images and labels as IDX files."
        )
    return found
