"""Student's t distribution, as far as intervals and tests of coefficients need it.

P(T ≤ t) = 1 − ½ I_x(ν/2, ½),  x = ν / (ν + t²),  t ≥ 0       I: the regularised incomplete beta function,
by its continued fraction (Abramowitz & Stegun 26.5.8, evaluated as Lentz does).
"""

from functools import lru_cache
from math import exp, inf, isinf, lgamma, log, log1p

_TINY = 1e-300


def two_sided(t: float, degrees: float) -> float:
    """P(|T| ≥ |t|): the p-value of a t statistic."""
    if isinf(t):
        return 0.0
    return _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


@lru_cache(maxsize=1024)
def quantile(level: float, degrees: float) -> float:
    """The t with P(|T| ≤ t) = level: how many standard errors an interval reaches to either side."""
    if level >= 1.0:
        return inf
    low, high = 0.0, 1.0
    while two_sided(high, degrees) > 1 - level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided(middle, degrees) > 1 - level else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    # The fraction converges fast on this side of the mean only; the other side follows by symmetry.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
