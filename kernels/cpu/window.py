"""Windows over images: im2col, its adjoint col2im, and max pooling with its gradient.

    for each image and channel:               # shared out among the threads
        for i, j in the kernel:  for p, q in the windows:  out[i, j, p, q] = x[p * stride + i, q * stride + j]

Everything moves along rows of windows, so the innermost loops copy or compare whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import REASSOCIATE, jit
from accelgrad.kernels.cpu.elementary import choose
from accelgrad.kernels.cpu.softmax import plain_float
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.plain import pair, windows

__all__ = ["col2im", "im2col", "max_pool2d", "max_pool2d_backward"]

PARALLEL = 1 << 16  # elements of the result from which a second thread pays


@jit()
def inside(count, size, stride, offset):
    """Return the range (start, stop) of the ``count`` windows whose element lies in the image.

    The element of window q is ``q * stride + offset``, and the image is 0 ... size - 1.
    """
    first = 0 if offset >= 0 else (-offset + stride - 1) // stride
    last = min(count, (size - 1 - offset) // stride + 1) if size > offset else 0
    return min(first, count), max(last, min(first, count))


@jit()
def im2col_planes(start, stop, x, out, stride, padding, dilation):
    """x (planes, h, w); out (planes, kh, kw, oh, ow)."""
    _, kh, kw, oh, ow = out.shape
    _, h, w = x.shape
    for plane in range(start, stop):
        for i in range(kh):
            for j in range(kw):
                offset = j * dilation[1] - padding[1]
                first, last = inside(ow, w, stride[1], offset)
                for p in range(oh):
                    target = out[plane, i, j, p]
                    y = p * stride[0] + i * dilation[0] - padding[0]
                    if y < 0 or y >= h or first >= last:
                        target[:] = 0
                        continue
                    target[:first] = 0
                    target[last:] = 0
                    left = first * stride[1] + offset
                    source, piece = x[plane, y, left:], target[first:last]
                    if stride[1] == 1:
                        for q in range(piece.size):
                            piece[q] = source[q]
                    else:
                        for q in range(piece.size):
                            piece[q] = source[q * stride[1]]


@jit()
def col2im_planes(start, stop, columns, out, stride, padding, dilation):
    """columns (planes, kh, kw, oh, ow); out (planes, h, w), every plane of which is written."""
    _, kh, kw, oh, ow = columns.shape
    _, h, w = out.shape
    for plane in range(start, stop):
        out[plane] = 0
        for i in range(kh):
            for j in range(kw):
                offset = j * dilation[1] - padding[1]
                first, last = inside(ow, w, stride[1], offset)
                if first >= last:
                    continue
                for p in range(oh):
                    y = p * stride[0] + i * dilation[0] - padding[0]
                    if y < 0 or y >= h:
                        continue
                    left = first * stride[1] + offset
                    target, piece = out[plane, y, left:], columns[plane, i, j, p, first:last]
                    if stride[1] == 1:
                        for q in range(piece.size):
                            target[q] += piece[q]
                    else:
                        for q in range(piece.size):
                            target[q * stride[1]] += piece[q]


@jit(forceinline=True)
def larger(a, b):
    return choose(a > b, a, b)


@jit(REASSOCIATE)
def max_pool_pairs(upper, lower, best, place, here, w):
    """A row of windows of 2 x 2 at steps of 2, without NaN; false where there is one, or may be.

    The maximum first, then the first pixel that equals it: so no comparison waits for another.
    """
    total = best.dtype.type(0)
    for q in range(best.size):
        a, b, c, d = upper[2 * q], upper[2 * q + 1], lower[2 * q], lower[2 * q + 1]
        largest = larger(larger(a, b), larger(c, d))
        at = here + 2 * q
        best[q] = largest
        place[q] = choose(
            a == largest, at, choose(b == largest, at + 1, choose(c == largest, at + w, at + w + 1))
        )
        total += a + b + c + d
    return total == total


@jit()
def max_pool_planes(start, stop, x, out, indices, kernel, stride, padding, dilation):
    """x (planes, h, w).

    Out and indices (planes, oh, ow): the windows of one row at a time, one tap after another.
    """
    _, oh, ow = out.shape
    _, h, w = x.shape
    ranges = np.empty((kernel[1], 2), np.int64)
    for j in range(kernel[1]):
        ranges[j, 0], ranges[j, 1] = inside(ow, w, stride[1], j * dilation[1] - padding[1])
    paired = (
        kernel == (2, 2) and stride == (2, 2) and padding == (0, 0) and dilation == (1, 1) and 2 * ow <= w
    )
    for plane in range(start, stop):
        for p in range(oh):
            best, place = out[plane, p], indices[plane, p]
            y = 2 * p
            if paired and y + 1 < h and max_pool_pairs(x[plane, y], x[plane, y + 1], best, place, y * w, w):
                continue
            place[:] = -1
            for i in range(kernel[0]):
                y = p * stride[0] + i * dilation[0] - padding[0]
                if y < 0 or y >= h:
                    continue
                for j in range(kernel[1]):
                    first, last = ranges[j, 0], ranges[j, 1]
                    if first >= last:
                        continue
                    left = first * stride[1] + j * dilation[1] - padding[1]
                    source, b, at = x[plane, y, left:], best[first:last], place[first:last]
                    here = y * w + left
                    for q in range(b.size):
                        value = source[q * stride[1]]
                        better = (at[q] < 0) | (value > b[q]) | ((value != value) & (b[q] == b[q]))
                        b[q] = value if better else b[q]
                        at[q] = here + q * stride[1] if better else at[q]


@jit()
def add_at_planes(start, stop, grad, indices, out, bad):
    """out[plane, indices[plane, k]] += grad[plane, k]"""
    for plane in range(start, stop):
        target = out[plane]
        target[:] = 0
        for k in range(grad.shape[1]):
            index = indices[plane, k]
            if index < 0 or index >= target.size:
                bad[0] = 1
            else:
                target[index] += grad[plane, k]


def accepts_windows(
    x: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> bool:
    """x (n, c, h, w) contiguous, and at least one window."""
    if not plain_float(x) or x.ndim != 4:
        return False
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    padding, dilation = pair(padding), pair(dilation)
    return all(
        windows(x.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i], ceil_mode) for i in (0, 1)
    )


@kernel("im2col", "cpu", accepts=accepts_windows)
def im2col(x: np.ndarray, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> np.ndarray:
    """(n, c * kh * kw, oh * ow)"""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    out = np.empty((n * c, kh, kw, oh, ow), x.dtype)
    arrays = x.reshape(n * c, h, w), out, (sh, sw), (ph, pw), (dh, dw)
    parallel(im2col_planes, n * c, *arrays, wide=out.size >= PARALLEL)
    return out.reshape(n, c * kh * kw, oh * ow)


def accepts_col2im(
    columns: Any, shape: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> bool:
    if not plain_float(columns) or columns.ndim != 3 or len(shape) != 4:
        return False
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    oh, ow = windows(shape[2], kh, sh, ph, dh), windows(shape[3], kw, sw, pw, dw)
    return columns.shape == (shape[0], shape[1] * kh * kw, oh * ow)


@kernel("col2im", "cpu", accepts=accepts_col2im)
def col2im(
    columns: np.ndarray, shape: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> np.ndarray:
    """(n, c, h, w)"""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    n, c, h, w = shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    out = np.empty((n * c, h, w), columns.dtype)
    arrays = columns.reshape(n * c, kh, kw, oh, ow), out, (sh, sw), (ph, pw), (dh, dw)
    parallel(col2im_planes, n * c, *arrays, wide=columns.size >= PARALLEL)
    return out.reshape(shape)


@kernel("max_pool2d", "cpu", accepts=accepts_windows)
def max_pool2d(
    x: np.ndarray,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of every window and its flat position, both (n, c, oh, ow)."""
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel), pair(padding), pair(dilation)
    sh, sw = pair(kernel if stride is None else stride)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh, ceil_mode), windows(w, kw, sw, pw, dw, ceil_mode)
    out, indices = np.empty((n * c, oh, ow), x.dtype), np.empty((n * c, oh, ow), np.int64)
    arrays = x.reshape(n * c, h, w), out, indices, (kh, kw), (sh, sw), (ph, pw), (dh, dw)
    parallel(max_pool_planes, n * c, *arrays, wide=x.size >= PARALLEL)
    return out.reshape(n, c, oh, ow), indices.reshape(n, c, oh, ow)


def accepts_pool_backward(grad: Any, indices: Any, input_shape: Any, window: Any = None) -> bool:
    return (
        plain_float(grad)
        and grad.ndim == len(input_shape) == 4
        and grad.shape[:2] == tuple(input_shape[:2])
        and type(indices) is np.ndarray
        and indices.dtype == np.int64
        and indices.shape == grad.shape
        and indices.flags.carray
    )


@kernel("max_pool2d_backward", "cpu", accepts=accepts_pool_backward)
def max_pool2d_backward(grad: np.ndarray, indices: np.ndarray, input_shape: Any, window: Any = None) -> Any:
    """(n, c, h, w); declined if an index lies outside of its image."""
    n, c, h, w = input_shape
    out, bad = np.empty((n * c, h * w), grad.dtype), np.zeros(1, np.int64)
    arrays = grad.reshape(n * c, -1), indices.reshape(n * c, -1), out, bad
    parallel(add_at_planes, n * c, *arrays, wide=out.size >= PARALLEL)
    return NotImplemented if bad[0] else out.reshape(input_shape)
