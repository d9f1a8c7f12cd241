"""GELU and its gradient in one pass: erfc and the exponential of every element stay in registers.

for i in elements:  y[i] = x[i] / 2 * erfc(-x[i] / sqrt(2))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, jit
from accelgrad.kernels.cpu.elementary import erfc_both
from accelgrad.kernels.cpu.softmax import plain_float
from accelgrad.kernels.cpu.threads import parallel

__all__ = ["gelu", "gelu_backward"]

PARALLEL = 1 << 17  # elements from which a second thread pays: some 100 microseconds of one core


@jit(CONTRACT)
def gelu_range(start, stop, x, y, half, root):
    x, y = x[start:stop], y[start:stop]  # indices from 0 on, which cannot be negative: LLVM needs to know
    for i in range(x.size):
        tail, _ = erfc_both(-x[i] * root)
        y[i] = x[i] * half * tail


@jit(CONTRACT)
def gelu_backward_range(start, stop, grad, x, out, half, root, density):
    grad, x, out = grad[start:stop], x[start:stop], out[start:stop]
    for i in range(x.size):
        tail, bell = erfc_both(-x[i] * root)
        out[i] = grad[i] * (half * tail + x[i] * (density * bell))


def constants(x: np.ndarray, *values: float) -> list[Any]:
    return [x.dtype.type(value) for value in values]


@kernel("gelu", "cpu", accepts=plain_float)
def gelu(x: np.ndarray) -> np.ndarray:
    """``x Phi(x)``."""
    y = np.empty(x.shape, x.dtype)
    numbers = constants(x, 0.5, math.sqrt(0.5))
    parallel(gelu_range, x.size, x.reshape(-1), y.reshape(-1), *numbers, wide=x.size >= PARALLEL, grain=16)
    return y


@kernel("gelu_backward", "cpu", accepts=lambda grad, x: plain_float(grad, x) and grad.shape == x.shape)
def gelu_backward(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``grad (Phi(x) + x phi(x))``."""
    out = np.empty(x.shape, x.dtype)
    arrays = grad.reshape(-1), x.reshape(-1), out.reshape(-1)
    numbers = constants(x, 0.5, math.sqrt(0.5), 1 / math.sqrt(2 * math.pi))
    parallel(gelu_backward_range, x.size, *arrays, *numbers, wide=x.size >= PARALLEL, grain=16)
    return out
