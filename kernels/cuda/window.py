"""Windows over images: im2col and its adjoint, largest value of a window and its gradient; a thread a result.

The adjoint and the gradient gather: each place of the image looks for the windows that saw it.  So nothing
is added atomically and the result is the same every time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import Program, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import quotient
from accelgrad.kernels.plain import pair, windows

__all__ = ["col2im", "im2col", "max_pool2d", "max_pool2d_backward"]

THREADS = 256
SMALL_BLOCK = 32


def columns_of_image(T: Any) -> Any:
    """Compute ``columns[n, (c, i, j), (p, q)] = x[n, c, p sh + i dh - ph, q sw + j dw - pw]``, 0 outside.

    A thread takes a channel and place, for all taps.

    ``sample`` and ``row`` are the steps of the columns from one n to the next, and from one (c, i, j).
    """
    ZERO = T(0)

    def kernel(x, columns, count, planes, h, w, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, sample, row):
        at = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        c = cuda.blockIdx.y
        if at < count:
            n = quotient(at, oh * ow)
            place = at - n * oh * ow
            p = quotient(place, ow)
            top, left = p * sh - ph, (place - p * ow) * sw - pw
            plane = (n * planes + c) * h
            target = n * sample + c * kh * kw * row + place
            for i in range(kh):
                y = top + i * dh
                line = (plane + y) * w
                for j in range(kw):
                    z = left + j * dw
                    inside = y >= 0 and y < h and z >= 0 and z < w
                    columns[target] = x[line + z] if inside else ZERO
                    target += row

    return kernel


def image_of_columns(T: Any) -> Any:
    """Compute the adjoint: ``x[n, c, y, z]`` sums what every window that covers (y, z) holds for it.

    The order is fixed.
    """
    ZERO = T(0)

    def kernel(columns, x, count, planes, h, w, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, sample, row):
        at = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        c = cuda.blockIdx.y
        if at < count:
            n = quotient(at, h * w)
            pixel = at - n * h * w
            y = quotient(pixel, w)
            z = pixel - y * w
            base = n * sample
            total = ZERO
            for i in range(kh):
                p = y + ph - i * dh
                seen = p >= 0
                if seen and sh > 1:  # most windows lie side by side, and need no division here
                    step = quotient(p, sh)
                    seen = step * sh == p
                    p = step
                if seen and p < oh:
                    source = base + (c * kh + i) * kw * row + p * ow
                    for j in range(kw):
                        q = z + pw - j * dw
                        hit = q >= 0
                        if hit and sw > 1:
                            step = quotient(q, sw)
                            hit = step * sw == q
                            q = step
                        if hit and q < ow:
                            total += columns[source + j * row + q]
            x[(n * planes + c) * h * w + pixel] = total

    return kernel


def largest_of_windows(T: Any) -> Any:
    """The first largest value of every window and its place in the plane; NaN counts as the largest."""

    def kernel(x, y, places, count, planes, h, w, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw):
        at = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if at < count:
            rest = quotient(at, ow)
            plane = quotient(rest, oh)
            q, p = at - rest * ow, rest - plane * oh
            base = plane * h * w
            best = x[base]
            place = -1
            for i in range(kh):
                row = p * sh + i * dh - ph
                if row >= 0 and row < h:
                    for j in range(kw):
                        column = q * sw + j * dw - pw
                        if column >= 0 and column < w:
                            value = x[base + row * w + column]
                            if place < 0 or value > best or (value != value and best == best):
                                best, place = value, row * w + column
            y[at] = best
            places[at] = place

    return kernel


def gradient_of_largest(T: Any) -> Any:
    """Each gradient to the place that its window chose: a warp a plane, 32 windows at a time.

    Where several of the 32 chose one place, the first of them adds all up, in their order.
    """
    ZERO = T(0)

    def kernel(grad, places, gx, windows_of_plane, plane_size):
        lane = cuda.threadIdx.x
        base, target = cuda.blockIdx.x * windows_of_plane, cuda.blockIdx.x * plane_size
        for start in range(0, windows_of_plane, 32):
            window = start + lane
            place, g = -1, ZERO
            if window < windows_of_plane:
                place, g = places[base + window], grad[base + window]
            total, first = ZERO, -1
            for other in range(32):
                there = cuda.shfl_sync(0xFFFFFFFF, place, other)
                more = cuda.shfl_sync(0xFFFFFFFF, g, other)
                if there == place:
                    total += more
                    if first < 0:
                        first = other
            if place >= 0 and first == lane:
                gx[target + place] += total
            cuda.syncwarp()  # the next 32 may choose the same place

    return kernel


def gradient_of_windows(T: Any) -> Any:
    """Compute ``gx[n, c, y, z]``: the gradients of the windows that cover (y, z) and chose it, summed.

    The order is fixed: a thread a pixel.
    """
    ZERO = T(0)

    def kernel(grad, places, gx, count, planes, h, w, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw):
        pixel = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if pixel < count:
            y = quotient(pixel, w)
            z = pixel - y * w
            # The first and the last window whose outer edges lie around the pixel.
            top, left = max(y + ph - (kh - 1) * dh, 0), max(z + pw - (kw - 1) * dw, 0)
            p, p_end = quotient(top + sh - 1, sh), min(quotient(y + ph, sh) + 1, oh)
            q_start, q_end = quotient(left + sw - 1, sw), min(quotient(z + pw, sw) + 1, ow)
            base = cuda.blockIdx.y * oh * ow
            total = ZERO
            while p < p_end:
                for q in range(q_start, q_end):
                    at = base + p * ow + q
                    if places[at] == pixel:
                        total += grad[at]
                p += 1
            gx[cuda.blockIdx.y * count + pixel] = total

    return kernel


GEOMETRY = "iiiiiiiiiiiiii"
COLUMNS = Program(columns_of_image, "PP" + GEOMETRY + "ii")
IMAGE = Program(image_of_columns, "PP" + GEOMETRY + "ii")
MOST_PLANES = 65535  # blocks along the second axis of a grid
LARGEST = Program(largest_of_windows, "PPL" + GEOMETRY)
WINDOWS_BACKWARD = Program(gradient_of_windows, "PLP" + GEOMETRY)
LARGEST_BACKWARD = Program(gradient_of_largest, "PLPii")


def blocks(count: int) -> tuple[int, int]:
    """The grid and the block for a thread a result."""
    threads = SMALL_BLOCK if count <= 2048 else THREADS
    return -(-count // threads), threads


def of_planes(count: int, planes: int) -> tuple[tuple[int, int], int]:
    """The grid and the block for a thread a place in each of the planes."""
    along, threads = blocks(count)
    return (along, planes), threads


def unfold(x: Any, columns: Any, window: Any, places: Any, geometry: Any, sample: int, row: int) -> None:
    """Write the windows of x (n, c, h, w) into columns with these steps between samples and rows."""
    n, c, h, w = x.shape
    count = n * places[0] * places[1]
    numbers = count, c, h, w, *window, *places, *geometry, sample, row
    COLUMNS(*of_planes(count, c), x.dtype.char, x, columns, *numbers)


def fold(columns: Any, x: Any, window: Any, places: Any, geometry: Any, sample: int, row: int) -> None:
    """Write the adjoint of :func:`unfold` into x (n, c, h, w)."""
    n, c, h, w = x.shape
    numbers = n * h * w, c, h, w, *window, *places, *geometry, sample, row
    IMAGE(*of_planes(n * h * w, c), x.dtype.char, columns, x, *numbers)


def image_accepts(x: Any, kernel: Any, *rest: Any, **options: Any) -> bool:
    return x.ndim == 4 and x.size > 0 and on_card(x)


@cuda_kernel("im2col", accepts=image_accepts)
def im2col(x: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """The windows that a convolution sees, one a column: x (n, c, h, w) gives (n, c * kh * kw, oh * ow).

    for n, c, i, j, p, q:  out[n, (c, i, j), (p, q)] = padded x[n, c, p stride + i dilation, q stride + j
    dilation]
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    out = room(x, (n, c * kh * kw, oh * ow))
    if out.size >= 2**31 or c > MOST_PLANES:
        return NotImplemented
    if out.size:
        geometry = sh, sw, ph, pw, dh, dw
        unfold(x, out, (kh, kw), (oh, ow), geometry, c * kh * kw * oh * ow, oh * ow)
    return out


