"""Layer and batch normalisation with their gradients: each row or channel is read while it is in the cache.

layer:  for i in rows:      mean and variance of x[i];     write y[i]
batch:  for c in channels:  mean and variance of x[:, c];  write y[:, c]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, REASSOCIATE, jit
from accelgrad.kernels.cpu.softmax import plain_float, row_dot, row_sum
from accelgrad.kernels.cpu.threads import parallel

__all__ = ["batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

PARALLEL = 1 << 17  # elements from which a second thread pays

# The rows are summed in so many pieces, whatever the number of threads: the sums never depend on it.
PIECES = 16


@jit(REASSOCIATE)
def row_deviations(x, mean):
    """sum of (x - mean)^2"""
    total = x[0] * 0
    for j in range(x.size):
        total += (x[j] - mean) * (x[j] - mean)
    return total


@jit(REASSOCIATE)
def row_moment(grad, x, mean):
    """sum of grad (x - mean)"""
    total = grad[0] * 0
    for j in range(x.size):
        total += grad[j] * (x[j] - mean)
    return total


@jit(CONTRACT)
def layer_norm_rows(start, stop, x, weight, bias, eps, y, mean, rstd):
    one = eps / eps
    width = x.shape[1] * one
    for i in range(start, stop):
        row, result = x[i], y[i]
        m = row_sum(row) / width
        r = one / np.sqrt(row_deviations(row, m) / width + eps)
        mean[i, 0], rstd[i, 0] = m, r
        for j in range(row.size):
            result[j] = (row[j] - m) * r
        if weight.size:
            for j in range(row.size):
                result[j] *= weight[j]
        if bias.size:
            for j in range(row.size):
                result[j] += bias[j]


@jit(CONTRACT)
def layer_norm_backward_rows(start, stop, grad, x, weight, mean, rstd, gx, gweights, gbiases):
    """start and stop count pieces of the rows; each has its own sums for the weight and the bias."""
    rows, width = x.shape
    size = (rows + len(gweights) - 1) // len(gweights)
    scratch = np.empty(width, x.dtype)
    for piece in range(start, stop):
        gweight, gbias = gweights[piece], gbiases[piece]
        gweight[:] = 0
        gbias[:] = 0
        for i in range(piece * size, min(piece * size + size, rows)):
            g, row, result, m, r = grad[i], x[i], gx[i], mean[i, 0], rstd[i, 0]
            for j in range(width):
                normal = (row[j] - m) * r
                result[j] = normal
                gweight[j] += g[j] * normal
                gbias[j] += g[j]
            if weight.size:
                for j in range(width):
                    scratch[j] = g[j] * weight[j]
            else:
                for j in range(width):
                    scratch[j] = g[j]
            a = row_sum(scratch) / x.dtype.type(width)
            b = row_dot(scratch, result) / x.dtype.type(width)
            for j in range(width):
                result[j] = r * (scratch[j] - a - result[j] * b)


@jit(CONTRACT)
def batch_norm_channels(start, stop, x, weight, bias, eps, y, mean, var, rstd):
    batch, _, length = x.shape
    count = np.float64(batch * length)
    for c in range(start, stop):
        total = 0.0
        for i in range(batch):
            total += np.float64(row_sum(x[i, c]))
        m = x.dtype.type(total / count)
        total = 0.0
        for i in range(batch):
            total += np.float64(row_deviations(x[i, c], m))
        v = x.dtype.type(total / count)
        r = x.dtype.type(1) / np.sqrt(v + eps)
        mean[c], var[c], rstd[c] = m, v, r
        scale = r * weight[c] if weight.size else r
        shift = bias[c] if bias.size else r - r
        for i in range(batch):
            row, result = x[i, c], y[i, c]
            for j in range(length):
                result[j] = (row[j] - m) * scale + shift


@jit(CONTRACT)
def batch_norm_backward_channels(start, stop, grad, x, weight, mean, rstd, gx, gweight, gbias):
    batch, _, length = x.shape
    count = np.float64(batch * length)
    for c in range(start, stop):
        m, r = mean[c], rstd[c]
        total, moment = 0.0, 0.0
        for i in range(batch):
            total += np.float64(row_sum(grad[i, c]))
            moment += np.float64(row_moment(grad[i, c], x[i, c], m))
        moment *= r
        gweight[c], gbias[c] = moment, total
        scale = r * weight[c] if weight.size else r
        a, b = x.dtype.type(total / count), x.dtype.type(moment / count * r)
        for i in range(batch):
            g, row, result = grad[i, c], x[i, c], gx[i, c]
            for j in range(length):
                result[j] = scale * (g[j] - a - (row[j] - m) * b)


def scale_fits(x: np.ndarray, weight: Any, width: int) -> bool:
    return weight is None or (plain_float(x, weight) and weight.shape == (width,))


def given(x: np.ndarray, weight: Any) -> np.ndarray:
    """None as an array of no elements."""
    return np.empty(0, x.dtype) if weight is None else weight


def accepts_layer(x: Any, weight: Any, bias: Any, eps: float) -> bool:
    """x (rows, width) contiguous, weight and bias (width,) or None, of one dtype; eps > 0."""
    if not plain_float(x) or x.ndim != 2 or eps <= 0:
        return False
    return scale_fits(x, weight, x.shape[1]) and scale_fits(x, bias, x.shape[1])


@kernel("layer_norm", "cpu", accepts=accepts_layer)
def layer_norm(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """y, mean and rstd of every row."""
    y = np.empty(x.shape, x.dtype)
    mean, rstd = np.empty((len(x), 1), x.dtype), np.empty((len(x), 1), x.dtype)
    arrays = x, given(x, weight), given(x, bias), x.dtype.type(eps), y, mean, rstd
    parallel(layer_norm_rows, len(x), *arrays, wide=x.size >= PARALLEL)
    return y, mean, rstd


def accepts_layer_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> bool:
    return (
        plain_float(x, grad, mean, rstd)
        and x.ndim == 2
        and grad.shape == x.shape
        and mean.shape == rstd.shape == (x.shape[0], 1)
        and scale_fits(x, weight, x.shape[1])
    )


@kernel("layer_norm_backward", "cpu", accepts=accepts_layer_backward)
def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias."""
    gx = np.empty(x.shape, x.dtype)
    pieces = min(PIECES, len(x))
    gweights, gbiases = np.empty((pieces, x.shape[1]), x.dtype), np.empty((pieces, x.shape[1]), x.dtype)
    arrays = grad, x, given(x, weight), mean, rstd, gx, gweights, gbiases
    parallel(layer_norm_backward_rows, pieces, *arrays, wide=x.size >= PARALLEL)
    return gx, gweights.sum(axis=0), gbiases.sum(axis=0)


