"""The optimizers' steps: all parameters in one call, each element read and written once.

    for each parameter:  for i in its elements:  a formula of accelgrad.kernels.updates

The formulas are compiled as they stand there: :mod:`accelgrad.kernels.cpu.scalar` takes the place of ``xp``,
and an array that is left out is None, so that Numba drops what would use it.  The numbers are rounded to the
dtype of the parameters, as NumPy rounds Python's numbers when they meet an array.  The lists come in by
identity (see objects.py), so a step over four small parameters costs a few microseconds whatever their
shapes.  Multiplications and additions are rounded one by one as NumPy rounds them: the results equal the
plain reading's to the last bit, and it does not matter which of the two took a step.
"""

from __future__ import annotations

import functools
import math
import types as python_types
from collections.abc import Callable
from typing import Any

import numpy as np
from accelgrad.kernels.cpu import scalar
from accelgrad.kernels.cpu.compile import REASSOCIATE, jit
from accelgrad.kernels.cpu.elements import load_all, rounded, store_all
from accelgrad.kernels.cpu.objects import (
    ALIGNED,
    ARRAY_TYPE,
    CONTIGUOUS,
    DESCR,
    WRITEABLE,
    addresses_of,
    array_size,
    is_plain,
    list_item,
    list_length,
)
from accelgrad.kernels.cpu.threads import parallel
from numba import njit

from accelgrad.kernels import kernel, updates

__all__ = ["total_norm", "update_all"]

PARALLEL = 1 << 17  # elements from which a second thread pays
PARTS = 64  # in which a sum is taken, whatever the number of threads

ZERO = {"f": np.float32(0), "d": np.float64(0)}
READ = CONTIGUOUS | ALIGNED
WRITE = READ | WRITEABLE


@jit()
def total_size(lists, reads, array_type, descr):
    """The number of elements of the first list's arrays; -1 if the lists do not match, or hold anything but
    contiguous arrays of one dtype.  The list number ``reads`` (the gradients) is only read."""
    count = list_length(lists[0])
    total = 0
    for i in range(count):
        size = -1
        for which in range(len(lists)):
            if list_length(lists[which]) != count:
                return -1
            array = list_item(lists[which], i)
            if not is_plain(array, array_type, descr, READ if which == reads else WRITE):
                return -1
            found = array_size(array)
            if size >= 0 and found != size:
                return -1
            size = found
        total += size
    return total


@jit()
def descent(g, x, sign, decay):
    """What x descends along, from its gradient."""
    d = sign * g
    return d + decay * x if decay else d


@jit()
def nothing(g, x, sign, decay):
    """For formulas without a gradient."""
    return None


def formula(xp: Any, x: Any, g: Any, *rest: Any) -> tuple[Any, ...]:
    """Stands in :func:`update_range` for the formula that :func:`compiled` puts in its place."""
    raise NotImplementedError


def update_range(start, stop, lists, common, numbers, zero):
    """Elements start ... stop of all the parameters laid end to end; ``lists``: gradients, parameters, what
    is kept.
    """
    sign, decay, shrink = rounded(common, zero)
    own = rounded(numbers, zero)
    begin = 0
    for i in range(list_length(lists[1])):
        size = array_size(list_item(lists[1], i))
        first, last = max(start - begin, 0), min(stop - begin, size)
        begin += size
        if first < last:
            addresses = addresses_of(lists, i, first, zero)
            for j in range(last - first):
                values = load_all(addresses, j, zero)
                g = descent(values[0], values[1], sign, decay)
                x = values[1] * shrink
                store_all(addresses[1:], j, formula(scalar, x, g, *values[2:], *own))


@functools.cache
def compiled(which: updates.Formula) -> Callable[..., None]:
    """:func:`update_range` with this formula in its loop.

    A copy of the function with other globals: what it is compiled to can be kept on disk, unlike that of a
    closure.
    """
    name = f"update_range_{which.__name__}"
    inner = njit(error_model="numpy")(which)
    names = {**globals(), "formula": inner}
    if "_" in updates.arrays_of(which):
        names["descent"] = nothing
    copy = python_types.FunctionType(update_range.__code__, names, name)
    copy.__qualname__, copy.__module__ = name, __name__
    return jit()(copy)


def accepts(params: Any, formula: Any, others: Any, numbers: Any, *common: Any, **options: Any) -> bool:
    """Lists; what is in them the kernel itself looks at."""
    return (
        type(params) is list
        and len(params) > 0
        and type(params[0]) is np.ndarray
        and params[0].dtype in DESCR
        and formula in updates.FORMULAS
        and all(one is None or type(one) is list for one in others)
    )


