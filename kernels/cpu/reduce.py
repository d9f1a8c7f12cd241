"""Reductions over any axes of arrays of any strides: sum, mean, prod, max, min, var, logsumexp, norms.

Every array is seen as three nested groups of dimensions: what is kept outside, what is reduced outside, and
the innermost run, which is either reduced (each run gives one number) or kept (each run is added to a row of
numbers).

    for o in kept:                             # cut into pieces for the threads
        for r in reduced:
            for i in run:  total[o] op= x[o, r, i]        or        for i in run:  total[o, i] op= x[o, r, i]

Every total is a float64, whatever the array: the error of a float32 sum does not grow with its length.  Long
float64 runs are summed in blocks, and the sums of the blocks are added with compensation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray

from accelgrad.kernels import get_num_threads, kernel
from accelgrad.kernels.cpu.compile import REASSOCIATE, jit
from accelgrad.kernels.cpu.elementary import exp, maximum, minimum
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import item_size, load, pointer

__all__ = ["logsumexp", "mean", "reduce", "simple", "var", "vector_norm"]

SUM, SQUARES, DEVIATIONS, SIZES, EXPONENTIALS, PROD, MAX, MIN, LARGEST, SMALLEST = range(10)

BLOCK = 512  # numbers that are summed without compensation
PARALLEL = 1 << 18  # elements from which a second thread pays: some 50 microseconds of one core


@jit()
def start_of(op):
    """The neutral element."""
    if op == PROD:
        return 1.0
    if op in (MAX, LARGEST):
        return -np.inf
    if op in (MIN, SMALLEST):
        return np.inf
    return 0.0


@jit()
def join(op, a, b):
    """Two partial results made one."""
    if op == PROD:
        return a * b
    if op in (MAX, LARGEST):
        return maximum(a, b)
    if op in (MIN, SMALLEST):
        return minimum(a, b)
    return a + b


@jit(REASSOCIATE)
def block_sum(op, x, shift):
    """The sum over a short contiguous block of x, of (x - shift)^2, |x| or exp(x - shift), in float64."""
    total = 0.0
    if op == SUM:
        for i in range(x.size):
            total += np.float64(x[i])
    elif op == SQUARES:
        for i in range(x.size):
            total += np.float64(x[i]) * np.float64(x[i])
    elif op == DEVIATIONS:
        for i in range(x.size):
            total += np.float64(x[i] - shift) * np.float64(x[i] - shift)
    elif op == SIZES:
        for i in range(x.size):
            total += np.float64(abs(x[i]))
    else:
        for i in range(x.size):
            total += np.float64(exp(x[i] - shift))
    return total


@jit()
def block_extreme(op, x):
    """max, min, max of |x| or min of |x| over a contiguous block; NaN if there is one."""
    best = x[0]
    if op == MAX:
        for i in range(x.size):
            best = maximum(best, x[i])
    elif op == MIN:
        for i in range(x.size):
            best = minimum(best, x[i])
    elif op == LARGEST:
        best = abs(best)
        for i in range(x.size):
            best = maximum(best, abs(x[i]))
    else:
        best = abs(best)
        for i in range(x.size):
            best = minimum(best, abs(x[i]))
    return best


@jit(REASSOCIATE)
def block_product(x):
    total = 1.0
    for i in range(x.size):
        total *= np.float64(x[i])
    return total


@jit()
def reduce_block(op, x, shift):
    if op == PROD:
        return block_product(x)
    if op >= MAX:
        return np.float64(block_extreme(op, x))
    return block_sum(op, x, shift)


@jit()
def place(index, sizes, steps):
    """The distance in bytes of element ``index`` of a group of dimensions from its first."""
    distance = 0
    for i in range(len(sizes) - 1, -1, -1):
        distance += index % sizes[i] * steps[i]
        index //= sizes[i]
    return distance


@jit()
def runs_reduced(
    start, stop, op, x, kept, kept_steps, reduced, reduced_steps, length, step, shifts, out, zero
):
    """out[o] where the innermost run is reduced: ``length`` elements, ``step`` bytes apart."""
    size = item_size(zero)
    count = 1
    for n in reduced:
        count *= n
    buffer = np.empty(BLOCK * size, np.uint8)
    gathered = carray(pointer(buffer.ctypes.data, zero), (BLOCK,))
    for o in range(start, stop):
        address = x + place(o, kept, kept_steps)
        shift = shifts[o] if shifts.size else zero
        total, lost = start_of(op), 0.0
        for r in range(count):
            run = address + place(r, reduced, reduced_steps)
            for first in range(0, length, BLOCK):
                n = min(BLOCK, length - first)
                if step == size:
                    block = carray(pointer(run + first * size, zero), (n,))
                else:
                    for i in range(n):
                        gathered[i] = load(run + (first + i) * step, zero)
                    block = gathered[:n]
                value = reduce_block(op, block, shift)
                if op >= PROD:
                    total = join(op, total, value)
                else:  # Neumaier's compensated sum: what the addition rounds away is kept apart
                    new = total + value
                    if abs(total) >= abs(value):
                        lost += (total - new) + value
                    else:
                        lost += (value - new) + total
                    total = new
        # Infinite sums have lost inf - inf, which means nothing.
        out[o] = total + lost if op < PROD and np.isfinite(lost) else total
    return buffer[0]


@jit()
def add_run(op, total, x, shift):
    """total[i] op= x[i] for a contiguous run; the totals are float64."""
    if op == SUM:
        for i in range(x.size):
            total[i] += np.float64(x[i])
    elif op == SQUARES:
        for i in range(x.size):
            total[i] += np.float64(x[i]) * np.float64(x[i])
    elif op == DEVIATIONS:
        for i in range(x.size):
            total[i] += np.float64(x[i] - shift[i]) * np.float64(x[i] - shift[i])
    elif op == SIZES:
        for i in range(x.size):
            total[i] += np.float64(abs(x[i]))
    elif op == EXPONENTIALS:
        for i in range(x.size):
            total[i] += np.float64(exp(x[i] - shift[i]))
    elif op == PROD:
        for i in range(x.size):
            total[i] *= np.float64(x[i])
    elif op == MAX:
        for i in range(x.size):
            total[i] = maximum(total[i], np.float64(x[i]))
    elif op == MIN:
        for i in range(x.size):
            total[i] = minimum(total[i], np.float64(x[i]))
    elif op == LARGEST:
        for i in range(x.size):
            total[i] = maximum(total[i], np.float64(abs(x[i])))
    else:
        for i in range(x.size):
            total[i] = minimum(total[i], np.float64(abs(x[i])))


@jit()
def runs_kept(start, stop, op, x, kept, kept_steps, reduced, reduced_steps, length, chunk, shifts, out, zero):
    """out[o, i] where the innermost run is kept and contiguous.

    A unit is one ``o`` and one chunk of the run, short enough for the level-1 cache; start and stop count
    units.
    """
    size = item_size(zero)
    count = 1
    for n in reduced:
        count *= n
    chunks = (length + chunk - 1) // chunk
    for unit in range(start, stop):
        o, first = unit // chunks, unit % chunks * chunk
        n = min(chunk, length - first)
        begin = o * length + first
        address = x + place(o, kept, kept_steps) + first * size
        total, shift = out[begin : begin + n], shifts[begin : begin + n] if shifts.size else shifts
        total[:] = start_of(op)
        for r in range(count):
            run = carray(pointer(address + place(r, reduced, reduced_steps), zero), (n,))
            add_run(op, total, run, shift)


ZERO = {"f": np.float32(0), "d": np.float64(0)}


def merged(dimensions: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes and strides of a group of dimensions, neighbours made one where they can be.

    A dimension is given as (stride, size, axis).
    """
    sizes: list[int] = []
    steps: list[int] = []
    for stride, size, _ in dimensions:
        if steps and steps[-1] == stride * size:
            sizes[-1] *= size
            steps[-1] = stride
        else:
            sizes.append(size)
            steps.append(stride)
    return np.array(sizes or [1], np.int64), np.array(steps or [0], np.int64)


