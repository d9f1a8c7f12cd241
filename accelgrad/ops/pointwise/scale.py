"""Scaling by constants: the primitive for masks that are drawn anew at each call."""

from __future__ import annotations

from accelgrad.core.primitive import Primitive

__all__ = ["ScaleBy"]


class ScaleBy(Primitive):
    """y = x factor + shift,  dL/dx = dL/dy factor;  factor and shift are constants, e.g. a mask."""

    @staticmethod
    def forward(ctx, x, *, factor, shift=None):
        ctx.factor = factor
        y = x * factor
        return y if shift is None else y + shift

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor
