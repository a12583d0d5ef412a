"""Chunks: a stream of tables cut into pieces of a fixed number of rows.

How a file was uploaded decides where its row groups end. What is computed piece by piece, a mean say, has the same
bits for every format only if the pieces are the same.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa


def chunked(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The rows of the tables in pieces of `size`, the last one with what is left."""
    pending: list[pa.Table] = []
    rows = 0
    for table in tables:
        pending.append(table)
        rows += len(table)
        if rows >= size:
            whole = pa.concat_tables(pending)
            cut = rows - rows % size
            yield from (whole.slice(start, size) for start in range(0, cut, size))
            pending, rows = [whole.slice(cut)], rows - cut
    if rows:
        yield pa.concat_tables(pending)
