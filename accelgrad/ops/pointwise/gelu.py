"""The two primitives of gelu: exact, and approximated by tanh (Hendrycks & Gimpel 2016)."""

from __future__ import annotations

import math

from accelgrad.core.primitive import Primitive
from accelgrad.ops.registry.checks import must_be_floating

__all__ = ["CUBE", "ROOT", "Gelu", "GeluTanh"]

ROOT = math.sqrt(2 / math.pi)
CUBE = 0.044715


class Gelu(Primitive):
    """y = x Φ(x) with the normal distribution's Φ,  dL/dx = dL/dy (Φ(x) + x Φ'(x))."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "GeluKernelImpl"))
        return ctx.xp.gelu(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.gelu_backward(grad, x)


class GeluTanh(Primitive):
    """y = x (1 + tanh u) / 2 with u = √(2/π) (x + 0.044715 x³)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "GeluKernelImpl"))
        return 0.5 * x * (1 + ctx.xp.tanh(ROOT * x * (1 + CUBE * (x * x))))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        square = x * x
        t = ctx.xp.tanh(ROOT * x * (1 + CUBE * square))
        slope = (0.5 * ROOT) * x * (1 - t * t) * (1 + (3 * CUBE) * square)  # x/2 · (1 - tanh² u) · du/dx
        return grad * (0.5 * (1 + t) + slope)
