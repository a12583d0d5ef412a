"""Upload: what a client sent, as files on the local disk, with what was declared about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.datasets.bounds import BOUNDLESS, Bounds
from app.datasets.kinds import Kind
from app.datasets.readers.compression import unpacked
from app.datasets.readers.csv_dialect import CsvOptions


@dataclass(frozen=True)
class Upload:
    """Files by the name of their part (`file`; or `images`, `labels`, `test_images`, `test_labels`)."""

    files: Mapping[str, Path]
    unpacked_limit_bytes: int
    columns: Mapping[str, Kind] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    encoding: str | None = None
    """The Content-Encoding of a raw body."""
    csv: CsvOptions = field(default_factory=CsvOptions)
    bounds: Bounds = BOUNDLESS
    """Of the dataset; what is known of them before the values are read is checked by then."""

    def plain(self, part: str = "file") -> Path:
        """The decompressed file of a part."""
        return unpacked(self.files[part], self.unpacked_limit_bytes, part, self.encoding)
