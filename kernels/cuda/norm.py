"""Layer and batch normalisation and their gradients: statistics in two passes, sums in a fixed order."""

from __future__ import annotations

import math
from typing import Any

from accelgrad.kernels.cuda.launch import Program, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import add, block_reduce, quotient

__all__ = ["batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

THREADS = 256
ENOUGH_BLOCKS = 800
LEAST_PART = 4096
COLUMNS, LANES = 32, 8

sum_of_block = block_reduce(add)

# --- layer norm


def layer_norm_rows(T: Any) -> Any:
    ZERO, ONE = T(0), T(1)

    def kernel(x, weight, bias, y, mean, rstd, n, eps, with_weight, with_bias):
        buffer = cuda.shared.array(32, T)
        row = cuda.blockIdx.x
        base = row * n
        total = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            total += x[base + i]
        centre = sum_of_block(total, buffer) / T(n)
        total = ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            d = x[base + i] - centre
            total += d * d
        scale = ONE / math.sqrt(sum_of_block(total, buffer) / T(n) + eps)
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            value = (x[base + i] - centre) * scale
            if with_weight:
                value *= weight[i]
            if with_bias:
                value += bias[i]
            y[base + i] = value
        if cuda.threadIdx.x == 0:
            mean[row] = centre
            rstd[row] = scale

    return kernel


def layer_norm_rows_backward(T: Any) -> Any:
    ZERO = T(0)

    def kernel(grad, x, weight, mean, rstd, gx, n, with_weight):
        buffer = cuda.shared.array(32, T)
        row = cuda.blockIdx.x
        base = row * n
        centre, scale = mean[row], rstd[row]
        total, product = ZERO, ZERO
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            g = grad[base + i]
            if with_weight:
                g *= weight[i]
            total += g
            product += g * (x[base + i] - centre) * scale
        total = sum_of_block(total, buffer) / T(n)
        product = sum_of_block(product, buffer) / T(n)
        for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            g = grad[base + i]
            if with_weight:
                g *= weight[i]
            gx[base + i] = scale * (g - total - (x[base + i] - centre) * scale * product)

    return kernel


def layer_norm_weights_backward(T: Any) -> Any:
    """Over a part of the rows: the sums of ``grad (x - mean) rstd`` and of ``grad``, a column a thread."""
    ZERO = T(0)

    def kernel(grad, x, mean, rstd, gweight, gbias, rows, n, part):
        products = cuda.shared.array((LANES, COLUMNS), T)
        totals = cuda.shared.array((LANES, COLUMNS), T)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + tx
        low = cuda.blockIdx.y * part
        product, total = ZERO, ZERO
        if j < n:
            for i in range(low + ty, min(low + part, rows), LANES):
                g = grad[i * n + j]
                product += g * (x[i * n + j] - mean[i]) * rstd[i]
                total += g
        products[ty, tx] = product
        totals[ty, tx] = total
        cuda.syncthreads()
        if ty == 0 and j < n:
            for lane in range(1, LANES):
                product += products[lane, tx]
                total += totals[lane, tx]
            gweight[cuda.blockIdx.y * n + j] = product
            gbias[cuda.blockIdx.y * n + j] = total

    return kernel


def sum_of_parts(T: Any) -> Any:
    """``total[j] = sum over parts of partial[part, j]``, for two tables at once."""

    def kernel(first, second, first_total, second_total, parts, n):
        j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if j < n:
            a, b = first[j], second[j]
            for part in range(1, parts):
                a += first[part * n + j]
                b += second[part * n + j]
            first_total[j] = a
            second_total[j] = b

    return kernel


LAYER = Program(layer_norm_rows, "PPPPPPitii")
LAYER_BACKWARD = Program(layer_norm_rows_backward, "PPPPPPii")
LAYER_WEIGHTS = Program(layer_norm_weights_backward, "PPPPPPiii")
PARTS = Program(sum_of_parts, "PPPPii")


def threads_for(n: int) -> int:
    """A warp for short rows, up to 16 warps for long ones."""
    return 32 if n <= 128 else 128 if n <= 2048 else 512


def of_width(v: Any, n: int) -> bool:
    return v is None or (hasattr(v, "shape") and v.shape == (n,) and on_card(v))


def same_type(x: Any, *others: Any) -> bool:
    return all(other is None or other.dtype == x.dtype for other in others)


def layer_accepts(x: Any, weight: Any, bias: Any, eps: float) -> bool:
    return (
        x.ndim == 2
        and x.size > 0
        and on_card(x)
        and of_width(weight, x.shape[1])
        and of_width(bias, x.shape[1])
        and same_type(x, weight, bias)
    )


@cuda_kernel("layer_norm", accepts=layer_accepts)
def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """``(x - mean) rstd weight + bias``, mean and rstd: x (rows, width).

    for every row:  for i: mean += x[i] / n;  for i: var += (x[i] - mean)^2 / n;  for i: y[i] = ...
    """
    rows, n = x.shape
    y, mean, rstd = room(x, x.shape), room(x, (rows, 1)), room(x, (rows, 1))
    given = weight is not None, bias is not None
    LAYER(rows, threads_for(n), x.dtype.char, x, weight, bias, y, mean, rstd, n, eps, *given)
    return y, mean, rstd


def layer_backward_accepts(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> bool:
    return (
        layer_accepts(x, weight, None, 0.0)
        and hasattr(grad, "shape")
        and grad.shape == x.shape
        and mean.size == rstd.size == x.shape[0]
        and on_card(x, grad, mean, rstd)
    )


@cuda_kernel("layer_norm_backward", accepts=layer_backward_accepts)
def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias.

    for every row:  with h = (x - mean) rstd and g = grad weight:  gx[i] = rstd (g[i] - mean(g) - h[i]
    mean(g h)) for every column:  for every row:  gweight += grad h;  gbias += grad
    """
    rows, n = x.shape
    char = x.dtype.char
    gx = room(x, x.shape)
    LAYER_BACKWARD(rows, threads_for(n), char, grad, x, weight, mean, rstd, gx, n, weight is not None)
    across = -(-n // COLUMNS)
    part, parts = shares(rows, across, 256)
    gweights, gbiases = room(x, (parts, n)), room(x, (parts, n))
    grid = (across, parts)
    LAYER_WEIGHTS(grid, (COLUMNS, LANES), char, grad, x, mean, rstd, gweights, gbiases, rows, n, part)
    if parts == 1:
        return gx, gweights.reshape(n), gbiases.reshape(n)
    gweight, gbias = room(x, n), room(x, n)
    PARTS(-(-n // 64), 64, char, gweights, gbiases, gweight, gbias, parts, n)
    return gx, gweight, gbias


def shares(n: int, blocks: int, least: int) -> tuple[int, int]:
    """How long each part is and how many there are, so that all of the card is busy."""
    parts = max(1, min(ENOUGH_BLOCKS // max(blocks, 1), n // least, 256))
    part = -(-n // parts)
    return part, -(-n // part)


# --- batch norm


def channel_moments(T: Any) -> Any:
    """Of a part of one channel: its mean, and the sum of squared distances from that mean."""
    ZERO = T(0)

    def kernel(x, means, squares, channels, length, count, part):
        buffer = cuda.shared.array(32, T)
        channel = cuda.blockIdx.x
        low = cuda.blockIdx.y * part
        high = min(low + part, count)
        total = ZERO
        for r in range(low + cuda.threadIdx.x, high, cuda.blockDim.x):
            sample = quotient(r, length)
            total += x[(sample * channels + channel) * length + r - sample * length]
        mean = sum_of_block(total, buffer) / T(high - low)
        total = ZERO
        for r in range(low + cuda.threadIdx.x, high, cuda.blockDim.x):
            sample = quotient(r, length)
            d = x[(sample * channels + channel) * length + r - sample * length] - mean
            total += d * d
        total = sum_of_block(total, buffer)
        if cuda.threadIdx.x == 0:
            means[cuda.blockIdx.y * channels + channel] = mean
            squares[cuda.blockIdx.y * channels + channel] = total

    return kernel


def merged_moments(T: Any) -> Any:
    """Mean, variance and 1 / sqrt(variance + eps) of each channel from those of its parts.

    Chan, Golub & LeVeque 1979, equation 2.1, part after part.
    """
    ONE = T(1)

    def kernel(means, squares, mean, var, rstd, channels, count, part, parts, eps):
        c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if c < channels:
            centre, total, seen = means[c], squares[c], T(min(part, count))
            for p in range(1, parts):
                more = T(min(part, count - p * part))
                delta = means[p * channels + c] - centre
                share = more / (seen + more)
                centre += delta * share
                total += squares[p * channels + c] + delta * delta * seen * share
                seen += more
            mean[c] = centre
            var[c] = total / seen
            rstd[c] = ONE / math.sqrt(total / seen + eps)

    return kernel


def normalised_channels(T: Any) -> Any:
    """``y = (x - mean) rstd weight + bias``: a block runs along one channel of one sample."""

    def kernel(x, weight, bias, mean, rstd, y, channels, length, with_weight, with_bias):
        c = cuda.blockIdx.x % channels
        base = cuda.blockIdx.x * length
        scale = rstd[c]
        if with_weight:
            scale *= weight[c]
        centre = mean[c]
        i = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        while i < length:
            value = (x[base + i] - centre) * scale
            if with_bias:
                value += bias[c]
            y[base + i] = value
            i += cuda.gridDim.y * cuda.blockDim.x

    return kernel


def channel_gradients(T: Any) -> Any:
    """Of a part of one channel: the sums of ``grad (x - mean) rstd`` and of ``grad``."""
    ZERO = T(0)

    def kernel(grad, x, mean, rstd, gweights, gbiases, channels, length, count, part):
        buffer = cuda.shared.array(32, T)
        channel = cuda.blockIdx.x
        low = cuda.blockIdx.y * part
        centre = mean[channel]
        product, total = ZERO, ZERO
        for r in range(low + cuda.threadIdx.x, min(low + part, count), cuda.blockDim.x):
            sample = quotient(r, length)
            at = (sample * channels + channel) * length + r - sample * length
            g = grad[at]
            product += g * (x[at] - centre)
            total += g
        product = sum_of_block(product, buffer) * rstd[channel]
        total = sum_of_block(total, buffer)
        if cuda.threadIdx.x == 0:
            gweights[cuda.blockIdx.y * channels + channel] = product
            gbiases[cuda.blockIdx.y * channels + channel] = total

    return kernel


def input_gradient(T: Any) -> Any:
    """``gx = rstd weight (grad - gbias / count - h gweight / count)``, with ``h = (x - mean) rstd``."""

    def kernel(grad, x, weight, mean, rstd, gweight, gbias, gx, channels, length, count, with_weight):
        c = cuda.blockIdx.x % channels
        base = cuda.blockIdx.x * length
        scale = rstd[c]
        slope = scale * gweight[c] / T(count)
        offset = gbias[c] / T(count)
        if with_weight:
            scale *= weight[c]
        centre = mean[c]
        i = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        while i < length:
            gx[base + i] = scale * (grad[base + i] - offset - (x[base + i] - centre) * slope)
            i += cuda.gridDim.y * cuda.blockDim.x

    return kernel


MOMENTS = Program(channel_moments, "PPPiiii")
MERGED = Program(merged_moments, "PPPPPiiiit")
NORMALISED = Program(normalised_channels, "PPPPPPiiii")
CHANNEL_GRADIENTS = Program(channel_gradients, "PPPPPPiiii")
INPUT_GRADIENT = Program(input_gradient, "PPPPPPPPiiii")


def batch_accepts(x: Any, weight: Any, bias: Any, eps: float) -> bool:
    return (
        x.ndim == 3
        and x.size > 0
        and on_card(x)
        and of_width(weight, x.shape[1])
        and of_width(bias, x.shape[1])
        and same_type(x, weight, bias)
    )


def along(x: Any) -> tuple[tuple[int, int], int]:
    """The grid and block of a kernel that runs along every channel of every sample."""
    n, c, length = x.shape
    threads = min(THREADS, -(-length // 32) * 32)
    return (n * c, max(1, min(-(-length // threads), 16))), threads


@cuda_kernel("batch_norm", accepts=batch_accepts)
def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """``(x - mean) rstd weight + bias``, mean, variance and rstd of each channel: x (n, c, length).

    for every channel:  for r: mean += x[r] / count;  for r: var += (x[r] - mean)^2 / count;  for r: y[r] =
    ...
    """
    n, c, length = x.shape
    char, count = x.dtype.char, n * length
    part, parts = shares(count, c, LEAST_PART)
    means, squares = room(x, (parts, c)), room(x, (parts, c))
    threads = 32 if part <= 128 else THREADS
    MOMENTS((c, parts), threads, char, x, means, squares, c, length, count, part)
    mean, var, rstd = room(x, c), room(x, c), room(x, c)
    MERGED(-(-c // 64), 64, char, means, squares, mean, var, rstd, c, count, part, parts, eps)
    y = room(x, x.shape)
    grid, threads = along(x)
    given = weight is not None, bias is not None
    NORMALISED(grid, threads, char, x, weight, bias, mean, rstd, y, c, length, *given)
    return y, mean, var, rstd


def batch_backward_accepts(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> bool:
    return (
        batch_accepts(x, weight, None, 0.0)
        and hasattr(grad, "shape")
        and grad.shape == x.shape
        and mean.size == rstd.size == x.shape[1]
        and on_card(x, grad, mean, rstd)
    )


@cuda_kernel("batch_norm_backward", accepts=batch_backward_accepts)
def batch_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias.

    for every channel:  for r: gweight += grad[r] h[r];  gbias += grad[r]
    for every element:  gx = rstd weight (grad - gbias / count - h gweight / count)
    """
    n, c, length = x.shape
    char, count = x.dtype.char, n * length
    part, parts = shares(count, c, LEAST_PART)
    gweights, gbiases = room(x, (parts, c)), room(x, (parts, c))
    threads = 32 if part <= 128 else THREADS
    CHANNEL_GRADIENTS(
        (c, parts), threads, char, grad, x, mean, rstd, gweights, gbiases, c, length, count, part
    )
    gweight, gbias = gweights.reshape(-1)[:c], gbiases.reshape(-1)[:c]
    if parts > 1:
        gweight, gbias = room(x, c), room(x, c)
        PARTS(-(-c // 64), 64, char, gweights, gbiases, gweight, gbias, parts, c)
    gx = room(x, x.shape)
    grid, threads = along(x)
    given = weight is not None
    INPUT_GRADIENT(
        *(grid, threads, char, grad, x, weight, mean, rstd, gweight, gbias, gx, c, length, count, given)
    )
    return gx, gweight, gbias
