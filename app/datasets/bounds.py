"""Bounds: how large a dataset may be. Checked while it is read, so that what is too large stops early."""

from dataclasses import dataclass

from app.errors import TooLarge


@dataclass(frozen=True)
class Bounds:
    """The most rows, columns and cells (values, each element of an array counted) of a dataset."""

    rows: int = 2**62
    columns: int = 2**62
    cells: int = 2**62

    def check_columns(self, columns: int) -> None:
        """Refuse more columns than there may be."""
        if columns > self.columns:
            raise TooLarge(f"A dataset may have {self.columns} columns; this one has {columns}.")

    def check(self, rows: int, cells: int) -> None:
        """Refuse more rows or cells than there may be."""
        if rows > self.rows:
            raise TooLarge(f"A dataset may have {self.rows} rows; this one has more.")
        if cells > self.cells:
            raise TooLarge(f"A dataset may have {self.cells} values, rows times columns; this one has more.")


BOUNDLESS = Bounds()
