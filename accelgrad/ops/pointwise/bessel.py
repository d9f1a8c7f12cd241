"""Bessel functions, element by element: i0, i1 and their scaled forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.elementwise import as_float32, unary
from accelgrad.ops.registry import op


def _bessel(xp: Any, x: Any, order: int, scaled: bool) -> Any:
    """Return the modified Bessel function I0 or I1, times e^-|x| if ``scaled``.

    I_n(x) = 1/π times the integral of e^(x cos t) cos(n t) over t from 0 to π (Abramowitz & Stegun 9.6.19);
    the trapezoidal rule is exact up to rounding for a periodic integrand.  Above |x| = 50 the asymptotic
    series 9.7.1 is used.
    """
    wide = x.astype("float64")
    size = xp.abs(wide)
    near = xp.minimum(size, 50.0)
    steps, total = 64, xp.zeros_like(near)
    for k in range(steps // 2 + 1):
        # The points t and pi - t are added together, so that I1 is exactly 0 at 0.
        cosine = math.cos(math.pi * k / steps)
        weight = (1.0 if 0 < k < steps // 2 else 0.5) * (cosine if order else 1.0)
        other = xp.exp(near * (-cosine - 1))
        total = total + weight * (xp.exp(near * (cosine - 1)) + (-other if order else other))
    far, term = xp.maximum(size, 50.0), xp.ones_like(near)
    series = term
    for k in range(1, 20):
        term = term * (-(4 * order * order - (2 * k - 1) ** 2) / (8 * k * far))
        series = series + term
    value = xp.where(size <= 50, total / steps, series / xp.sqrt(2 * math.pi * far))
    if not scaled:
        value = value * xp.exp(size)
    return (xp.copysign(value, wide) if order else value).astype(x.dtype)


class I0(Primitive):
    """y = I0(x),  dL/dx = dL/dy I1(x)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return _bessel(ctx.xp, x, 0, False)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.run(I1, x)


class I1(Primitive):
    """y = I1(x),  dL/dx = dL/dy (I0(x) - I1(x) / x), 1/2 at 0."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = _bessel(ctx.xp, x, 1, False)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y = ctx.saved_tensors
        ratio = xp.where(x == 0, 0.5, y / xp.where(x == 0, 1.0, x))
        return grad * (xp.run(I0, x) - ratio)


class I0e(Primitive):
    """y = e^-|x| I0(x),  dL/dx = dL/dy (I1e(x) - sign(x) y)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = _bessel(ctx.xp, x, 0, True)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * (ctx.xp.run(I1e, x) - ctx.xp.sign(x) * y)


class I1e(Primitive):
    """y = e^-|x| I1(x),  dL/dx = dL/dy (I0e(x) - y (sign(x) + 1 / x)), 1/2 at 0."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = _bessel(ctx.xp, x, 1, True)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y = ctx.saved_tensors
        ratio = xp.where(x == 0, 0.5, y / xp.where(x == 0, 1.0, x))
        return grad * (xp.run(I0e, x) - y * xp.sign(x) - ratio)


@op(
    primitive=I0,
    reference=as_float32(np.i0),
    samples=unary(-5, 5),
    inplace=True,
    also=("i0_", "special.i0"),
)
def i0(input: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind and order 0 of every element.

    >>> import accelgrad
    >>> accelgrad.i0(accelgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """
    return I0.apply(input)


@op(primitive=I1, samples=unary(-5, 5), namespace="special", method=False)
def i1(input: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind and order 1 of every element.

    >>> import accelgrad
    >>> accelgrad.special.i1(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])
    """
    return I1.apply(input)


@op(
    primitive=I0e,
    reference=as_float32(lambda x: np.exp(-np.abs(x)) * np.i0(x)),
    samples=unary(-5, 5),
    namespace="special",
    method=False,
)
def i0e(input: Tensor) -> Tensor:
    """Return ``exp(-|x|) i0(x)`` for every element x, which does not overflow.

    >>> import accelgrad
    >>> accelgrad.special.i0e(accelgrad.tensor([0.0, 1000.0]))
    tensor([1.0000, 0.0126])
    """
    return I0e.apply(input)


@op(primitive=I1e, samples=unary(-5, 5), namespace="special", method=False)
def i1e(input: Tensor) -> Tensor:
    """Return ``exp(-|x|) i1(x)`` for every element x, which does not overflow.

    >>> import accelgrad
    >>> accelgrad.special.i1e(accelgrad.tensor([0.0, 1000.0]))
    tensor([0.0000, 0.0126])
    """
    return I1e.apply(input)
