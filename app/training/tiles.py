"""The two products of a minibatch, tile by tile: Z = W·Xᵀ, and G = Z·X.

    block  (M, D)   rows of X in float32; what is beyond the d features is 0, and rows beyond those that count are any
    W      (K, D)   weights by output            G   (K, D)   its gradient
    Z      (K, M)   outputs by column, then slopes

D is a multiple of FEATURES, and M of ROWS. No output is computed that is not asked for: a GEMM of ten classes has to be
padded to sixteen to be fast (on an AMD EPYC, Zen 3, both products of an epoch of Fashion-MNIST take 33 ms by
OpenBLAS's sgemm with sixteen columns, and 20 ms here).

Rows lie anywhere in memory, as float32 or as bytes. The first tile of outputs takes them from there and leaves them in
the block as float32, so that copying them costs little beside the products; rows that come later are asked for
meanwhile.

    chosen  order (n,) int32, start, stop, coming: the rows order[start…stop−1]; `coming` is where those stand that are
            likely to be next, which are asked for and not read
"""

from app.training.compilation import LINE_BYTES, compiled, fetched, fetched_halfway, inlined
from app.training.vectors import (
    FIVE,
    FOUR,
    LANES,
    ONE,
    THREE,
    TWO,
    add_products,
    add_slopes,
    add_totals,
    add_vectors,
    following,
    put_vectors,
    rows_of,
    vectors_at,
    zeros,
)

ROWS = 16
"""Rows of a block come in multiples of it: whole tiles, and whole vectors where loops run along the rows of Z."""
FEATURES = 2 * LANES
STRETCH = 1024
"""Features of a pass over the rows, so that the weights of a tile stay in the first-level cache."""
ROWS_AHEAD = 20
"""How far before its copying a row is asked for."""


