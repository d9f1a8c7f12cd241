"""The functions of ``xp`` that formulas of updates use, for one number, with NumPy's results to the bit."""

from __future__ import annotations

import numpy as np

from accelgrad.kernels.cpu.compile import jit

__all__ = ["abs", "clip", "maximum", "minimum", "sign", "sqrt", "where"]

abs, sign, sqrt = np.abs, np.sign, np.sqrt


@jit(inline="always")
def where(condition, x, y):
    return x if condition else y


@jit(inline="always")
def maximum(x, y):
    """The larger one; NaN is larger than anything."""
    return y if y > x or y != y else x


@jit(inline="always")
def minimum(x, y):
    """The smaller one; NaN is smaller than anything."""
    return y if y < x or y != y else x


@jit(inline="always")
def clip(x, low, high):
    """x within the bounds; NaN stays, and where they exclude each other it is ``high``."""
    y = low if x < low else x
    return high if y > high else y