def accepts_batch(x: Any, weight: Any, bias: Any, eps: float) -> bool:
    """x (n, c, length) contiguous, weight and bias (c,) or None, of one dtype; eps > 0."""
    if not plain_float(x) or x.ndim != 3 or eps <= 0:
        return False
    return scale_fits(x, weight, x.shape[1]) and scale_fits(x, bias, x.shape[1])


def long_runs(x: Any, *rest: Any) -> bool:
    """Each channel is visited image by image: that pays only for images of more than a few numbers."""
    return x.shape[-1] >= 16


@kernel("batch_norm", "cpu", accepts=accepts_batch, faster=long_runs)
def batch_norm(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """y, and of every channel the mean, the biased variance and rstd."""
    y = np.empty(x.shape, x.dtype)
    mean, var, rstd = (np.empty(x.shape[1], x.dtype) for _ in range(3))
    arrays = x, given(x, weight), given(x, bias), x.dtype.type(eps), y, mean, var, rstd
    parallel(batch_norm_channels, x.shape[1], *arrays, wide=x.size >= PARALLEL)
    return y, mean, var, rstd


def accepts_batch_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> bool:
    return (
        plain_float(x, grad, mean, rstd)
        and x.ndim == 3
        and grad.shape == x.shape
        and mean.shape == rstd.shape == (x.shape[1],)
        and scale_fits(x, weight, x.shape[1])
    )


@kernel("batch_norm_backward", "cpu", accepts=accepts_batch_backward, faster=long_runs)
def batch_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias."""
    gx = np.empty(x.shape, x.dtype)
    gweight, gbias = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    arrays = grad, x, given(x, weight), mean, rstd, gx, gweight, gbias
    parallel(batch_norm_backward_channels, x.shape[1], *arrays, wide=x.size >= PARALLEL)
    return gx, gweight, gbias