def padded(size: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-size // unit) * unit


@inlined
def tile_outputs(left):  # type: ignore[no-untyped-def]
    """Outputs of the next tile, where so many are left: 5, 4, 3, 2 or 1."""
    if left > 6 or left == 5:
        return 5
    if left == 4:
        return 4
    return 3 if left in (3, 6) else (2 if left > 1 else 1)


@inlined
def rows_ahead(height, chosen, i):  # type: ignore[no-untyped-def]
    """So many rows, those that come a while after the i-th chosen one."""
    order, start, stop, coming = chosen
    place = start + i + ROWS_AHEAD
    return rows_of(order, place if place < stop else coming + place - stop, order.size - 1, height)


@inlined
def copy_rest(rows, ahead, X, block, i, whole):  # type: ignore[no-untyped-def]
    """Copy what no whole vectors hold of some rows; that of rows ahead is asked for."""
    if whole < X.shape[1]:
        for row in ahead:
            fetched(X, row, whole)
            fetched(X, row, X.shape[1] - 1)
    for a in range(len(rows)):
        for j in range(whole, X.shape[1]):
            block[i + a, j] = X[rows[a], j]


@inlined
def copy_and_multiply(height, outputs, X, chosen, block, W, Z):  # type: ignore[no-untyped-def]
    """Copy the chosen rows, in tiles of so many; Z[0…] += W[0…]·Xᵀ for so many outputs.

    A tile that is not full takes the last row several times: beyond it there may be no memory.
    """
    order, start, stop, _ = chosen
    whole = X.shape[1] // FEATURES * FEATURES
    for first in range(0, block.shape[1], STRETCH):
        last = min(first + STRETCH, block.shape[1])
        for i in range(0, stop - start, len(height)):
            rows, here = rows_of(order, start + i, stop - 1, height), following(i, height)
            ahead = rows_ahead(height, chosen, i)
            if first == 0:
                copy_rest(rows, ahead, X, block, i, whole)
            sums = zeros(height, outputs)
            for j in range(first, min(last, whole), FEATURES):
                if j * X.itemsize & (LINE_BYTES - 1) == 0:
                    for row in ahead:
                        fetched_halfway(X, row, j)
                left, right = vectors_at(X, rows, j), vectors_at(X, rows, j + LANES)
                put_vectors(left, block, here, j)
                put_vectors(right, block, here, j + LANES)
                sums = add_products(sums, left, W, 0, j)
                sums = add_products(sums, right, W, 0, j + LANES)
            for j in range(max(first, whole), last, LANES):
                sums = add_products(sums, vectors_at(block, here, j), W, 0, j)
            add_totals(sums, Z, 0, i)


@compiled
def take(X, chosen, block, W, Z):  # type: ignore[no-untyped-def]
    """Copy the chosen rows into the block, and set the outputs of the first tile; returns how many outputs that is."""
    outputs = tile_outputs(W.shape[0])
    Z[:outputs] = 0
    if outputs == 5:
        copy_and_multiply(TWO, FIVE, X, chosen, block, W, Z)
    elif outputs == 4:
        copy_and_multiply(TWO, FOUR, X, chosen, block, W, Z)
    elif outputs == 3:
        copy_and_multiply(TWO, THREE, X, chosen, block, W, Z)
    elif outputs == 2:
        copy_and_multiply(FOUR, TWO, X, chosen, block, W, Z)
    else:
        copy_and_multiply(FOUR, ONE, X, chosen, block, W, Z)
    return outputs


@inlined
def multiply_rows(height, outputs, block, count, W, c, Z):  # type: ignore[no-untyped-def]
    """Z[c…] += W[c…]·Xᵀ for so many outputs, in tiles of so many rows."""
    for first in range(0, block.shape[1], STRETCH):
        last = min(first + STRETCH, block.shape[1])
        for i in range(0, count, len(height)):
            rows, sums = following(i, height), zeros(height, outputs)
            for j in range(first, last, LANES):
                sums = add_products(sums, vectors_at(block, rows, j), W, c, j)
            add_totals(sums, Z, c, i)


@compiled
def forward(block, count, W, Z, c):  # type: ignore[no-untyped-def]
    """Z = W·Xᵀ of the first `count` rows, for the outputs from c on; their other columns of Z are written too."""
    Z[c:] = 0
    while c < W.shape[0]:
        outputs = tile_outputs(W.shape[0] - c)
        if outputs == 5:
            multiply_rows(TWO, FIVE, block, count, W, c, Z)
        elif outputs == 4:
            multiply_rows(TWO, FOUR, block, count, W, c, Z)
        elif outputs == 3:
            multiply_rows(TWO, THREE, block, count, W, c, Z)
        elif outputs == 2:
            multiply_rows(FOUR, TWO, block, count, W, c, Z)
        else:
            multiply_rows(FOUR, ONE, block, count, W, c, Z)
        c += outputs


@inlined
def lines_at(size, j, width):  # type: ignore[no-untyped-def]
    """Which lines of a row of so many bytes are asked for at column j: where the first begins, and where none does."""
    first, last = size * j // width, size * (j + FEATURES) // width
    return (first + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES, last


@inlined
def sum_rows(outputs, block, count, Z, c, G, octets, later):  # type: ignore[no-untyped-def]
    """G[c…] += Z[c…]·X for so many outputs; the next column of the block is asked for meanwhile.

    The first tile also asks for the rows that are multiplied later, evenly: the products leave memory in peace.
    """
    order, start, stop, coming = later
    width, size = block.shape[1], octets.shape[1] if c == 0 else 0
    for j in range(0, width, FEATURES):
        line, last = lines_at(size, j, width)
        sums = zeros(TWO, outputs)
        for i in range(count):
            fetched(block, i, j + FEATURES)
            if line < last:
                place = start + i
                row = order[min(place if place < stop else coming + place - stop, order.size - 1)]
                fetched_halfway(octets, row, line)
                if line + LINE_BYTES < last:
                    fetched_halfway(octets, row, line + LINE_BYTES)
            sums = add_slopes(sums, block, i, j, Z, c)
        add_vectors(sums, G, c, j)


@compiled
def backward(block, count, Z, G, octets, chosen, ahead):  # type: ignore[no-untyped-def]
    """G += Z·X of the first `count` rows, for the first outputs of Z, as many as G has.

    Of X's bytes, `octets` (n, bytes of a row), those of as many rows are asked for, from the chosen one ahead on.
    """
    order, start, stop, coming = chosen
    later = order, start + ahead, stop, coming
    c = 0
    while c < G.shape[0]:
        outputs = tile_outputs(G.shape[0] - c)
        if outputs == 5:
            sum_rows(FIVE, block, count, Z, c, G, octets, later)
        elif outputs == 4:
            sum_rows(FOUR, block, count, Z, c, G, octets, later)
        elif outputs == 3:
            sum_rows(THREE, block, count, Z, c, G, octets, later)
        elif outputs == 2:
            sum_rows(TWO, block, count, Z, c, G, octets, later)
        else:
            sum_rows(ONE, block, count, Z, c, G, octets, later)
        c += outputs
