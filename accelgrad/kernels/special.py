"""Special functions that NumPy has no name for, as formulas over ``xp``: erf, erfinv, lgamma, digamma.

They are written with operators and a dozen NumPy names only, so the same text runs on NumPy and CuPy.  All
of them keep the dtype of a floating input; narrower ones are widened where they would lose digits.  In
float64 the errors, measured against 40-digit values, are a few units in the last place, except next to the
zeros of ``lgamma`` and ``digamma`` that are named below.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["digamma", "erf", "erfc", "erfinv", "lgamma"]

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): the highest
# power first. erf(x) = x P(x^2) / Q(x^2) for |x| <= 0.46875
_ERF_P = (
    1.85777706184603153e-1,
    3.16112374387056560e00,
    1.13864154151050156e02,
    3.77485237685302021e02,
    3.20937758913846947e03,
)
_ERF_Q = (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03)
# erfc(x) = exp(-x^2) P(x) / Q(x) for 0.46875 <= x <= 4
_ERFC_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e00,
    6.61191906371416295e01,
    2.98635138197400131e02,
    8.81952221241769090e02,
    1.71204761263407058e03,
    2.05107837782607147e03,
    1.23033935479799725e03,
)
_ERFC_Q = (
    1.0,
    1.57449261107098347e01,
    1.17693950891312499e02,
    5.37181101862009858e02,
    1.62138957456669019e03,
    3.29079923573345963e03,
    4.36261909014324716e03,
    3.43936767414372164e03,
    1.23033935480374942e03,
)
# erfc(x) = exp(-x^2) / x (1 / sqrt(pi) - P(1 / x^2) / Q(1 / x^2) / x^2) for x >= 4
_TAIL_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_TAIL_Q = (
    1.0,
    2.56852019228982242e00,
    1.87295284992346725e00,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_SMALL = 0.46875


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's rule, highest power first."""
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


def _widened(xp: Any, function: Any, x: Any, dtype: str = "float32") -> Any:
    """``function`` of an array of a narrow dtype, computed in a wider one."""
    return xp.asarray(function(xp, xp.asarray(x, dtype=dtype)), dtype=x.dtype)


def _near_zero(x: Any) -> Any:
    square = x * x
    return x * (_polynomial(_ERF_P, square) / _polynomial(_ERF_Q, square))


def _exp_minus_square(xp: Any, x: Any) -> Any:
    """Compute exp(-x^2) for x >= 0 with x^2 split, since exp would magnify its rounding error."""
    head = xp.floor(x * 16) / 16
    return xp.exp(-head * head) * xp.exp(-(x - head) * (x + head))


def erf(xp: Any, x: Any) -> Any:
    """The error function ``2 / sqrt(pi) * integral of exp(-t^2) from 0 to x``, element by element."""
    if x.dtype == "float16":
        return _widened(xp, erf, x)
    size = xp.clip(xp.abs(x), _SMALL, 6.0)  # erf(6) is 1 in float64
    rest = _exp_minus_square(xp, size) * (_polynomial(_ERFC_P, size) / _polynomial(_ERFC_Q, size))
    inner = _near_zero(xp.clip(x, -_SMALL, _SMALL))
    return xp.where(xp.abs(x) <= _SMALL, inner, xp.copysign(1 - rest, x))


def erfc(xp: Any, x: Any) -> Any:
    """``1 - erf(x)`` without the cancellation for large x."""
    if x.dtype == "float16":
        return _widened(xp, erfc, x)
    size = xp.clip(xp.abs(x), _SMALL, 28.0)  # erfc(28) is 0 in float64
    scaled = _polynomial(_ERFC_P, size) / _polynomial(_ERFC_Q, size)
    if x.dtype != "float32":
        far = xp.maximum(size, 4.0)
        inverse = 1 / (far * far)
        tail = inverse * (_polynomial(_TAIL_P, inverse) / _polynomial(_TAIL_Q, inverse))
        scaled = xp.where(size <= 4.0, scaled, (1 / math.sqrt(math.pi) - tail) / far)
    rest = _exp_minus_square(xp, size) * scaled
    outer = xp.where(x < 0, 2 - rest, rest)
    return xp.where(xp.abs(x) <= _SMALL, 1 - _near_zero(xp.clip(x, -_SMALL, _SMALL)), outer)


def erfinv(xp: Any, y: Any) -> Any:
    """The x with ``erf(x) = y``: infinite at -1 and 1, NaN outside of them.

    A start that is right to some three digits (Winitzki's elementary approximation) and three steps of
    Halley's method on erf, or on erfc where y is near 1 (``1 - |y|`` is exact there).
    """
    if y.dtype == "float16":
        return _widened(xp, erfinv, y)
    size = xp.abs(y)
    # The nearest number below 1 keeps the steps finite; the ends are put back at last.
    one_below = 1 - (2.0**-24 if y.dtype == "float32" else 2.0**-53)
    inner = xp.where(size < 1, size, one_below)
    a = 0.147
    logarithm = xp.log1p(-inner) + xp.log1p(inner)
    half = 2 / (math.pi * a) + logarithm / 2
    x = xp.sqrt(xp.maximum(xp.sqrt(half * half - logarithm / a) - half, 0))
    for _ in range(3):
        error = xp.where(inner < 0.5, erf(xp, x) - inner, (1 - inner) - erfc(xp, x))
        step = error * (math.sqrt(math.pi) / 2) * xp.exp(x * x)  # Newton's step f / f'
        x = x - step / (1 + x * step)  # Halley: f'' / f' = -2 x
    x = xp.where(size == 1, math.inf, x)
    x = xp.where(size <= 1, x, math.nan)
    return xp.copysign(x, y)