def reduce(x: np.ndarray, axes: tuple[int, ...], op: int, shift: np.ndarray | None = None) -> np.ndarray:
    """Reduce over ``axes`` in float64, in the shape that keepdims gives; ``shift`` has that shape too."""
    dimensions = [(x.strides[i], x.shape[i], i) for i in range(x.ndim) if x.shape[i] != 1]
    dimensions.sort(key=lambda dimension: -abs(dimension[0]))
    kept = [dimension for dimension in dimensions if dimension[2] not in axes]
    reduced = [dimension for dimension in dimensions if dimension[2] in axes]
    order = [axis for _, _, axis in kept]
    out = np.empty([x.shape[axis] for axis in order], np.float64)
    flat = out.reshape(-1)
    shifts = np.empty(0, x.dtype)
    if shift is not None:
        rest = [axis for axis in range(x.ndim) if axis not in order]
        shifts = np.ascontiguousarray(shift.transpose(*order, *rest), x.dtype).reshape(-1)
    zero, size = ZERO[x.dtype.char], x.itemsize
    address = x.__array_interface__["data"][0]
    wide = x.size >= PARALLEL
    if dimensions and dimensions[-1] in kept and dimensions[-1][0] == size:
        # The last kept dimensions, as far as they form one contiguous run.
        length, cut = 1, len(kept)
        while cut and kept[cut - 1][0] == size * length:
            length *= kept[cut - 1][1]
            cut -= 1
        chunk = min(length, 1024)
        if wide and flat.size == length:  # one row of results: every thread gets columns of it
            chunk = min(chunk, -(-length // (get_num_threads() * 16)) * 16)
        groups = *merged(kept[:cut]), *merged(reduced)
        units = flat.size // length * -(-length // chunk)
        parallel(runs_kept, units, op, address, *groups, length, chunk, shifts, flat, zero, wide=wide)
    else:
        sizes, steps = merged(reduced)
        length, step = int(sizes[-1]), int(steps[-1])
        if step == 0 and length == 1:
            step = size
        groups = *merged(kept), sizes[:-1], steps[:-1]
        if wide and flat.size < 8:
            whole(op, address, groups, length, step, shifts, flat, zero)
        else:
            parallel(
                runs_reduced, flat.size, op, address, *groups, length, step, shifts, flat, zero, wide=wide
            )
    back = np.argsort(order) if order != sorted(order) else None
    if back is not None:
        out = np.ascontiguousarray(out.transpose(back))
    return out.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def whole(op: int, x: int, groups: Any, length: int, step: int, shifts: Any, out: Any, zero: Any) -> None:
    """Give few results over many elements: a reduced dimension is kept, and its results are joined here."""
    kept, kept_steps, reduced, reduced_steps = groups
    if len(reduced) and reduced.max() > 1:
        axis = int(np.argmax(reduced))
        pieces, distance = int(reduced[axis]), int(reduced_steps[axis])
        reduced, reduced_steps = np.delete(reduced, axis), np.delete(reduced_steps, axis)
        share, rest = length, 0
    else:  # only the innermost run: sixteen shares of it, and what is left over
        share = -(-length // (16 * BLOCK)) * BLOCK
        pieces, rest = divmod(length, share)
        distance = share * step
    partial = np.empty((out.size, pieces), np.float64)
    many = np.repeat(shifts, pieces) if shifts.size else shifts
    more, more_steps = np.append(kept, pieces), np.append(kept_steps, distance)
    groups = more, more_steps, reduced, reduced_steps
    parallel(runs_reduced, partial.size, op, x, *groups, share, step, many, partial.reshape(-1), zero)
    if rest:
        last = np.empty((out.size, 1), np.float64)
        groups = kept, kept_steps, reduced, reduced_steps
        runs_reduced(
            0, out.size, op, x + pieces * distance, *groups, rest, step, shifts, last.reshape(-1), zero
        )
        partial = np.concatenate([partial, last], axis=1)
    if op == PROD:
        partial.prod(axis=1, out=out)
    elif op in (MAX, LARGEST):
        partial.max(axis=1, out=out)
    elif op in (MIN, SMALLEST):
        partial.min(axis=1, out=out)
    else:
        partial.sum(axis=1, out=out)


def as_axes(axis: Any, ndim: int) -> tuple[int, ...] | None:
    """The axes as a sorted tuple of positive numbers; None if they are not valid (NumPy will say so)."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    if not isinstance(axes, tuple) or not all(isinstance(i, int) and -ndim <= i < ndim for i in axes):
        return None
    found = tuple(sorted({i % ndim for i in axes}))
    return found if len(found) == len(axes) else None


def whole_elements(x: np.ndarray) -> bool:
    """Whether the address and every stride are whole numbers of elements."""
    return x.flags.aligned and all(step % x.itemsize == 0 for step in x.strides)


def accepts(x: Any, axis: Any = None, keepdims: bool = False) -> bool:
    """Native float32 or float64, at least one element, valid axes."""
    return (
        type(x) is np.ndarray
        and x.dtype.char in ZERO
        and x.dtype.isnative
        and x.size > 0
        and (axis is None or as_axes(axis, x.ndim) is not None)
        and whole_elements(x)
    )


def only_these(accepts: Callable[..., bool]) -> Callable[..., bool]:
    """Return False, not a TypeError, for arguments that the kernel has no parameter for (``dtype``, ...)."""

    def answer(*args: Any, **options: Any) -> bool:
        try:
            return accepts(*args, **options)
        except TypeError:
            return False

    return answer


def long_rows(x: np.ndarray, axis: Any = None, *args: Any, **options: Any) -> bool:
    """Tell whether long contiguous rows are reduced.

    There NumPy works with one thread, and for ``prod`` and ``var`` with one number at a time. It is as fast
    as we are where rows are added to each other, or where they are short.
    """
    if not x.flags.c_contiguous:
        return False
    last = x.ndim - 1
    return axis is None or (x.shape[-1] >= 256 and last in (as_axes(axis, x.ndim) or ()))


def finish(result: np.ndarray, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> Any:
    """In x's dtype, without the reduced axes unless ``keepdims``; a scalar where NumPy gives one."""
    result = result.astype(x.dtype)
    if keepdims:
        return result
    return result.reshape([n for i, n in enumerate(x.shape) if i not in axes])[()]


def simple(name: str, op: int) -> Callable[..., Any]:
    """Register the kernel of a reduction that is one pass and nothing else."""

    def reduction(x: np.ndarray, axis: Any = None, *, keepdims: bool = False) -> Any:
        axes = as_axes(axis, x.ndim) or ()
        return finish(reduce(x, axes, op), x, axes, keepdims)

    reduction.__name__ = reduction.__qualname__ = name
    reduction.__doc__ = f"``numpy.{name}`` over ``axis``; the loop nest stands at the top of this file."
    return kernel(name, "cpu", accepts=only_these(accepts), faster=long_rows)(reduction)


simple("sum", SUM)
simple("prod", PROD)
simple("max", MAX)
simple("min", MIN)


@kernel("mean", "cpu", accepts=only_these(accepts), faster=long_rows)
def mean(x: np.ndarray, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``sum(x) / n``."""
    axes = as_axes(axis, x.ndim) or ()
    return finish(reduce(x, axes, SUM) / math.prod(x.shape[i] for i in axes), x, axes, keepdims)


def accepts_var(
    x: Any, axis: Any = None, *, ddof: float = 0, correction: float = 0, keepdims: bool = False
) -> bool:
    if not accepts(x, axis):
        return False
    return math.prod(x.shape[i] for i in as_axes(axis, x.ndim) or ()) > ddof + correction


@kernel("var", "cpu", accepts=only_these(accepts_var), faster=long_rows)
def var(
    x: np.ndarray, axis: Any = None, *, ddof: float = 0, correction: float = 0, keepdims: bool = False
) -> Any:
    """``sum((x - mean)^2) / (n - ddof)`` in two passes, corrected for the rounding of the mean.

    Chan, Golub & LeVeque 1983, equation 1.7.
    """
    axes = as_axes(axis, x.ndim) or ()
    n = math.prod(x.shape[i] for i in axes)
    middle = reduce(x, axes, SUM) / n
    shift = middle.astype(x.dtype)
    total = reduce(x, axes, DEVIATIONS, shift) - n * (middle - shift) ** 2
    return finish(total / (n - ddof - correction), x, axes, keepdims)


@kernel("logsumexp", "cpu", accepts=only_these(accepts))
def logsumexp(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> Any:
    """``m + log(sum(exp(x - m)))`` with the maximum m; an infinite m is the answer itself."""
    axes = as_axes(axis, x.ndim) or ()
    largest = reduce(x, axes, MAX)
    finite = np.isfinite(largest)
    total = reduce(x, axes, EXPONENTIALS, np.where(finite, largest, 0))
    value = np.where(finite, np.log(np.where(finite, total, 1)) + largest, largest)
    return finish(value, x, axes, keepdims)


NORMS = {1: SIZES, 2: SQUARES, math.inf: LARGEST, -math.inf: SMALLEST}


def accepts_norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> bool:
    return ord in NORMS and accepts(x, axis)


@kernel("vector_norm", "cpu", accepts=only_these(accepts_norm))
def vector_norm(x: np.ndarray, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """The 1-, 2-, inf- or -inf-norm over ``axis``."""
    axes = as_axes(axis, x.ndim) or ()
    total = reduce(x, axes, NORMS[ord])
    return finish(np.sqrt(total) if ord == 2 else total, x, axes, keepdims)
