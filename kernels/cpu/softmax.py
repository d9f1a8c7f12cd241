"""softmax, log_softmax and softmax with cross-entropy, with their gradients.

Several passes over the whole array become one visit to each row, which stays in the cache meanwhile:

    for i in rows:  find the maximum;  sum exp(x[i] - maximum);  write the row
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, REASSOCIATE, jit
from accelgrad.kernels.cpu.elementary import exp, maximum
from accelgrad.kernels.cpu.threads import parallel

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
]

PARALLEL = 1 << 17  # elements from which a second thread pays: some 60 microseconds of one core

# --- the compiled rows


@jit()
def row_max(x):
    best = x[0]
    for j in range(x.size):
        best = maximum(best, x[j])
    return best


@jit(REASSOCIATE)
def row_sum(x):
    total = x[0] - x[0]
    for j in range(x.size):
        total += x[j]
    return total


@jit(REASSOCIATE)
def row_dot(x, y):
    total = x[0] * 0
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@jit(REASSOCIATE)
def row_sum_exp(x, shift):
    """sum of exp(x - shift)"""
    total = shift - shift
    for j in range(x.size):
        total += exp(x[j] - shift)
    return total


@jit(CONTRACT)
def softmax_rows(start, stop, x, y):
    for i in range(start, stop):
        row, result = x[i], y[i]
        largest = row_max(row)
        for j in range(row.size):
            result[j] = exp(row[j] - largest)
        total = row_sum(result)
        for j in range(row.size):
            result[j] /= total


@jit(CONTRACT)
def softmax_backward_rows(start, stop, grad, y, out):
    for i in range(start, stop):
        g, p, result = grad[i], y[i], out[i]
        mean = row_dot(g, p)
        for j in range(p.size):
            result[j] = p[j] * (g[j] - mean)


@jit(CONTRACT)
def log_softmax_rows(start, stop, x, y):
    for i in range(start, stop):
        row, result = x[i], y[i]
        largest = row_max(row)
        for j in range(row.size):
            result[j] = row[j] - largest
        shift = math.log(row_sum_exp(result, largest - largest))
        for j in range(row.size):
            result[j] -= shift


@jit(CONTRACT)
def log_softmax_backward_rows(start, stop, grad, y, out):
    for i in range(start, stop):
        g, p, result = grad[i], y[i], out[i]
        total = row_sum(g)
        for j in range(p.size):
            result[j] = g[j] - exp(p[j]) * total


@jit(CONTRACT)
def cross_entropy_rows(start, stop, x, target, loss, lse, bad):
    for i in range(start, stop):
        row, t = x[i], target[i]
        if t < 0 or t >= row.size:
            bad[0] = 1
            continue
        largest = row_max(row)
        if np.isfinite(largest):
            lse[i] = math.log(row_sum_exp(row, largest)) + largest
        else:
            lse[i] = largest
        loss[i] = lse[i] - row[t]


@jit(CONTRACT)
def cross_entropy_backward_rows(start, stop, grad, x, target, lse, out, bad):
    for i in range(start, stop):
        row, result, t, g, shift = x[i], out[i], target[i], grad[i], lse[i]
        if t < 0 or t >= row.size:
            bad[0] = 1
            continue
        for j in range(row.size):
            result[j] = g * exp(row[j] - shift)
        result[t] = g * (exp(row[t] - shift) - 1)


# --- the kernels


def plain_float(*arrays: Any) -> bool:
    """Tell whether all are contiguous, writeable, native arrays of one of two dtypes, with an element."""
    kind = getattr(arrays[0], "dtype", None)
    if kind is None or kind.char not in "fd" or not kind.isnative:
        return False
    for x in arrays:
        if type(x) is not np.ndarray or x.dtype != kind or not x.flags.carray or not x.size:
            return False
    return True


def accepts(*arrays: Any, axis: int = -1) -> bool:
    """The last axis of contiguous arrays of one shape."""
    if arrays and isinstance(arrays[-1], int):
        *arrays, axis = arrays  # type: ignore[assignment]
    return (
        plain_float(*arrays)
        and arrays[0].ndim > 0
        and axis in (-1, arrays[0].ndim - 1)
        and all(x.shape == arrays[0].shape for x in arrays)
    )


def run(rows: Any, *arrays: np.ndarray) -> np.ndarray:
    """``rows`` over the rows of the arrays and of a new one of their shape."""
    x = arrays[0]
    out = np.empty(x.shape, x.dtype)
    flat = [y.reshape(-1, x.shape[-1]) for y in (*arrays, out)]
    parallel(rows, len(flat[0]), *flat, wide=x.size >= PARALLEL)
    return out


@kernel("softmax", "cpu", accepts=accepts)
def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``exp(x - max) / sum(exp(x - max))`` over the last axis."""
    return run(softmax_rows, x)


@kernel("softmax_backward", "cpu", accepts=accepts)
def softmax_backward(grad: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """``y (grad - sum(grad y))`` over the last axis."""
    return run(softmax_backward_rows, grad, y)


@kernel("log_softmax", "cpu", accepts=accepts)
def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``x - max - log(sum(exp(x - max)))`` over the last axis."""
    return run(log_softmax_rows, x)


@kernel("log_softmax_backward", "cpu", accepts=accepts)
def log_softmax_backward(grad: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """``grad - exp(y) sum(grad)`` over the last axis."""
    return run(log_softmax_backward_rows, grad, y)


def whole_numbers(target: Any, n: int) -> bool:
    return (
        type(target) is np.ndarray
        and target.dtype == np.int64
        and target.shape == (n,)
        and target.flags.carray
    )


def accepts_loss(x: Any, target: Any) -> bool:
    """x (n, c) contiguous; target (n,) int64."""
    return plain_float(x) and x.ndim == 2 and whole_numbers(target, x.shape[0])


@kernel("softmax_cross_entropy", "cpu", accepts=accepts_loss)
def softmax_cross_entropy(x: np.ndarray, target: np.ndarray) -> Any:
    """The loss and log(sum(exp)) of every row; declined if a target is not a column."""
    loss, lse, bad = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype), np.zeros(1, np.int64)
    parallel(cross_entropy_rows, len(x), x, target, loss, lse, bad, wide=x.size >= PARALLEL)
    return NotImplemented if bad[0] else (loss, lse)


def accepts_loss_backward(grad: Any, x: Any, target: Any, lse: Any) -> bool:
    return accepts_loss(x, target) and plain_float(x, grad, lse) and grad.shape == lse.shape == (x.shape[0],)


@kernel("softmax_cross_entropy_backward", "cpu", accepts=accepts_loss_backward)
def softmax_cross_entropy_backward(
    grad: np.ndarray, x: np.ndarray, target: np.ndarray, lse: np.ndarray
) -> Any:
    """``grad (softmax(x) - one_hot(target))``; declined if a target is not a column."""
    out, bad = np.empty(x.shape, x.dtype), np.zeros(1, np.int64)
    parallel(cross_entropy_backward_rows, len(x), grad, x, target, lse, out, bad, wide=x.size >= PARALLEL)
    return NotImplemented if bad[0] else out
