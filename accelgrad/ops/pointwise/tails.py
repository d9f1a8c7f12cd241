"""The normal distribution far out: special.erfcx, special.log_ndtr, which neither underflow nor cancel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import floating

FAR = 3.0
"""From here on the continued fraction needs no more than :data:`TERMS` terms."""

TERMS = 60


def _fraction(x: Any) -> Any:
    """x + 1 / (x + 2 / (x + 3 / (x + ...))), the reciprocal of Mills' ratio.  Abramowitz & Stegun 1964,
    26.2.14."""
    result = x
    for k in range(TERMS, 0, -1):
        result = x + k / result
    return result


class LogNdtr(Primitive):
    """y = log Φ(x),  dL/dx = dL/dy e^(-x²/2 - y) / √(2π)"""

    promotion = "float"

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        xp = ctx.xp
        floating(x, "log_ndtr")
        far = xp.maximum(-x, FAR)
        tail = -0.5 * far * far - 0.5 * math.log(2 * math.pi) - xp.log(_fraction(far))
        near = xp.maximum(x, -FAR)
        low = xp.log(xp.erfc(-near / math.sqrt(2)) / 2)
        high = xp.log1p(-xp.erfc(xp.maximum(x, 0) / math.sqrt(2)) / 2)
        y = xp.where(x < -FAR, tail, xp.where(x < 0, low, high)).astype(x.dtype)
        y = xp.where(x != x, x, y)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad * ctx.xp.exp(-0.5 * x * x - y) / math.sqrt(2 * math.pi)


class Erfcx(Primitive):
    """y = e^(x²) erfc(x),  dL/dx = dL/dy (2 x y - 2 / √π)"""

    promotion = "float"

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        xp = ctx.xp
        floating(x, "erfcx")
        far = xp.maximum(x, FAR)
        tail = math.sqrt(2 / math.pi) / _fraction(far * math.sqrt(2))
        near = xp.minimum(x, FAR)
        y = xp.where(x > FAR, tail, xp.exp(near * near) * xp.erfc(near)).astype(x.dtype)
        y = xp.where(x != x, x, y)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad * (2 * x * y - 2 / math.sqrt(math.pi))


_erfc = np.vectorize(math.erfc, otypes=["float64"])

PLACES = [sample(arg(2, 3)), sample(arg(4, values=[-20.0, -3.5, 2.5, 9.0])), sample(arg()), sample(arg(0, 2))]


@op(
    primitive=LogNdtr,
    reference=lambda x: np.log(_erfc(-x / math.sqrt(2)) / 2).astype(x.dtype) if x.size else x,
    samples=PLACES,
    namespace="special",
    method=False,
)
def log_ndtr(input: Tensor) -> Tensor:
    """``log Φ(x)``: the logarithm of the probability that a standard normal number is less than x.

    >>> import accelgrad
    >>> accelgrad.special.log_ndtr(accelgrad.tensor([-50.0, 0.0]))
    tensor([-1.2548e+03, -6.9315e-01])
    """
    return LogNdtr.apply(input)


@op(
    primitive=Erfcx,
    reference=lambda x: (np.exp(x * x) * _erfc(x)).astype(x.dtype) if x.size else x,
    samples=[sample(arg(2, 3)), sample(arg(3, values=[-2.5, 2.5, 3.5])), sample(arg()), sample(arg(0, 2))],
    namespace="special",
    method=False,
)
def erfcx(input: Tensor) -> Tensor:
    """``e^(x²) erfc(x)``: erfc without its fast decay, about 1 / (x √π) for large x.

    >>> import accelgrad
    >>> accelgrad.special.erfcx(accelgrad.tensor([0.0, 50.0]))
    tensor([1.0000, 0.0113])
    """
    return Erfcx.apply(input)
