"""The matrix product: packed panels around a tile that stays in the registers, for every shape and layout.

The loop nest is Goto's (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication"):
three outer loops cut A and B into blocks that fit the caches, and copy them into panels that are read from
front to back; the two inner loops run the register tile of vector.py over the panels.  Transposed and
strided operands cost nothing extra, because packing reads them where they lie.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

import numpy as np
from numba import carray, types

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, REASSOCIATE, compiled_at, jit
from accelgrad.kernels.cpu.objects import DESCR, array_address, dimensions, extent, step
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import (
    TILES,
    WIDE,
    call,
    copy_rows,
    item_size,
    lanes,
    load,
    micro_kernel,
    pointer,
    store,
    tile_columns,
    tile_rows,
    transpose_a,
    transpose_b,
)

__all__ = ["ADD", "SAME_B", "linear", "matmul", "multiplier", "multiply", "outruns_blas", "room"]

DEPTH = 256  # of a block: one panel of B, 256 x 32 float32, fills two thirds of a 48 KiB level-1 cache
HEIGHT = 192  # of a block of A: 192 KiB in the level-2 cache
BREADTH = 2048  # of a block of B: 2 MiB in the level-3 cache
ADD, SAME_B = 1, 2
# What one thread packs into: a tile for the edges of C, a block of A, a block of B, for float64 and any tile.
TILE_BYTES = 4096
A_BYTES = (HEIGHT * DEPTH * 8 // 64 + 1) * 64
WORKSPACE_BYTES = TILE_BYTES + A_BYTES + (BREADTH * DEPTH + 64) * 8
MOST_OF_ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS uses one thread, and is as fast as ours
NOWHERE = np.empty((0, 3), np.int64)
PARALLEL = 1 << 23  # multiplications from which a second thread pays: some 80 microseconds of one core


# Strides are in elements.  Every function ends with ``zero``, the 0 of the element type.


@jit()
def pack_a(target, source, count, depth, stride, step, zero):
    """Set target[k * rows + i] = source[i * stride + k * step] for i < count, and 0 for the missing rows."""
    size, rows, done = item_size(zero), tile_rows(zero), 0
    if step == 1 and count == rows and depth >= lanes(zero):
        blocks = depth // lanes(zero)
        transpose_a(target, source, blocks, stride, zero)
        done = blocks * lanes(zero)
    for k in range(done, depth):
        for i in range(count):
            store(target + (k * rows + i) * size, load(source + (i * stride + k * step) * size, zero))
        for i in range(count, rows):
            store(target + (k * rows + i) * size, zero)


@jit()
def pack_b(target, source, count, depth, stride, step, zero):
    """Set target[k * columns + j] = source[j * stride + k * step] for j < count, 0 for missing columns."""
    size, columns, done = item_size(zero), tile_columns(zero), 0
    if count == columns:
        if stride == 1:
            copy_rows(target, source, depth, step, zero)
            return
        if step == 1 and depth >= lanes(zero):
            blocks = depth // lanes(zero)
            transpose_b(target, source, blocks, stride, zero)
            done = blocks * lanes(zero)
    for k in range(done, depth):
        for j in range(count):
            store(target + (k * columns + j) * size, load(source + (j * stride + k * step) * size, zero))
        for j in range(count, columns):
            store(target + (k * columns + j) * size, zero)


@jit(CONTRACT)
def add_tile(tile, c, c_row, height, breadth, onto, zero):
    """c[i, j] = tile[i, j], or += if ``onto``: the part of a tile at the edge of C that lies inside."""
    size, columns = item_size(zero), tile_columns(zero)
    for i in range(height):
        source = carray(pointer(tile + i * columns * size, zero), (breadth,))
        target = carray(pointer(c + i * c_row * size, zero), (breadth,))
        if onto:
            for j in range(breadth):
                target[j] += source[j]
        else:
            for j in range(breadth):
                target[j] = source[j]


@jit(CONTRACT)
def product(a, a_row, a_column, b, b_row, b_column, c, c_row, m, n, k, mode, workspace, zero):
    """c[i, j] = sum over p of a[i, p] b[p, j], or += with ADD in ``mode``, for one pair of matrices.

    for columns in blocks of BREADTH:  for p in blocks of DEPTH:  pack that block of b
        for rows in blocks of HEIGHT:  pack that block of a
            for panels of b:  for panels of a:  one register tile
    """
    size, rows, columns = item_size(zero), tile_rows(zero), tile_columns(zero)
    depth_most = min(k, DEPTH)
    height_most = min(m + rows - 1, HEIGHT) // rows * rows
    breadth_most = min(n + columns - 1, BREADTH) // columns * columns
    tile = workspace
    packed_a = tile + TILE_BYTES
    kept = breadth_most * k <= BREADTH * DEPTH and n <= BREADTH  # all of b fits into the workspace
    for j0 in range(0, n, breadth_most):
        breadth = min(breadth_most, n - j0)
        for p0 in range(0, k, depth_most):
            depth, onto = min(depth_most, k - p0), p0 + (mode & ADD)
            packed_b = packed_a + A_BYTES + (breadth_most * p0 * size if kept else 0)
            for j in range(0, 0 if kept and mode & SAME_B else breadth, columns):
                source = b + (p0 * b_row + (j0 + j) * b_column) * size
                count = min(columns, breadth - j)
                pack_b(packed_b + j * depth * size, source, count, depth, b_column, b_row, zero)
            for i0 in range(0, m, height_most):
                height = min(height_most, m - i0)
                for i in range(0, height, rows):
                    source = a + ((i0 + i) * a_row + p0 * a_column) * size
                    count = min(rows, height - i)
                    pack_a(packed_a + i * depth * size, source, count, depth, a_row, a_column, zero)
                for j in range(0, breadth, columns):
                    panel_b = packed_b + j * depth * size
                    for i in range(0, height, rows):
                        panel_a = packed_a + i * depth * size
                        target = c + ((i0 + i) * c_row + j0 + j) * size
                        whole = i + rows <= height and j + columns <= breadth
                        place, length = (target, c_row) if whole else (tile, columns)
                        micro_kernel(panel_a, panel_b, depth, place, length, onto if whole else 0, zero)
                        if not whole:
                            inside = min(rows, height - i), min(columns, breadth - j)
                            add_tile(tile, target, c_row, inside[0], inside[1], onto, zero)


@jit(REASSOCIATE)
def times_vector(a, a_row, a_column, x, x_step, y, y_step, m, k, zero):
    """y[i] = sum over p of a[i, p] x[p]: a is read once, along whichever of its sides is contiguous."""
    size = item_size(zero)
    copy = np.empty(k * size, np.uint8)
    for p in range(k):
        store(copy.ctypes.data + p * size, load(x + p * x_step * size, zero))
    vector = carray(pointer(copy.ctypes.data, zero), (k,))
    if a_column == 1:
        for i in range(m):
            row = carray(pointer(a + i * a_row * size, zero), (k,))
            total = zero
            for p in range(k):
                total += row[p] * vector[p]
            store(y + i * y_step * size, total)
    elif a_row == 1:
        chunk = 2048
        sums = np.empty(chunk * size, np.uint8)
        total = carray(pointer(sums.ctypes.data, zero), (chunk,))
        for i0 in range(0, m, chunk):
            count = min(chunk, m - i0)
            for i in range(count):
                total[i] = zero
            for p in range(k):
                column = carray(pointer(a + (i0 + p * a_column) * size, zero), (count,))
                factor = vector[p]
                for i in range(count):
                    total[i] += column[i] * factor
            for i in range(count):
                store(y + (i0 + i) * y_step * size, total[i])
        return sums[0] + copy[0]
    else:
        for i in range(m):
            value = zero
            for p in range(k):
                value += load(a + (i * a_row + p * a_column) * size, zero) * vector[p]
            store(y + i * y_step * size, value)
    return copy[0]


def multiply(a, a_row, a_column, b, b_row, b_column, c, c_row, m, n, k, mode, workspace, zero):
    """c = a @ b, or c += a @ b with ADD in ``mode``: addresses and strides, c_row the step between rows of c.

    SAME_B says that b is the same as in the last call with this workspace, so that it need not be packed.
    """
    product(a, a_row, a_column, b, b_row, b_column, c, c_row, m, n, k, mode, workspace, zero)
    return 0


def multiply_vector(a, a_row, a_column, b, b_row, b_column, c, c_row, m, n, k, mode, workspace, zero):
    """c = a @ b where b has one column or a one row."""
    if n == 1:
        times_vector(a, a_row, a_column, b, b_row, c, c_row, m, k, zero)
    else:
        times_vector(b, b_column, b_row, a, a_column, c, 1, n, k, zero)
    return 0


@functools.cache
def multiplier(character: str, vector: bool = False) -> int:
    """Return the address of :func:`multiply` (or of the other one) for float32 ("f") or float64 ("d").

    See ``vector.call``.
    """
    number = types.float32 if character == "f" else types.float64
    signature = types.int64(*[types.int64] * 13, number)
    return compiled_at(multiply_vector if vector else multiply, signature, CONTRACT)


@jit()
def products(start, stop, a, b, c, places, units, grain, by_rows, multiplier, workspace, zero):
    """The units start ... stop of ``a @ b``, each product being ``units`` times ``grain`` rows or columns.

    a, b and c are the identities of arrays of at least two dimensions; ``places`` (count, 3) holds the
    addresses of their matrices, and is empty where there is only one of each.
    """
    size = item_size(zero)
    a_last, b_last = dimensions(a) - 1, dimensions(b) - 1
    a_row, a_column = step(a, a_last - 1) // size, step(a, a_last) // size
    b_row, b_column = step(b, b_last - 1) // size, step(b, b_last) // size
    rows, columns, k = extent(a, a_last - 1), extent(b, b_last), extent(a, a_last)
    unit = start
    while unit < stop:
        which, first = unit // units, unit % units
        last = min(units, first + stop - unit)
        low, high = first * grain, min(last * grain, rows if by_rows else columns)
        left, right, target = array_address(a), array_address(b), array_address(c)
        if len(places):
            left, right, target = places[which, 0], places[which, 1], places[which, 2]
        m, n = rows, columns
        if by_rows:
            m = high - low
            left += low * a_row * size
            target += low * columns * size
        else:
            n = high - low
            right += low * b_column * size
            target += low * size
        numbers = (left, a_row, a_column, right, b_row, b_column, target, columns, m, n, k, 0, workspace)
        call(multiplier, numbers, zero)
        unit += last - first


class Workspace(threading.local):
    """Each thread's own room for the panels, kept: fresh memory would cost a page fault for every 4 KiB."""

    def __init__(self) -> None:
        self.memory = np.empty(WORKSPACE_BYTES + 64, np.uint8)
        self.address = (self.memory.ctypes.data + 63) & ~63


