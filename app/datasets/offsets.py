"""Offsets: what is subtracted from numbers, in float64, before they become float32.

float32 has 24 bits. Of numbers that lie far from zero beside their spread, an offset takes most of them: of 1e8 + noise
nothing is left. The offset is rounded to the power of two just below the standard deviation, so that subtracting it
costs no bit of numbers that float32 does hold, and is 0 where they lie around zero.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

FAR = 1000.0
"""Standard deviations from zero beyond which an offset is always subtracted. There float32 keeps four digits of the
spread or fewer, and steps along the gradient, from weights near zero, would take millions to bridge it."""


def offsets(mean: Matrix, std: Matrix, always: bool) -> Matrix:
    """What to subtract from columns with these moments; `always`, or only where they lie far from zero.

    A constant column has none: float32 rounds all of it alike.
    """
    varies = std > 1e-15 * np.abs(mean)
    unit = 2.0 ** np.floor(np.log2(np.where(varies, std, 1.0)))
    wanted = varies & (always | (np.abs(mean) > FAR * std))
    return np.where(wanted, np.round(mean / unit) * unit, 0.0)
