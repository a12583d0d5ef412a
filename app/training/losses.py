"""The losses in closed form: the value at one row, and its slope, which replaces the row's outputs in place.

    squared        ½ r²                             r = ŷ − y         d2l §3.1 (from scratch)
    mse            r²                                                 d2l §3.5 (concise), torch.nn.MSELoss
    absolute       |r|                                                torch.nn.L1Loss; slope sign(r)
    huber          ½ r² for |r| ≤ 1, |r| − ½ beyond                   torch.nn.HuberLoss, δ = 1
    cross_entropy  log Σ exp(z_c − max z) − (z_y − max z)             d2l §4.1; slope softmax(z) − onehot(y)

With several linear outputs a row's loss is the sum over them, so that each output trains as if it were alone.
"""

import math
from types import MappingProxyType

import numpy as np

from app.training.compilation import inlined

SQUARED, MSE, ABSOLUTE, HUBER, CROSS_ENTROPY = range(5)
CODES = MappingProxyType(
    {"squared": SQUARED, "mse": MSE, "absolute": ABSOLUTE, "huber": HUBER, "cross_entropy": CROSS_ENTROPY}
)

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
SMALLEST_EXPONENT = np.float32(-87)
INFINITE = np.float32(np.inf)


@inlined
def exponential(x):  # type: ignore[no-untyped-def]
    """eˣ for x ≤ 0 in float32, 0 below −87.

    Cephes' `expf`: x = n·ln 2 + r, a polynomial in r, n put into the exponent's bits. Relative error 2e-7;
    written out because LLVM vectorises it, which a call of the C library's function is not.
    """
    clamped = max(x, SMALLEST_EXPONENT)
    n = np.floor(clamped * np.float32(1.44269504088896341) + HALF)
    r = clamped - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + ONE
    power_of_two = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return ZERO if x < SMALLEST_EXPONENT else p * power_of_two


@inlined
def logarithm(x):  # type: ignore[no-untyped-def]
    """The natural logarithm of x ≥ 1 in float32; what is no number stays one.

    Cephes' `logf`: x = 2ⁿ·(1 + r) with 1 + r between √½ and √2, and a polynomial in r. Error 1e-7, relative where the
    logarithm is small; written out as `exponential` is.
    """
    bits = np.float32(x).view(np.int32)
    n = np.float32((bits >> np.int32(23)) - np.int32(126))
    half = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    is_low = half < np.float32(0.70710678118654752)
    r, n = (half + half - ONE, n - ONE) if is_low else (half - ONE, n)
    p = np.float32(7.0376836292e-2)
    p = p * r - np.float32(1.1514610310e-1)
    p = p * r + np.float32(1.1676998740e-1)
    p = p * r - np.float32(1.2420140846e-1)
    p = p * r + np.float32(1.4249322787e-1)
    p = p * r - np.float32(1.6668057665e-1)
    p = p * r + np.float32(2.0000714765e-1)
    p = p * r - np.float32(2.4999993993e-1)
    p = p * r + np.float32(3.3333331174e-1)
    square = r * r
    value = r + (p * r * square - n * np.float32(2.12194440e-4) - HALF * square) + n * np.float32(0.693359375)
    return value if x < INFINITE else x


@inlined
def cross_entropy(z, row, label, weight):  # type: ignore[no-untyped-def]
    """Row `row` of the logits z becomes weight·(softmax(z) − onehot(label)); the loss, and whether argmax hit."""
    best = 0
    for c in range(1, z.shape[1]):
        if z[row, c] > z[row, best]:
            best = c
    top = z[row, best]
    at_label = z[row, label] - top
    total = ZERO
    for c in range(z.shape[1]):
        z[row, c] = exponential(z[row, c] - top)
        total += z[row, c]
    share = weight / total
    for c in range(z.shape[1]):
        z[row, c] *= share
    z[row, label] -= weight
    return weight * (math.log(total) - at_label), best == label


@inlined
def residual_loss(loss, r):  # type: ignore[no-untyped-def]
    """Value, in float64, and slope of a loss of the residual r = ŷ − y: targets of 1e20 have squares of 1e40."""
    wide = np.float64(r)
    if loss == SQUARED:
        return 0.5 * wide * wide, r
    if loss == MSE:
        return wide * wide, r + r
    if loss == HUBER and abs(r) <= ONE:
        return 0.5 * wide * wide, r
    slope = ONE if r > ZERO else (-ONE if r < ZERO else r)
    return abs(wide) - (0.5 if loss == HUBER else 0.0), slope


@inlined
def residuals(z, row, targets, target_row, loss):  # type: ignore[no-untyped-def]
    """Row `row` of the predictions z becomes the slope of the loss there; the loss, summed over the outputs."""
    total = 0.0
    for c in range(z.shape[1]):
        value, z[row, c] = residual_loss(loss, z[row, c] - targets[target_row, c])
        total += value
    return total
