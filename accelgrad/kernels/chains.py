"""Chains of elementwise steps as plain formulas over an array module; part of plain.py.

Each is a handful of calls of the array module, and one launch where a kernel takes it.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "gelu", "gelu_backward", "relu_backward", "running_average", "sigmoid", "sigmoid_backward", "silu",
    "silu_backward", "tanh_backward",
]  # fmt: skip


def relu_backward(xp: Any, grad: Any, y: Any) -> Any:
    """From ``y = max(x, 0)``: ``grad`` where ``y > 0``, and so 0 at 0, as in PyTorch."""
    return grad * (y > 0)


def sigmoid(xp: Any, x: Any) -> Any:
    """``1 / (1 + e^-x)``."""
    return 1 / (1 + xp.exp(-x))


def sigmoid_backward(xp: Any, grad: Any, y: Any) -> Any:
    """From ``y = sigmoid(x)``: ``grad y (1 - y)``."""
    return grad * (y * (1 - y))


def tanh_backward(xp: Any, grad: Any, y: Any) -> Any:
    """From ``y = tanh(x)``: ``grad (1 - y²)``."""
    return grad * (1 - y * y)


def silu(xp: Any, x: Any) -> Any:
    """``x sigmoid(x)``.  Elfwing, Uchibe & Doya 2018."""
    return x / (1 + xp.exp(-x))


def silu_backward(xp: Any, grad: Any, x: Any) -> Any:
    """With ``s = sigmoid(x)``: ``grad s (1 + x (1 - s))``."""
    s = 1 / (1 + xp.exp(-x))
    return grad * (s * (1 + x * (1 - s)))


def gelu(xp: Any, x: Any) -> Any:
    """``x Phi(x)`` with the normal distribution's Phi.  Hendrycks & Gimpel 2016."""
    return 0.5 * x * xp.erfc(x * -math.sqrt(0.5))


def gelu_backward(xp: Any, grad: Any, x: Any) -> Any:
    """``grad (Phi(x) + x phi(x))``, phi being the density."""
    density = xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return grad * (0.5 * xp.erfc(x * -math.sqrt(0.5)) + x * density)


def running_average(xp: Any, running: Any, value: Any, momentum: float, factor: float = 1.0) -> None:
    """``running = (1 - momentum) running + momentum factor value``, in place."""
    running *= 1 - momentum
    running += momentum * (value if factor == 1.0 else value * factor)
