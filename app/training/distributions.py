"""Two distributions of test statistics: the normal, and Student's t.

Student's t goes by the incomplete beta function; of many degrees of freedom by the normal statistic that is exceeded
as often:

    z = y + (y³ + 3y)/b − (4y⁷ + 33y⁵ + 240y³ + 855y) / 10b(b + 0.8y⁴ + 100)
    y = √(a · ln(1 + t²/ν)),   a = ν − ½,   b = 48a²

Hill, "Algorithm 395: Student's t-distribution", Communications of the ACM 13, 1970. Either way ten digits hold.
"""

import math

EPSILON = 1e-16
TINY = 1e-300
MANY_DEGREES = 1e4
"""Beyond, Hill's formula is exact to some twelve digits; the logarithms of gamma lose more the larger they are."""
FARTHEST = 40.0
"""A normal statistic whose probability is below what a float64 holds."""


def two_sided_p(statistic: float, degrees: float | None) -> float:
    """Probability of a statistic at least that far from 0; normal where there are no degrees of freedom."""
    if degrees is None:
        return math.erfc(abs(statistic) / math.sqrt(2))
    if degrees > MANY_DEGREES:
        return math.erfc(_normal(statistic, degrees) / math.sqrt(2))
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + statistic * statistic))


def quantile(probability: float, degrees: float | None) -> float:
    """The number that the absolute statistic exceeds with probability 1 − `probability`, by bisection."""
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1 - probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees) > 1 - probability else (low, middle)
    return (low + high) / 2


def _normal(statistic: float, degrees: float) -> float:
    """The normal statistic z of the module's formula, at least 0."""
    a = degrees - 0.5
    b = 48 * a * a
    y = min(math.sqrt(a * math.log1p(statistic * statistic / degrees)), FARTHEST)
    square = y * y
    second = (((4 * square + 33) * square + 240) * square + 855) / (10 * b * (b + 0.8 * square * square + 100))
    return y * (1 + (square + 3) / b - second)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b); Press et al., "Numerical Recipes", 2007, §6.4."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(a, b, x) / a
    return 1 - front * _continued_fraction(b, a, 1 - x) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's method."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < EPSILON:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
