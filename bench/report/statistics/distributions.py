"""Distribution functions that intervals and tests need, with the standard library alone."""

import functools
import math
from statistics import NormalDist

NORMAL = NormalDist()
SMALL_DEGREES = 10  # up to here Student's t is a sum of a few terms, several times faster than the general way


def t_tail(t: float, degrees: float) -> float:
    """P(|T| >= |t|) for Student's t with `degrees` of freedom, which need not be whole: a two-sided p-value."""
    assert degrees > 0
    if math.isinf(t):
        return 0.0
    if degrees <= SMALL_DEGREES and degrees == int(degrees):
        return max(0.0, 1 - _central_probability(math.atan(abs(t) / math.sqrt(degrees)), int(degrees)))
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


@functools.lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t for `probability` >= 0.5, by bisection of the angle arctan(t / sqrt(degrees))."""
    assert 0.5 <= probability < 1
    low, high, tail = 0.0, math.pi / 2, 2 * (1 - probability)
    for _ in range(80):
        middle = (low + high) / 2
        larger = t_tail(math.sqrt(degrees) * math.tan(middle), degrees) > tail
        low, high = (middle, high) if larger else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


@functools.lru_cache(maxsize=64)
def range_quantile(probability: float, count: int) -> float:
    """Quantile of the range of `count` independent standard normal values (the studentized range, infinite degrees).

    The distribution function is count * integral of phi(z) * (Phi(z) - Phi(z - q))^(count - 1) dz, by the trapezoidal
    rule, whose error vanishes exponentially for such integrands, and inverted by bisection.
    """
    assert count >= 2
    grid = [i / 20 for i in range(-160, 161)]
    density, below = [NORMAL.pdf(z) for z in grid], [NORMAL.cdf(z) for z in grid]
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        spans = (max(b - NORMAL.cdf(z - middle), 0.0) ** (count - 1) for z, b in zip(grid, below, strict=True))
        inside = count / 20 * math.fsum(d * span for d, span in zip(density, spans, strict=True))
        low, high = (middle, high) if inside < probability else (low, middle)
    return low


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction.

    Press et al., Numerical Recipes, section 6.4: Lentz's method, with I_x(a, b) = 1 - I_(1-x)(b, a) where that
    converges faster.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + term / c, 1 / (1 + term * d)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_front) * fraction / a


def _central_probability(theta: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) * tan(theta)), a finite sum for whole degrees (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total