room = Workspace()


def share(start: int, stop: int, *args: Any) -> None:
    """A thread's share of the products, with its own workspace."""
    products(start, stop, *args[:-1], room.address, args[-1])


ZERO = {"f": np.float32(0), "d": np.float64(0)}


def accepts(a: Any, b: Any, *rest: Any, **options: Any) -> bool:
    """Two real matrices or vectors of one dtype, with at least one element each, whose shapes fit."""
    return (
        type(a) is np.ndarray
        and type(b) is np.ndarray
        and a.dtype is b.dtype
        and a.dtype in DESCR
        and not rest
        and not options
        and a.size > 0
        and b.size > 0
        and a.ndim > 0
        and b.ndim > 0
        and a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0]
        and whole_elements(a)
        and whole_elements(b)
    )


def whole_elements(x: np.ndarray) -> bool:
    """Whether the address and every stride are whole numbers of elements."""
    flags = x.flags
    return flags.c_contiguous or (flags.aligned and all(step % x.itemsize == 0 for step in x.strides))


def offsets(x: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """The address of every matrix of ``x`` when its leading dimensions are broadcast to ``batch``."""
    address = np.full(batch, x.ctypes.data, np.int64)
    for i, (size, stride) in enumerate(zip(x.shape[:-2], x.strides[:-2], strict=True)):
        if size > 1:
            place = len(batch) - (x.ndim - 2) + i
            address += np.reshape(np.arange(size) * stride, (-1,) + (1,) * (len(batch) - 1 - place))
    return address.reshape(-1)


@functools.cache
def outruns_blas() -> bool:
    """Whether this processor has vectors of 512 bits of which NumPy's OpenBLAS makes no use.

    There our product takes about half the time.  Where OpenBLAS uses them too it is as fast or faster, and
    so may be another BLAS: then NumPy's is taken.  OpenBLAS says for which processor it has chosen its code.
    """
    if not WIDE:
        return False
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
        ask = getattr(library, f"{prefix}openblas_get_corename{suffix}", None)
        if ask is not None:
            ask.restype = ctypes.c_char_p
            return ask().decode().lower() not in ("skylakex", "cooperlake", "sapphirerapids")
    return False


def faster(a: np.ndarray, b: np.ndarray) -> bool:
    """Products from some 10 microseconds on: OpenBLAS calls its threads for them, ours make do with one."""
    if not outruns_blas() or a.ndim == 1 or b.ndim == 1:
        return False
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    small, large = (m, n) if m < n else (n, m)
    return m * n * k >= MOST_OF_ONE_THREAD and small >= 8 and large >= 32 and k >= 32


@kernel("matmul", "cpu", accepts=accepts, faster=faster)
def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` with NumPy's rules for vectors and leading dimensions.

    for each matrix of the batch:  for i in rows:  for j in columns:  for p:  c[i, j] += a[i, p] * b[p, j]
    """
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    m, k = left.shape[-2:]
    n = right.shape[-1]
    size, zero = a.itemsize, ZERO[a.dtype.char]
    rows, columns = TILES[size]
    if 1 < n < columns // 2 < m and left.ndim == right.ndim == 2:
        # A narrow result would fill a small part of each tile: its transpose is as wide as it is high.
        return np.ascontiguousarray(matmul(right.T, left.T).T)
    by_rows = m * columns >= n * rows
    grain = (rows if by_rows else columns) if m > 1 and n > 1 else 256
    units = -(-(m if by_rows else n) // grain)
    if left.ndim == 2 and right.ndim == 2:
        c = np.empty((m, n), a.dtype)
        places = NOWHERE
    else:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        c = np.empty((*batch, m, n), a.dtype)
        places = np.stack([offsets(left, batch), offsets(right, batch), offsets(c, batch)], axis=1)
    objects = id(left), id(right), id(c)
    count = max(len(places), 1)
    wide = m * n * k * count >= PARALLEL
    code = multiplier(a.dtype.char, m == 1 or n == 1)
    parallel(share, units * count, *objects, places, units, grain, by_rows, code, zero, wide=wide)
    if a.ndim == 1:
        c = c[..., 0, :]
    return c[..., 0] if b.ndim == 1 else c


def accepts_linear(x: Any, weight: Any, bias: Any = None) -> bool:
    return (
        type(x) is np.ndarray
        and x.ndim > 1
        and x.flags.c_contiguous
        and type(weight) is np.ndarray
        and weight.ndim == 2
        and accepts(x, weight.T)
        and (
            bias is None
            or (type(bias) is np.ndarray and bias.dtype is x.dtype and bias.shape == weight.shape[:1])
        )
    )


def faster_linear(x: np.ndarray, weight: np.ndarray, bias: Any = None) -> bool:
    return faster(x.reshape(-1, x.shape[-1]), weight.T)


@kernel("linear", "cpu", accepts=accepts_linear, faster=faster_linear)
def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x @ weight.T + bias`` as one product of two matrices, the bias added where the product lies."""
    y = matmul(x.reshape(-1, x.shape[-1]), weight.T)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))
