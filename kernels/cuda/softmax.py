"""Softmax, its logarithm, their gradients along the last axis, and cross-entropy: one block a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import Program, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import add, block_reduce, larger

__all__ = [
    "causal_softmax", "log_softmax", "log_softmax_backward", "logsumexp", "softmax", "softmax_backward",
    "softmax_cross_entropy", "softmax_cross_entropy_backward", "cross_entropy_total",
    "cross_entropy_total_backward",
]  # fmt: skip

sum_of_block, max_of_block = block_reduce(add), block_reduce(larger)


def softmax_rows(T: Any) -> Any:
    """Largest, sum of exponentials, results: the row comes from memory once, then from the cache.

    With ``causal`` rows, (..., causal, n), row i of each matrix ends after element i, and is 0 from there on.
    """
    LOWEST, ZERO, ONE = T(-math.inf), T(0), T(1)

    def kernel(x, y, width, log, causal):
        buffer = cuda.shared.array(32, T)
        base = cuda.blockIdx.x * width
        n = width
        if causal > 0:
            n = min(cuda.blockIdx.x % causal + 1, width)
            for i in range(n + cuda.threadIdx.x, width, cuda.blockDim.x):
                y[base + i] = ZERO
        top = LOWEST
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            top = larger(top, x[base + i])
        top = max_of_block(top, buffer)
        total = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            total += math.exp(x[base + i] - top)
        total = sum_of_block(total, buffer)
        if log:
            total = math.log(total)
            for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
                y[base + i] = x[base + i] - top - total
        else:
            scale = ONE / total
            for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
                y[base + i] = math.exp(x[base + i] - top) * scale

    return kernel


def softmax_rows_backward(T: Any) -> Any:
    ZERO = T(0)

    def kernel(grad, y, gx, n, log):
        buffer = cuda.shared.array(32, T)
        base = cuda.blockIdx.x * n
        total = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            total += grad[base + i] if log else grad[base + i] * y[base + i]
        total = sum_of_block(total, buffer)
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            if log:
                gx[base + i] = grad[base + i] - math.exp(y[base + i]) * total
            else:
                gx[base + i] = y[base + i] * (grad[base + i] - total)

    return kernel


def cross_entropy_rows(T: Any) -> Any:
    """``lse = log(sum(exp(x)))``.

    With targets also ``loss = lse - x[target]``, 0 where the target is the ignored one, NaN where it is no
    class: there the card would read somewhere else.
    """
    LOWEST, ZERO, NAN = T(-math.inf), T(0), T(math.nan)

    def kernel(x, target, loss, lse, n, with_target, ignored):
        buffer = cuda.shared.array(32, T)
        row = cuda.blockIdx.x
        base = row * n
        top = LOWEST
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            top = larger(top, x[base + i])
        top = max_of_block(top, buffer)
        # An infinite maximum is itself the answer: inf - inf would be NaN.
        shift = top if top - top == ZERO else ZERO
        total = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            total += math.exp(x[base + i] - shift)
        total = sum_of_block(total, buffer)
        if cuda.threadIdx.x == 0:
            value = math.log(total) + top if top - top == ZERO else top
            lse[row] = value
            if with_target:
                hit = target[row]
                if hit == ignored:
                    value = ZERO
                elif hit < 0 or hit >= n:
                    value = NAN
                else:
                    value -= x[base + hit]
                loss[row] = value

    return kernel


def cross_entropy_sum(T: Any) -> Any:
    """The sum of all losses, or their mean and 1 over the number of rows that count.  One block."""
    ZERO, ONE = T(0), T(1)

    def kernel(loss, target, total, scale, rows, ignored, mean):
        buffer = cuda.shared.array(32, T)
        value, count = ZERO, ZERO
        for i in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
            value += loss[i]
            if target[i] != ignored:
                count += ONE
        value = sum_of_block(value, buffer)
        count = sum_of_block(count, buffer)
        if cuda.threadIdx.x == 0:
            if mean:
                total[0] = value / count
                scale[0] = ONE / count if count > ZERO else ZERO
            else:
                total[0] = value

    return kernel


def cross_entropy_backward(T: Any) -> Any:
    """A gradient for each row, or one for all of them times ``scale``, and 0 for a row that is ignored."""
    ZERO, ONE = T(0), T(1)

    def kernel(grad, scale, x, target, lse, gx, n, each, ignored, scaled):
        row = cuda.blockIdx.x
        base = row * n
        hit, l = target[row], lse[row]
        g = grad[row if each else 0]
        if scaled:
            g *= scale[0]
        if hit == ignored:
            g = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            p = math.exp(x[base + i] - l)
            gx[base + i] = g * (p - ONE if i == hit else p)

    return kernel


ROWS = Program(softmax_rows, "PPiii")
ROWS_BACKWARD = Program(softmax_rows_backward, "PPPii")
ENTROPY = Program(cross_entropy_rows, "PLPPiiq")
ENTROPY_SUM = Program(cross_entropy_sum, "PLPPiqi")
ENTROPY_BACKWARD = Program(cross_entropy_backward, "PPPLPPiiqi")
NO_TARGET = -(2**62)  # an ignore_index that no target has


def threads_for(n: int) -> int:
    """A warp for short rows, up to 16 warps for long ones."""
    return 32 if n <= 128 else 128 if n <= 2048 else 512


def last_axis(x: Any, axis: int = -1) -> bool:
    return hasattr(x, "strides") and x.ndim > 0 and x.size > 0 and axis in (-1, x.ndim - 1) and on_card(x)


def pair_on_last_axis(grad: Any, y: Any, axis: int = -1) -> bool:
    return last_axis(y, axis) and hasattr(grad, "shape") and grad.shape == y.shape and on_card(y, grad)


def _forward(x: Any, log: bool, causal: int = 0) -> Any:
    n = x.shape[-1]
    y = room(x, x.shape)
    ROWS(x.size // n, threads_for(n), x.dtype.char, x, y, n, log, causal)
    return y


def _backward(grad: Any, y: Any, log: bool) -> Any:
    n = y.shape[-1]
    gx = room(y, y.shape)
    ROWS_BACKWARD(y.size // n, threads_for(n), y.dtype.char, grad, y, gx, n, log)
    return gx


@cuda_kernel("softmax", accepts=last_axis)
def softmax(x: Any, axis: int = -1) -> Any:
    """``exp(x - max) / sum(exp(x - max))`` of every row.

    for every row:  for i: top = max(top, x[i]);  for i: total += exp(x[i] - top);  for i: y[i] = exp(...)
    / total
    """
    return _forward(x, False)


@cuda_kernel("log_softmax", accepts=last_axis)
def log_softmax(x: Any, axis: int = -1) -> Any:
    """``x - max - log(sum(exp(x - max)))`` of every row; the loops of softmax."""
    return _forward(x, True)


def causal_accepts(scores: Any) -> bool:
    return last_axis(scores) and scores.ndim > 1


@cuda_kernel("causal_softmax", accepts=causal_accepts)
def causal_softmax(scores: Any) -> Any:
    """The softmax of the first i + 1 elements of row i of every matrix, 0 behind them: scores (..., l, s)."""
    return _forward(scores, False, scores.shape[-2])


@cuda_kernel("softmax_backward", accepts=pair_on_last_axis)
def softmax_backward(grad: Any, y: Any, axis: int = -1) -> Any:
    """``y (grad - sum(grad y))``.

    for every row:  for i: total += grad[i] y[i];  for i: gx[i] = y[i] (grad[i] - total)
    """
    return _backward(grad, y, False)


@cuda_kernel("log_softmax_backward", accepts=pair_on_last_axis)
def log_softmax_backward(grad: Any, y: Any, axis: int = -1) -> Any:
    """``grad - exp(y) sum(grad)``; the loops of softmax_backward."""
    return _backward(grad, y, True)


def logsumexp_accepts(x: Any, axis: Any = None, keepdims: bool = False) -> bool:
    return isinstance(axis, int) and last_axis(x, axis)


@cuda_kernel("logsumexp", accepts=logsumexp_accepts)
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` of every row: the first two loops of softmax."""
    n = x.shape[-1]
    lse = room(x, x.shape[:-1] + (1,) * keepdims)
    ENTROPY(x.size // n, threads_for(n), x.dtype.char, x, None, None, lse, n, False, 0)
    return lse


def entropy_accepts(x: Any, target: Any) -> bool:
    return (
        last_axis(x)
        and x.ndim == 2
        and hasattr(target, "shape")
        and target.shape == x.shape[:1]
        and target.dtype == np.int64
        and target.flags.c_contiguous
    )


@cuda_kernel("softmax_cross_entropy", accepts=entropy_accepts)
def softmax_cross_entropy(x: Any, target: Any) -> tuple[Any, Any]:
    """The loss of each row, ``lse - x[target]``, and ``lse``: x (n, c), target (n,), both (n,).

    for every row:  for j: top = max(top, x[j]);  for j: total += exp(x[j] - top);  lse = top + log(total)
    """
    rows, n = x.shape
    loss, lse = room(x, rows), room(x, rows)
    ENTROPY(rows, threads_for(n), x.dtype.char, x, target, loss, lse, n, True, NO_TARGET)
    return loss, lse


def entropy_backward_accepts(grad: Any, x: Any, target: Any, lse: Any) -> bool:
    return (
        entropy_accepts(x, target)
        and hasattr(grad, "shape")
        and grad.shape == lse.shape == target.shape
        and on_card(x, grad, lse)
    )


@cuda_kernel("softmax_cross_entropy_backward", accepts=entropy_backward_accepts)
def softmax_cross_entropy_backward(grad: Any, x: Any, target: Any, lse: Any) -> Any:
    """``grad (exp(x - lse) - one_hot(target))``: (n, c).

    for every row i:  for j:  gx[i, j] = grad[i] (exp(x[i, j] - lse[i]) - (j == target[i]))
    """
    rows, n = x.shape
    gx = room(x, x.shape)
    ENTROPY_BACKWARD(
        *(rows, threads_for(n), x.dtype.char, grad, None, x, target, lse, gx), n, True, NO_TARGET, False
    )
    return gx


def total_accepts(x: Any, target: Any, ignore_index: int, mean: bool) -> bool:
    return entropy_accepts(x, target)


@cuda_kernel("cross_entropy_total", accepts=total_accepts)
def cross_entropy_total(x: Any, target: Any, ignore_index: int, mean: bool) -> tuple[Any, Any, Any]:
    """The sum or the mean of the losses of the rows that count, the lse, and 1 over the number of these rows.

    for every row:  the loss;  for i in rows:  total += loss[i], count += target[i] != ignore_index
    """
    rows, n = x.shape
    loss, lse, total = room(x, rows), room(x, rows), room(x, ())
    scale = room(x, ()) if mean else None
    char = x.dtype.char
    ENTROPY(rows, threads_for(n), char, x, target, loss, lse, n, True, ignore_index)
    ENTROPY_SUM(1, 32 if rows <= 32 else 256, char, loss, target, total, scale, rows, ignore_index, mean)
    return total, lse, scale


def total_backward_accepts(grad: Any, x: Any, target: Any, lse: Any, scale: Any, ignore_index: int) -> bool:
    return (
        entropy_accepts(x, target)
        and hasattr(grad, "shape")
        and grad.size == 1
        and lse.shape == target.shape
        and on_card(x, grad, lse)
        and (scale is None or on_card(x, scale))
    )


@cuda_kernel("cross_entropy_total_backward", accepts=total_backward_accepts)
def cross_entropy_total_backward(
    grad: Any, x: Any, target: Any, lse: Any, scale: Any, ignore_index: int
) -> Any:
    """``grad scale (exp(x - lse) - one_hot(target))`` in the rows that count, else 0: grad and scale 0-d.

    The result (n, c).

    for every row i that counts:  for j:  gx[i, j] = grad scale (exp(x[i, j] - lse[i]) - (j == target[i]))
    """
    rows, n = x.shape
    gx = room(x, x.shape)
    ENTROPY_BACKWARD(
        *(rows, threads_for(n), x.dtype.char, grad, scale, x, target, lse, gx),
        *(n, False, ignore_index, scale is not None),
    )
    return gx