def measure(params: list[Any], grads: list[Any] | None, *kept: list[Any]) -> tuple[int, list[Any] | None]:
    """The total size, or -1, and the gradients, copied where they were not contiguous."""
    descr = DESCR[params[0].dtype]
    others = tuple(map(id, kept))
    if grads is None:
        return total_size((id(params), *others), -1, ARRAY_TYPE, descr), None
    size = total_size((id(params), id(grads), *others), 1, ARRAY_TYPE, descr)
    if size < 0 and all(type(g) is np.ndarray for g in grads):
        # ascontiguousarray would make one dimension of none
        grads = [g if g.flags.c_contiguous else np.array(g, order="C") for g in grads]
        size = total_size((id(params), id(grads), *others), 1, ARRAY_TYPE, descr)
    return size, grads


@kernel("update_all", "cpu", accepts=accepts)
def update_all(
    params: list[Any],
    formula: updates.Formula,
    others: Any,
    numbers: Any,
    sign: float = 1.0,
    decay: float = 0.0,
    shrink: float = 1.0,
) -> Any:
    """The plain reading; declined for lists that hold anything but contiguous arrays of one dtype."""
    grads, *kept = others
    size, grads = measure(params, grads, *[one for one in kept if one is not None])
    if size < 0:
        return NotImplemented
    common = (float(sign), float(decay), float(shrink))
    run, zero = compiled(formula), ZERO[params[0].dtype.char]
    if type(numbers) is not list:
        lists = (None if grads is None else id(grads), id(params), *[one and id(one) for one in kept])
        own = tuple(map(float, numbers))
        parallel(run, size, lists, common, own, zero, wide=size >= PARALLEL, grain=64)
        return None
    if len(numbers) != len(params):
        return NotImplemented
    alike: dict[Any, list[int]] = {}
    for i, own in enumerate(numbers):
        alike.setdefault(tuple(map(float, own)), []).append(i)
    for own, places in alike.items():
        chosen = [one and [one[i] for i in places] for one in (grads, params, *kept)]
        size = sum([one.size for one in chosen[1]])
        lists = tuple([one and id(one) for one in chosen])
        parallel(run, size, lists, common, own, zero, wide=size >= PARALLEL, grain=64)
    return None


# ----------------------------------------------------------------------------------- the norm of all of them


@jit(REASSOCIATE)
def norm_parts(start, stop, arrays, total, parts, order, zero):
    """The sum of the squares (sizes, largest size) of the elements of each part, in float64."""
    each = -(-total // len(parts))
    for part in range(start, stop):
        low, high = part * each, min((part + 1) * each, total)
        found, begin, largest = 0.0, 0, zero
        for i in range(list_length(arrays)):
            size = array_size(list_item(arrays, i))
            first, last = max(low - begin, 0), min(high - begin, size)
            begin += size
            if first < last:
                addresses = addresses_of((arrays,), i, first, zero)
                if order == 2:
                    for j in range(last - first):
                        (x,) = load_all(addresses, j, zero)
                        found += float(x) * float(x)
                elif order == 1:
                    for j in range(last - first):
                        (x,) = load_all(addresses, j, zero)
                        found += float(abs(x))
                else:
                    for j in range(last - first):
                        (x,) = load_all(addresses, j, zero)
                        largest = scalar.maximum(largest, abs(x))
        parts[part] = found if order else largest


def norm_accepts(arrays: Any, ord: float = 2.0) -> bool:
    """Lists of arrays of one dtype, for the norms 1, 2 and infinity."""
    return (
        type(arrays) is list
        and len(arrays) > 0
        and type(arrays[0]) is np.ndarray
        and arrays[0].dtype in DESCR
        and ord in (1, 2, math.inf)
    )


@kernel("total_norm", "cpu", accepts=norm_accepts)
def total_norm(arrays: list[Any], ord: float = 2.0) -> Any:
    """The norm of all arrays as if they were one vector; declined as in :func:`update_all`.

    for each array:  for i in its elements:  total += |x[i]|^ord
    """
    size = total_size((id(arrays),), 0, ARRAY_TYPE, DESCR[arrays[0].dtype])
    if size < 0:
        return NotImplemented
    parts, zero = np.zeros(PARTS), ZERO[arrays[0].dtype.char]
    order = 0 if ord == math.inf else int(ord)
    parallel(norm_parts, PARTS, id(arrays), size, parts, order, zero, wide=size >= PARALLEL)
    total = parts.max() if ord == math.inf else math.sqrt(parts.sum()) if ord == 2 else parts.sum()
    return arrays[0].dtype.type(total)
