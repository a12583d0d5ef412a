"""The products by tiles, against NumPy's in float64."""

import numpy as np
import pytest

from app.training.compilation import aligned, frozen
from app.training.tiles import FEATURES, ROWS, backward, forward, padded, take


def drawn(seed: int, *shape: int) -> np.ndarray:
    array = aligned(*shape)
    array[:] = np.random.default_rng(seed).standard_normal(shape)
    return array


@pytest.mark.parametrize("outputs", range(1, 14))
@pytest.mark.parametrize("width", [FEATURES, 5 * FEATURES, 1024 + FEATURES])
@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_both_products_are_numpys(outputs: int, width: int, count: int) -> None:
    height = padded(10, ROWS)
    X, W, Z = drawn(0, height, width), drawn(1, outputs, width), drawn(2, outputs, height)
    forward(X, count, W, Z, 0)
    expected = W.astype(np.float64) @ X.astype(np.float64).T
    np.testing.assert_allclose(Z[:, :count], expected[:, :count], rtol=1e-5, atol=1e-4)
    before = drawn(3, outputs, width)
    G = before.copy()
    order = np.arange(count, dtype=np.int32)
    backward(X, count, Z, G, frozen(X.view(np.uint8)), (order, 0, count, 0), count // 2)
    expected = Z[:, :count].astype(np.float64) @ X[:count].astype(np.float64)
    np.testing.assert_allclose(G - before, expected, rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5, 6, 10])
@pytest.mark.parametrize("features", [1, FEATURES, 2 * FEATURES + 3, 1024 + FEATURES + 1])
@pytest.mark.parametrize(("count", "coming"), [(1, 0), (6, 20), (13, 3), (13, 100)])
def test_rows_from_anywhere_are_copied_and_multiplied(
    kind: type, outputs: int, features: int, count: int, coming: int
) -> None:
    generator = np.random.default_rng(4)
    X = generator.integers(0, 256, (20, features)).astype(kind)
    order = generator.permutation(20).astype(np.int32)
    width = padded(features, FEATURES)
    block, W, Z = aligned(padded(count, ROWS), width), drawn(1, outputs, width), drawn(2, outputs, padded(count, ROWS))
    block[count:, :features] = 1000
    start, stop = 18 - count, 18
    done = take(frozen(X), (order, start, stop, coming), block, W, Z)
    np.testing.assert_array_equal(block[:count, :features], X[order[start:stop]])
    assert not block[:, features:].any()
    for beyond in block[count:, :features]:
        assert (beyond == 1000).all() or (beyond == X[order[stop - 1]]).all()
    expected = W[:, :features].astype(np.float64) @ X[order[start:stop]].astype(np.float64).T
    np.testing.assert_allclose(Z[:done, :count], expected[:done], rtol=1e-5, atol=2e-2)
    forward(block, count, W, Z, done)
    np.testing.assert_allclose(Z[:, :count], expected, rtol=1e-5, atol=2e-2)


def test_what_is_no_number_stays_one() -> None:
    X, W, Z = drawn(0, ROWS, FEATURES), drawn(1, 3, FEATURES), aligned(3, ROWS)
    X[1, 0], X[2, 0] = np.nan, np.inf
    forward(X, 3, W, Z, 0)
    assert np.isfinite(Z[:, 0]).all()
    assert np.isnan(Z[:, 1]).all()
    assert not np.isfinite(Z[:, 2]).any()


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 16)])
def test_arrays_begin_at_a_cache_line_and_are_zero(shape: tuple[int, ...]) -> None:
    for _ in range(20):
        array = aligned(*shape)
        assert array.ctypes.data % 64 == 0
        assert array.shape == shape
        assert not array.any()
        assert array.flags.c_contiguous
