"""Convolutions of images at steps of 1, and their adjoints, without columns in memory.

An image with zeros around it lies as one row of numbers.  Then the pixels under one tap of all windows are
a contiguous piece of that row, shifted by ``i * dilation * width + j * dilation``; only at the ends of the
lines there are windows that lie across two lines, and what they give is left out.  So the panels of the
matrix product are copied straight from the image:

    for each sample:  for bands of lines:  for panels of places:  for tiles of output channels:
        one register tile over all taps of all input channels
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, jit
from accelgrad.kernels.cpu.matmul import ADD, ZERO, multiplier, pack_a, room
from accelgrad.kernels.cpu.softmax import plain_float
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import (
    TILES,
    call,
    copy_rows,
    item_size,
    micro_kernel,
    tile_columns,
    tile_rows,
)

__all__ = ["convolution", "convolution_input", "convolution_weight"]

BAND = 512  # places of the results that are computed before they are copied out: they stay in the cache
COLUMNS = 1 << 16  # elements of the columns that the gradient of the weights makes at a time
PARTS = 16  # sums of the gradient of the weights, so that it does not depend on the number of threads
PARALLEL = 1 << 22  # multiplications from which a second thread pays
FEWEST = 6  # output channels from which half of a register tile or more is of use


@jit(forceinline=True)
def copy_line(target, first, source, count):
    """target[first + q] = source[q]"""
    target = target[first:]
    for q in range(count):
        target[q] = source[q]


@jit()
def put_inside(image, sample, padding):
    """The channels of a sample in the middle of an image of zeros: (c, h, w) into (c, h + .., w + ..)."""
    c, h, w = sample.shape
    for channel in range(c):
        for line in range(h):
            copy_line(image[channel, line + padding[0]], padding[1], sample[channel, line], w)


@jit(CONTRACT)
def convolve_samples(start, stop, x, weight, bias, y, padding, dilation, zero):
    """y (n, o, oh, ow) = weight (o, c, kh, kw) * x (n, c, h, w) + bias (o,)"""
    size, rows, columns = item_size(zero), tile_rows(zero), tile_columns(zero)
    _, c, h, w = x.shape
    _, o, oh, ow = y.shape
    kh, kw = weight.shape[2:]
    hp, wp = h + 2 * padding[0], w + 2 * padding[1]
    depth = c * kh * kw
    tiles = (o + rows - 1) // rows
    left = np.empty(tiles * rows * depth + columns, x.dtype)
    for t in range(tiles):
        source = weight.ctypes.data + t * rows * depth * size
        target = left.ctypes.data + t * rows * depth * size
        pack_a(target, source, min(rows, o - t * rows), depth, depth, 1, zero)
    # The last panels read a little beyond the last line.
    memory = np.zeros(c * hp * wp + kw * dilation[1] + columns, x.dtype)
    image = memory[: c * hp * wp].reshape(c, hp, wp)
    lines = max(BAND // wp, 1)
    length = (lines * wp + columns - 1) // columns * columns
    panel, wide = np.empty(depth * columns, x.dtype), np.empty((tiles * rows, length), x.dtype)
    for n in range(start, stop):
        put_inside(image, x[n], padding)
        for top in range(0, oh, lines):
            height = min(lines, oh - top)
            for q in range(0, height * wp, columns):
                target, source = panel.ctypes.data, memory.ctypes.data + (top * wp + q) * size
                for channel in range(c):
                    for i in range(kh):
                        line = source + (channel * hp + i * dilation[0]) * wp * size
                        copy_rows(target, line, kw, dilation[1], zero)
                        target += kw * columns * size
                for t in range(tiles):
                    tap, place = left.ctypes.data + t * rows * depth * size, t * rows * length + q
                    micro_kernel(
                        tap, panel.ctypes.data, depth, wide.ctypes.data + place * size, length, 0, zero
                    )
            for channel in range(o):
                add = bias[channel]
                for line in range(height):
                    result = y[n, channel, top + line]
                    computed = wide[channel, line * wp : line * wp + ow]
                    for q in range(ow):
                        result[q] = computed[q] + add


@jit()
def weigh_parts(start, stop, x, grad, sums, kernel, padding, dilation, multiplier, workspace, zero):
    """Compute sums (parts, o, c * kh * kw), the last two rounded up to whole tiles.

    Each part takes its share of the samples.
    """
    samples, c, h, w = x.shape
    _, o, oh, ow = grad.shape
    kh, kw = kernel
    hp, wp = h + 2 * padding[0], w + 2 * padding[1]
    depth = c * kh * kw
    image = np.zeros((c, hp, wp), x.dtype)
    flat = image.reshape(c, hp * wp)
    lines = min(max(COLUMNS // (depth * wp), 1), oh)
    o_tiles, depth_tiles = sums.shape[1:]
    taps, outer = np.zeros((depth_tiles, lines * wp), x.dtype), np.zeros((o_tiles, lines * wp), x.dtype)
    for part in range(start, stop):
        total = sums[part]
        total[:] = 0
        for n in range(part * samples // len(sums), (part + 1) * samples // len(sums)):
            put_inside(image, x[n], padding)
            for top in range(0, oh, lines):
                height = min(lines, oh - top)
                # The last line ends with its last window; behind the others lie those across two lines.
                length = (height - 1) * wp + ow
                for channel in range(c):
                    for i in range(kh):
                        for j in range(kw):
                            first = (top + i * dilation[0]) * wp + j * dilation[1]
                            copy_line(taps[(channel * kh + i) * kw + j], 0, flat[channel, first:], length)
                for channel in range(o):
                    for line in range(height):
                        copy_line(outer[channel], line * wp, grad[n, channel, top + line], ow)
                stride = lines * wp
                numbers = (
                    outer.ctypes.data, stride, 1, taps.ctypes.data, 1, stride, total.ctypes.data,
                    depth_tiles, o_tiles, depth_tiles, length, ADD, workspace,
                )  # fmt: skip
                call(multiplier, numbers, zero)


def fits(x: Any, weight: Any, geometry: Any) -> bool:
    """Whether these are contiguous images and weights of one group, and the steps are 1."""
    return (
        geometry.groups == 1
        and max(geometry.stride) == 1
        and len(geometry.stride) == 2
        and plain_float(x, weight)
        and x.ndim == weight.ndim == 4
        and x.shape[1] == weight.shape[1]
        and min(geometry.places(x.shape[2:], weight.shape[2:])) > 0
    )


def accepts(x: Any, weight: Any, bias: Any, geometry: Any) -> bool:
    return fits(x, weight, geometry) and (bias is None or plain_float(x, bias))


def faster(x: np.ndarray, weight: np.ndarray, bias: Any, geometry: Any) -> bool:
    return weight.shape[0] >= FEWEST and not geometry.trivial(weight.shape[2:])


@kernel("convolution", "cpu", accepts=accepts, faster=faster)
def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, geometry: Any) -> np.ndarray:
    """(n, o, oh, ow)"""
    oh, ow = geometry.places(x.shape[2:], weight.shape[2:])
    y = np.empty((len(x), len(weight), oh, ow), x.dtype)
    if bias is None:
        bias = np.zeros(len(weight), x.dtype)
    arrays = x, weight, bias, y, geometry.padding, geometry.dilation, ZERO[x.dtype.char]
    parallel(convolve_samples, len(x), *arrays, wide=y.size * weight[0].size >= PARALLEL)
    return y


def accepts_input(grad: Any, weight: Any, space: Any, geometry: Any) -> bool:
    if not plain_float(grad, weight) or grad.ndim != 4 or weight.ndim != 4 or geometry.groups != 1:
        return False
    extents = zip(space, grad.shape[2:], geometry.places(space, weight.shape[2:]), strict=True)
    return (
        max(geometry.stride) == 1
        and grad.shape[1] == weight.shape[0]
        and min(more_zeros(weight, geometry)) >= 0
        and all(extent > 0 and count == wanted for extent, count, wanted in extents)
    )


def more_zeros(weight: np.ndarray, geometry: Any) -> tuple[int, ...]:
    """The padding of the convolution with the weights turned around."""
    reach = zip(weight.shape[2:], geometry.dilation, geometry.padding, strict=True)
    return tuple([d * (k - 1) - p for k, d, p in reach])


@kernel(
    "convolution_input",
    "cpu",
    accepts=accepts_input,
    faster=lambda grad, weight, space, geometry: (
        weight.shape[1] >= FEWEST and not geometry.trivial(weight.shape[2:])
    ),
)
def convolution_input(grad: np.ndarray, weight: np.ndarray, space: Any, geometry: Any) -> np.ndarray:
    """(n, c, h, w): at steps of 1 it is a convolution with the weights turned around, and more zeros."""
    turned = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    x = np.empty((len(grad), len(turned), *space), grad.dtype)
    bias = np.zeros(len(turned), grad.dtype)
    arrays = grad, turned, bias, x, more_zeros(weight, geometry), geometry.dilation, ZERO[grad.dtype.char]
    parallel(convolve_samples, len(grad), *arrays, wide=x.size * turned[0].size >= PARALLEL)
    return x


def accepts_weight(x: Any, grad: Any, window: Any, geometry: Any) -> bool:
    return (
        geometry.groups == 1
        and max(geometry.stride) == 1
        and len(geometry.stride) == 2
        and plain_float(x, grad)
        and x.ndim == grad.ndim == 4
        and len(x) == len(grad)
        and grad.shape[2:] == geometry.places(x.shape[2:], window)
    )


@kernel(
    "convolution_weight",
    "cpu",
    accepts=accepts_weight,
    faster=lambda x, grad, window, geometry: (
        grad.shape[1] >= FEWEST and x.shape[1] * window[0] * window[1] >= 24 and not geometry.trivial(window)
    ),
)
def convolution_weight(x: np.ndarray, grad: np.ndarray, window: Any, geometry: Any) -> np.ndarray:
    """(o, c, kh, kw)"""
    n, c, o = len(x), x.shape[1], grad.shape[1]
    zero, depth = ZERO[x.dtype.char], c * window[0] * window[1]
    rows, columns = TILES[x.itemsize]
    sums = np.empty((min(n, PARTS), -(-o // rows) * rows, -(-depth // columns) * columns), x.dtype)

    def share(start: int, stop: int, *args: Any) -> None:
        weigh_parts(start, stop, *args, room.address, zero)

    arrays = x, grad, sums, tuple(window), geometry.padding, geometry.dilation, multiplier(x.dtype.char)
    parallel(share, len(sums), *arrays, wide=grad.size * depth >= PARALLEL)
    return np.ascontiguousarray(sums.sum(axis=0)[:o, :depth]).reshape(o, c, *window)