def columns_accept(columns: Any, shape: Any, kernel: Any, *rest: Any, **options: Any) -> bool:
    return columns.ndim == 3 and columns.size > 0 and on_card(columns) and int(np.prod(shape)) < 2**31


@cuda_kernel("col2im", accepts=columns_accept)
def col2im(
    columns: Any, shape: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Any:
    """The adjoint of im2col: every column back to where its window lay, giving ``shape`` (n, c, h, w).

    for n, c, y, z:  for every window (p, q) and tap (i, j) with p stride + i dilation = y + padding ...:
        x[n, c, y, z] += columns[n, (c, i, j), (p, q)]
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    _, c, h, w = shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    if c > MOST_PLANES:
        return NotImplemented
    x = room(columns, tuple(shape))
    if x.size:
        geometry = sh, sw, ph, pw, dh, dw
        fold(columns, x, (kh, kw), (oh, ow), geometry, c * kh * kw * oh * ow, oh * ow)
    return x


@cuda_kernel("max_pool2d", accepts=image_accepts)
def max_pool2d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Any, Any]:
    """The largest value of every window, and its flat position in the image: both (n, c, oh, ow).

    for n, c, p, q:  for i, j:  if x[...] > y[n, c, p, q]:  y[n, c, p, q] = x[...]
    """
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel), pair(padding), pair(dilation)
    sh, sw = pair(kernel if stride is None else stride)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh, ceil_mode), windows(w, kw, sw, pw, dw, ceil_mode)
    y, places = room(x, (n, c, oh, ow)), room(x, (n, c, oh, ow), np.int64)
    if y.size:
        geometry = (y.size, n * c, h, w, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw)
        LARGEST(*blocks(y.size), x.dtype.char, x, y, places, *geometry)
    return y, places


def pool_backward_accepts(grad: Any, indices: Any, input_shape: Any, window: Any = None) -> bool:
    return (
        grad.ndim == 4
        and grad.size > 0
        and on_card(grad)
        and hasattr(indices, "shape")
        and indices.shape == grad.shape
        and indices.dtype == np.int64
        and indices.flags.c_contiguous
        and int(np.prod(input_shape)) < 2**31
    )


@cuda_kernel("max_pool2d_backward", accepts=pool_backward_accepts)
def max_pool2d_backward(grad: Any, indices: Any, input_shape: Any, window: Any = None) -> Any:
    """Each gradient at the position that max_pool2d found: grad, indices (n, c, oh, ow); (n, c, h, w).

    for n, c, p, q:  gx[n, c, indices[n, c, p, q]] += grad[n, c, p, q]
    """
    n, c, h, w = input_shape
    gx = room(grad, tuple(input_shape))
    oh, ow = grad.shape[2:]
    if gx.size and window is not None and n * c <= MOST_PLANES:
        kernel, padding, dilation = window["kernel"], window.get("padding", 0), window.get("dilation", 1)
        stride = window.get("stride")
        geometry = *pair(kernel if stride is None else stride), *pair(padding), *pair(dilation)
        numbers = h * w, n * c, h, w, *pair(kernel), oh, ow, *geometry
        WINDOWS_BACKWARD(*of_planes(h * w, n * c), grad.dtype.char, grad, indices, gx, *numbers)
        return gx
    gx.fill(0)
    if gx.size:
        LARGEST_BACKWARD(n * c, 32, grad.dtype.char, grad, indices, gx, oh * ow, h * w)
    return gx
