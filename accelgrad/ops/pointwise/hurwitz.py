"""Hurwitz' zeta function and the derivatives of the cotangent, of which polygamma and zeta are made."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["cotangent_derivative", "hurwitz"]

# B(2k) / (2k)!, the coefficients of Euler-Maclaurin's sum
_EULER_MACLAURIN = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)


def hurwitz(xp: Any, s: float, x: Any) -> Any:
    """Compute Hurwitz' ζ(s, x) = sum over k >= 0 of (x + k)^-s, for x > 0 and s > 1.

    Ten terms are added; Euler and Maclaurin's formula gives the rest (Abramowitz & Stegun 23.1.30).
    """
    total = x * 0
    for step in range(10):
        total = total + (x + step) ** (-s)
    far = x + 10
    total = total + far ** (1 - s) / (s - 1) + 0.5 * far ** (-s)
    factor, power = s * 1.0, far ** (-s - 1)
    for k, coefficient in enumerate(_EULER_MACLAURIN):
        total = total + coefficient * factor * power
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
        power = power / (far * far)
    return total


def cotangent_derivative(n: int, c: Any) -> Any:
    """Return the n-th derivative of π cot(πx), given c = cot(πx).

    It is a polynomial in c; the next one is its derivative by c times -π (1 + c²), the derivative of c.
    """
    coefficients = [0.0, math.pi]  # lowest power first
    for _ in range(n):
        slope = [k * coefficient for k, coefficient in enumerate(coefficients)][1:]
        coefficients = [-math.pi * value for value in slope] + [0.0, 0.0]
        for k, value in enumerate(slope):
            coefficients[k + 2] -= math.pi * value
    total: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * c + coefficient
    return total
