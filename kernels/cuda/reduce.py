"""Sums, means, variances, products, extremes and norms over any axes, and the places of extremes.

The same result every time.

An array is seen as kept and reduced positions, each with its steps through memory.  Where the reduced ones
lie in one piece a block takes a row; where kept ones lie in one piece 32 neighbouring columns share a
block; anything else goes through the steps.  Few long rows are cut in parts, whose results a second pass
combines in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import Program, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import add, block_reduce, larger, load4, multiply, quotient, smaller

__all__ = ["argmax", "argmin", "max_", "mean", "min_", "prod", "sum_", "var", "vector_norm"]

THREADS = 256
# A card has about 100 multiprocessors with room for 8 such blocks each: fewer blocks leave some idle.
ENOUGH_BLOCKS = 800
LEAST_PART = 4096
COLUMNS, LANES = 32, 8


# What becomes of an element before it is combined: x, and the middle of its row where there is one (else 0).


@cuda.jit(device=True)
def itself(x: Any, middle: Any) -> Any:
    return x


@cuda.jit(device=True)
def square(x: Any, middle: Any) -> Any:
    return (x - middle) * (x - middle)


@cuda.jit(device=True)
def size(x: Any, middle: Any) -> Any:
    return abs(x)


@cuda.jit(device=True)
def unchanged(x: Any) -> Any:
    return x


@cuda.jit(device=True)
def root(x: Any) -> Any:
    return math.sqrt(x)


def row_kernel(
    name: str, combine: Any, start: float, prepare: Any, finish: Any, centred: bool = False
) -> Program:
    """Compute ``y[row, part] = finish(combination of prepare(x[row, from ... to], middles[row]) scale)``.

    The rows lie in one piece of memory.
    """
    reduce = block_reduce(combine)

    def make(T: Any) -> Any:
        START, ZERO, vector = T(start), T(0), T.bitwidth == 32

        def kernel(x, y, middles, n, step, part, aligned, scale):
            buffer = cuda.shared.array(32, T)
            row = cuda.blockIdx.x
            middle = middles[row] if centred else ZERO
            low = cuda.blockIdx.y * part
            high = min(low + part, n)
            base = row * step
            width = cuda.blockDim.x
            a, b, c, d = START, START, START, START
            i = low + cuda.threadIdx.x * 4
            if vector and aligned:
                while i + 3 < high:
                    v = load4(x, base + i)
                    a, b = combine(a, prepare(v[0], middle)), combine(b, prepare(v[1], middle))
                    c, d = combine(c, prepare(v[2], middle)), combine(d, prepare(v[3], middle))
                    i += width * 4
                # The last one to three: they begin where the fours end.
                i = low + (high - low) // 4 * 4 + cuda.threadIdx.x
            else:
                i = low + cuda.threadIdx.x
            while i < high:
                a = combine(a, prepare(x[base + i], middle))
                i += width
            total = reduce(combine(combine(a, b), combine(c, d)), buffer)
            if cuda.threadIdx.x == 0:
                y[row * cuda.gridDim.y + cuda.blockIdx.y] = finish(total * scale)

        return kernel

    make.__name__ = f"{name}_rows"
    return Program(make, "PPPiqiit")


def column_kernel(
    name: str, combine: Any, start: float, prepare: Any, finish: Any, centred: bool = False
) -> Program:
    """Compute ``y[o, part, j] = finish(combination over i of prepare(x[o, i, j], middles[o, j]) scale)``.

    Neighbouring j lie side by side.
    """

    def make(T: Any) -> Any:
        START, ZERO = T(start), T(0)

        def kernel(x, y, middles, n, inner, part, scale):
            buffer = cuda.shared.array((LANES, COLUMNS), T)
            tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
            j = cuda.blockIdx.x * COLUMNS + tx
            low = cuda.blockIdx.z * part
            high = min(low + part, n)
            total = START
            if j < inner:
                base = cuda.blockIdx.y * n * inner + j
                middle = middles[cuda.blockIdx.y * inner + j] if centred else ZERO
                for i in range(low + ty, high, LANES):
                    total = combine(total, prepare(x[base + i * inner], middle))
            buffer[ty, tx] = total
            cuda.syncthreads()
            if ty == 0 and j < inner:
                for lane in range(1, LANES):
                    total = combine(total, buffer[lane, tx])
                y[(cuda.blockIdx.y * cuda.gridDim.z + cuda.blockIdx.z) * inner + j] = finish(total * scale)

        return kernel

    make.__name__ = f"{name}_columns"
    return Program(make, "PPPiiit")


def strided_kernel(
    name: str, combine: Any, start: float, prepare: Any, finish: Any, centred: bool = False
) -> Program:
    """Reduce up to three kept and two reduced runs of positions, each with its step; a block a result."""
    reduce = block_reduce(combine)

    def make(T: Any) -> Any:
        START, ZERO = T(start), T(0)

        def kernel(x, y, middles, k1, k2, ks0, ks1, ks2, n, r1, rs0, rs1, part, scale):
            buffer = cuda.shared.array(32, T)
            o = cuda.blockIdx.x
            middle = middles[o] if centred else ZERO
            base = o // (k1 * k2) * ks0 + o // k2 % k1 * ks1 + o % k2 * ks2
            low = cuda.blockIdx.y * part
            total = START
            for i in range(low + cuda.threadIdx.x, min(low + part, n), cuda.blockDim.x):
                outer = quotient(i, r1)
                total = combine(total, prepare(x[base + outer * rs0 + (i - outer * r1) * rs1], middle))
            total = reduce(total, buffer)
            if cuda.threadIdx.x == 0:
                y[o * cuda.gridDim.y + cuda.blockIdx.y] = finish(total * scale)

        return kernel

    make.__name__ = f"{name}_strided"
    return Program(make, "PPPiiqqqiiqqit")


class Reduction:
    """The kernels of one way to combine numbers."""

    def __init__(
        self, name: str, combine: Any, start: float, prepare: Any = itself, centred: bool = False
    ) -> None:
        parts = (combine, start, prepare, unchanged, centred)
        self.rows, self.columns = row_kernel(name, *parts), column_kernel(name, *parts)
        self.strided = strided_kernel(name, *parts)

    def __call__(
        self,
        x: Any,
        axis: Any,
        keepdims: bool,
        second: Reduction | None = None,
        scale: float = 1.0,
        middles: Any = None,
    ) -> Any:
        """Reduce ``x``; ``second`` combines the results of parts (by default the same kernels do).

        ``middles`` has a number for every result, for the kernels that are centred.
        """
        kept, reduced = runs(x, axis)
        shape = result_shape(x, axis, keepdims)
        if len(kept) > 3 or len(reduced) > 2:
            return NotImplemented
        count = math.prod(extent for extent, _ in kept)
        n = math.prod(extent for extent, _ in reduced)
        if len(reduced) == 1 and reduced[0][1] == 1 and len(kept) <= 1:
            blocks, step = count, kept[0][1] if kept else 0
            part, parts = cut(n, blocks)
            y = room(x, (count, parts))
            threads = 32 if part <= 256 else THREADS
            on_sixteen = address(x) % 16 == 0 and step % 4 == 0 and part % 4 == 0
            self.rows(
                (count, parts),
                threads,
                x.dtype.char,
                x,
                y,
                middles,
                n,
                step,
                part,
                on_sixteen,
                1.0 if parts > 1 else scale,
            )
        elif len(reduced) == 1 and kept and kept[-1][1] == 1 and len(kept) <= 2 and x.flags.c_contiguous:
            inner, outer = kept[-1][0], count // kept[-1][0]
            if outer > 65535:
                return NotImplemented
            across = -(-inner // COLUMNS)
            part, parts = cut(n, across * outer, 256)
            y = room(x, (outer, parts, inner))
            grid = (across, outer, parts)
            last_scale = 1.0 if parts > 1 else scale
            self.columns(grid, (COLUMNS, LANES), x.dtype.char, x, y, middles, n, inner, part, last_scale)
            if parts > 1:  # (outer, parts, inner): the parts are columns again
                y = (second or self).over_columns(y, scale)
            return y.reshape(shape)
        else:
            (_, ks0), (k1, ks1), (k2, ks2) = [(1, 0)] * (3 - len(kept)) + kept
            (_, rs0), (r1, rs1) = [(1, 0)] * (2 - len(reduced)) + reduced
            part, parts = cut(n, count)
            y = room(x, (count, parts))
            threads = 32 if part <= 256 else THREADS
            self.strided(
                *((count, parts), threads, x.dtype.char, x, y, middles),
                *(k1, k2, ks0, ks1, ks2, n, r1, rs0, rs1, part, 1.0 if parts > 1 else scale),
            )
        if parts > 1:
            last = second or self
            total = room(x, (count, 1))
            last.rows((count, 1), 32, x.dtype.char, y, total, None, parts, parts, parts, False, scale)
            y = total
        return y.reshape(shape)

    def over_columns(self, x: Any, scale: float) -> Any:
        """Reduce the middle one of three axes in one pass."""
        outer, n, inner = x.shape
        y = room(x, (outer, 1, inner))
        grid = (-(-inner // COLUMNS), outer, 1)
        self.columns(grid, (COLUMNS, LANES), x.dtype.char, x, y, None, n, inner, n, scale)
        return y


def address(x: Any) -> int:
    """Where the first element lies."""
    return x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr


def cut(n: int, blocks: int, least: int = LEAST_PART) -> tuple[int, int]:
    """How long each part of a row of ``n`` is, and how many there are, so that all of the card is busy."""
    parts = max(1, min(ENOUGH_BLOCKS // max(blocks, 1), n // least, 1024))
    part = -(-n // parts)
    part += -part % 4
    return part, max(1, -(-n // part))


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """The reduced dimensions, counted from the front."""
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(sorted(i % x.ndim for i in (axis if isinstance(axis, tuple | list) else (axis,))))


def result_shape(x: Any, axis: Any, keepdims: bool) -> tuple[int, ...]:
    """The shape of the result."""
    axes = axes_of(x, axis)
    if keepdims:
        return tuple(1 if i in axes else extent for i, extent in enumerate(x.shape))
    return tuple(extent for i, extent in enumerate(x.shape) if i not in axes)


def runs(x: Any, axis: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the kept and the reduced positions as (extent, step), neighbours joined where possible.

    Steps are in elements.
    """
    axes = axes_of(x, axis)
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for i, (extent, stride) in enumerate(zip(x.shape, x.strides, strict=True)):
        if extent == 1:
            continue
        group = found[i in axes]
        step = stride // x.itemsize
        if group and group[-1][1] == extent * step:
            group[-1] = (group[-1][0] * extent, step)
        else:
            group.append((extent, step))
    if not found[1]:
        found[1].append((1, 1))
    return found