def _zeta_minus_one(s: int) -> float:
    """zeta(s) - 1 for an integer s >= 2, by Euler-Maclaurin from 60 on."""
    n = 60
    head = math.fsum(k**-s for k in range(2, n))
    tail = (
        n ** (1 - s) / (s - 1)
        + n**-s / 2
        + s * n ** (-s - 1) / 12
        - s * (s + 1) * (s + 2) * n ** (-s - 3) / 720
    )
    return head + tail + s * (s + 1) * (s + 2) * (s + 3) * (s + 4) * n ** (-s - 5) / 30240


# log gamma(2 + z) = z (1 - Euler's constant + sum over k >= 2 of (-1)^k (zeta(k) - 1) z^(k - 1) / k)
# (Abramowitz & Stegun 6.1.33): the highest power first, enough of them for |z| <= 1/2.
_EULER = 0.57721566490153286061
_AT_TWO = (*((-1) ** k * _zeta_minus_one(k) / k for k in range(27, 1, -1)), 1 - _EULER)
# Stirling's series, Abramowitz & Stegun 6.1.41: B(2k) / (2k (2k - 1)) times 1 / z^(2k - 1); highest first
_STIRLING = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
# Abramowitz & Stegun 6.3.18: B(2k) / 2k times 1 / z^(2k); highest first
_DIGAMMA = (-3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_SHIFT = 10  # the series hold from here on; smaller arguments are raised with gamma(x + 1) = x gamma(x)


def lgamma(xp: Any, x: Any) -> Any:
    """Compute ``log |gamma(x)|``, which is infinite at 0, -1, -2, ...

    Next to its other negative zeros the error is absolute.
    """
    if x.dtype != "float64":  # float32 would lose two digits to cancellation
        return _widened(xp, lgamma, x, "float64")
    reflected = x < 0
    y = xp.where(reflected, 1 - x, x)

    # Around 1 and 2, where the logarithm crosses zero: the power series, and the recurrence below 3/2.
    z = xp.clip(xp.where(y < 0.5, y, xp.where(y < 1.5, y - 1, y - 2)), -0.5, 0.5)
    series = z * _polynomial(_AT_TWO, z)
    with_log = xp.where(y < 1.5, series - xp.log1p(z), series)
    tiny = xp.where(y > 0, xp.minimum(y, 0.5), 0.5)
    near = xp.where(y < 0.5, with_log - xp.log(tiny), with_log)

    # Elsewhere Stirling's series, from _SHIFT on.
    far = xp.clip(y, 2.5, None)
    product = xp.ones_like(far)
    for _ in range(_SHIFT - 2):
        low = far < _SHIFT
        product = xp.where(low, product * far, product)
        far = xp.where(low, far + 1, far)
    inverse = 1 / far
    logarithm = xp.log(far)
    correction = inverse * _polynomial(_STIRLING, inverse * inverse)
    # far (log far - 1) overflows only where the result does
    safe = xp.minimum(far, 2.5e305)
    stirling = safe * (logarithm - 1) - logarithm / 2 + (0.5 * math.log(2 * math.pi) + correction)
    stirling = xp.where(far > safe, math.inf, stirling)
    value = xp.where(y < 2.5, near, stirling - xp.log(product))
    value = xp.where(y == 0, math.inf, value)

    # log |gamma(x)| = log(pi / |sin(pi x)|) - log gamma(1 - x), Abramowitz & Stegun 6.1.17
    fraction = xp.where(reflected, x - xp.floor(xp.where(xp.isfinite(x), x, 0)), 0.5)
    pole = fraction == 0
    sine = xp.sin(math.pi * xp.where(pole, 0.5, xp.minimum(fraction, 1 - fraction)))
    value = xp.where(reflected, math.log(math.pi) - xp.log(xp.where(x == -math.inf, 1, sine)) - value, value)
    return xp.where(pole | (xp.abs(x) == math.inf), math.inf, value)


def digamma(xp: Any, x: Any) -> Any:
    """The derivative of :func:`lgamma`.

    -inf at 0 (as PyTorch's), NaN at -1, -2, ...; next to its zeros the error is absolute.
    """
    if x.dtype != "float64":  # float32 would lose two digits to cancellation
        return _widened(xp, digamma, x, "float64")
    reflected = x < 0
    y = xp.where(reflected, 1 - x, xp.where(x == 0, 1, x))
    total = xp.zeros_like(y)
    for _ in range(_SHIFT):
        low = y < _SHIFT
        total = xp.where(low, total + 1 / y, total)
        y = xp.where(low, y + 1, y)
    inverse = 1 / y
    square = inverse * inverse
    value = xp.log(y) - inverse / 2 - square * _polynomial(_DIGAMMA, square) - total
    # digamma(x) = digamma(1 - x) - pi / tan(pi x), Abramowitz & Stegun 6.3.7
    fraction = xp.where(reflected, x - xp.floor(xp.where(xp.isfinite(x), x, 0)), 0.5)
    pole = (fraction == 0) | (x == -math.inf)
    tangent = xp.tan(math.pi * xp.where(pole, 0.25, xp.where(fraction > 0.5, fraction - 1, fraction)))
    value = xp.where(reflected, value - math.pi / tangent, value)
    value = xp.where(pole, math.nan, value)
    return xp.where(x == 0, xp.copysign(math.inf, -x), value)
