"""Offsets: what is subtracted from numbers, in float64, before they become float32.

float32 has 24 bits. Of numbers that lie far from zero beside their spread, an offset takes most of them: of 1e8 + noise
nothing is left.

    offset = round(middle / unit) · unit,   unit = 2^⌊log₂ spread⌋

so that subtracting it costs no bit of numbers around the middle that float32 does hold. It is 0 where they lie around
zero. The spread is the standard deviation, or the median distance from the middle where that is given and less.

Targets have their median for a middle: a few of 1e9 would draw a mean so far away that all others lost their digits,
and a loss may yet depend on these. Features have their mean. What float32 rounds there, 6e-8 of the standard deviation,
no solver sees: columns that differ by less than 1e-5 of it count as dependent, and standardised ones are divided by it.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

FAR = 1000.0
"""Standard deviations from zero beyond which an offset is always subtracted. There float32 keeps four digits of the
spread or fewer, and steps along the gradient, from weights near zero, would take millions to bridge it."""


def offsets(middle: Matrix, std: Matrix, always: bool, distance: Matrix | None = None) -> Matrix:
    """What to subtract from columns with this middle and spread; `always`, or only where they lie far from zero.

    `distance` is the median one from the middle. A constant column has none: float32 rounds all of it alike.
    """
    varies = std > 1e-15 * np.abs(middle)
    spread = std if distance is None else np.where(distance > 1e-15 * np.abs(middle), np.minimum(distance, std), std)
    unit = 2.0 ** np.floor(np.log2(np.where(varies, spread, 1.0)))
    wanted = varies & (always | (np.abs(middle) > FAR * std))
    return np.where(wanted, np.round(middle / unit) * unit, 0.0)