def accepts(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> bool:
    """Floating point arrays with elements, of which at least one axis is reduced; no out, no other dtype."""
    return (
        not options
        and hasattr(x, "strides")
        and x.ndim > 0
        and x.size > 0
        and on_card(x, contiguous=False)
        and min(x.strides) >= 0
        and (axis is None or isinstance(axis, int | tuple))
        and (axis is None or len(set(axes_of(x, axis))) == len(axes_of(x, axis)) > 0)
    )


SUM, PRODUCT = Reduction("sum", add, 0.0), Reduction("prod", multiply, 1.0)
LARGEST, SMALLEST = Reduction("max", larger, -math.inf), Reduction("min", smaller, math.inf)
SIZES, LARGEST_SIZE = Reduction("abs_sum", add, 0.0, size), Reduction("abs_max", larger, 0.0, size)
SQUARES = Reduction("square_sum", add, 0.0, square)
DEVIATIONS = Reduction("deviation_sum", add, 0.0, square, centred=True)
ROOT = row_kernel("root_of_sum", add, 0.0, itself, root)


@cuda_kernel("sum", accepts=accepts)
def sum_(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``numpy.sum`` of floating point numbers.

    for o in kept:  for r in reduced:  y[o] += x[o, r]
    """
    return SUM(x, axis, keepdims)


@cuda_kernel("mean", accepts=accepts)
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``numpy.mean``: the sum divided by the number of elements, in one pass."""
    count = math.prod(x.shape[i] for i in axes_of(x, axis))
    return SUM(x, axis, keepdims, scale=1.0 / count)


def var_accepts(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> bool:
    return accepts(x, axis, keepdims) and math.prod(x.shape[i] for i in axes_of(x, axis)) > ddof


@cuda_kernel("var", accepts=var_accepts)
def var(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    """``numpy.var``: the means first, then the sums of squared distances from them, over n - ddof.

    for o in kept:  for r in reduced:  m[o] += x[o, r] / n;  for r in reduced:  y[o] += (x[o, r] - m[o])^2
    """
    count = math.prod(x.shape[i] for i in axes_of(x, axis))
    middles = SUM(x, axis, False, scale=1.0 / count)
    if middles is NotImplemented:
        return NotImplemented
    return DEVIATIONS(x, axis, keepdims, SUM, 1.0 / (count - ddof), middles)


@cuda_kernel("prod", accepts=accepts)
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``numpy.prod``."""
    return PRODUCT(x, axis, keepdims)


@cuda_kernel("max", accepts=accepts)
def max_(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``numpy.max``: NaN where there is one."""
    return LARGEST(x, axis, keepdims)


@cuda_kernel("min", accepts=accepts)
def min_(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """``numpy.min``: NaN where there is one."""
    return SMALLEST(x, axis, keepdims)


def norm_accepts(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> bool:
    return ord in (1, 2, math.inf) and accepts(x, axis, keepdims)


@cuda_kernel("vector_norm", accepts=norm_accepts)
def vector_norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """``sum(|x|^ord)^(1 / ord)`` for 1, 2 and infinity.

    for o in kept:  for r in reduced:  y[o] += |x[o, r]|^ord
    """
    if ord == 1:
        return SIZES(x, axis, keepdims, SUM)
    if ord == math.inf:
        return LARGEST_SIZE(x, axis, keepdims)
    squares = SQUARES(x, axis, True, SUM)
    if squares is NotImplemented:
        return squares
    # The root is the second pass over what the parts have left.
    y = room(x, result_shape(x, axis, keepdims))
    ROOT((squares.size, 1), 32, x.dtype.char, squares, y, None, 1, 1, 4, False, 1.0)
    return y


# --- where the extreme is


def place_kernel(name: str, largest: bool) -> Program:
    """``y[o, part]``: where along the reduced axis the extreme is first found.

    NaN is the most extreme of all.
    """
    sign = 1 if largest else -1

    def make(T: Any) -> Any:
        @cuda.jit(device=True)
        def beats(u: Any, i: Any, v: Any, j: Any) -> Any:
            """Whether u at i comes before v at j."""
            if u != u:
                return v == v or i < j
            if v != v:
                return False
            return u * sign > v * sign or (u == v and i < j)

        def kernel(x, values, places, old, n, inner, part, first):
            best = cuda.shared.array(32, T)
            where = cuda.shared.array(32, np.int64)
            o = cuda.blockIdx.x
            base = o // inner * n * inner + o % inner
            low = cuda.blockIdx.y * part
            value, place = x[base + min(low, n - 1) * inner], low
            for i in range(low + cuda.threadIdx.x, min(low + part, n), cuda.blockDim.x):
                candidate = x[base + i * inner]
                if beats(candidate, i, value, place):
                    value, place = candidate, i
            offset = 16
            while offset > 0:
                other = cuda.shfl_down_sync(0xFFFFFFFF, value, offset)
                there = cuda.shfl_down_sync(0xFFFFFFFF, place, offset)
                if beats(other, there, value, place):
                    value, place = other, there
                offset //= 2
            if cuda.threadIdx.x % 32 == 0:
                best[cuda.threadIdx.x // 32] = value
                where[cuda.threadIdx.x // 32] = place
            cuda.syncthreads()
            if cuda.threadIdx.x == 0:
                for warp in range(1, cuda.blockDim.x // 32):
                    if beats(best[warp], where[warp], value, place):
                        value, place = best[warp], where[warp]
                at = o * cuda.gridDim.y + cuda.blockIdx.y
                values[at] = value
                places[at] = place if first else old[o * n + place]

        return kernel

    make.__name__ = name
    return Program(make, "PPLLiiii")


ARGMAX, ARGMIN = place_kernel("argmax", True), place_kernel("argmin", False)


def place(program: Program, x: Any, axis: int | None, keepdims: bool) -> Any:
    shape = result_shape(x, axis, keepdims)
    if axis is None:
        n, inner, count = x.size, 1, 1
    else:
        axis %= x.ndim
        n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
        count = x.size // n
    part, parts = cut(n, count)
    values, places = room(x, (count, parts)), room(x, (count, parts), np.int64)
    threads = 32 if part <= 256 else THREADS
    program((count, parts), threads, x.dtype.char, x, values, places, None, n, inner, part, True)
    if parts > 1:
        best, where = room(x, (count, 1)), room(x, (count, 1), np.int64)
        program((count, 1), 32, x.dtype.char, values, best, where, places, parts, 1, parts, False)
        places = where
    return places.reshape(shape)


def place_accepts(x: Any, axis: int | None = None, keepdims: bool = False, **options: Any) -> bool:
    return (
        not options
        and hasattr(x, "strides")
        and x.ndim > 0
        and x.size > 0
        and (axis is None or isinstance(axis, int))
        and on_card(x)
    )


@cuda_kernel("argmax", accepts=place_accepts)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the largest element is first found; the first NaN if there is one.

    for o in kept:  for r in reduced:  if x[o, r] > x[o, y[o]]:  y[o] = r
    """
    return place(ARGMAX, x, axis, keepdims)


@cuda_kernel("argmin", accepts=place_accepts)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the smallest element is first found; the first NaN if there is one."""
    return place(ARGMIN, x, axis, keepdims)
