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
from numba import njit
from numba.core.errors import NumbaError

from accelgrad.kernels import kernel, updates
from accelgrad.kernels.cpu import scalar
from accelgrad.kernels.cpu.compile import REASSOCIATE, jit
from accelgrad.kernels.cpu.elements import load_all, present, rounded, store_all
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

__all__ = ["total_norm", "update_all"]

PARALLEL = 1 << 17  # elements from which a second thread pays
PARTS = 64  # in which a sum is taken, whatever the number of threads

ZERO = {"f": np.float32(0), "d": np.float64(0)}
READ = CONTIGUOUS | ALIGNED
WRITE = READ | WRITEABLE


@jit()
def total_size(lists, reads, array_type, descr):
    """The number of elements of the first list's arrays.

    -1 if the lists do not match, or hold anything but contiguous arrays of one dtype.  The list number
    ``reads`` (the gradients) is only read.
    """
    count = list_length(lists[0])
    for which in range(len(lists)):
        if list_length(lists[which]) != count:
            return -1
    total = 0
    for i in range(count):
        size = -1
        for which in range(len(lists)):
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


# What :func:`compiled` puts in other places of the functions below.


def formula(xp: Any, x: Any, g: Any, *rest: Any) -> tuple[Any, ...]:
    """Stands for the formula."""
    raise NotImplementedError


HAS_GRADIENT = True  # stands for whether it has one


def update_range(start, stop, lists, numbers, zero):
    """Elements start ... stop of all the parameters laid end to end.

    ``lists``: gradients, parameters, what is kept; ``numbers``: sign, decay, shrink, the formula's own.
    """
    numbers = rounded(numbers, zero)
    sign, decay, shrink = numbers[:3]
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
                store_all(addresses[1:], j, formula(scalar, x, g, *values[2:], *numbers[3:]))


def update_few(lists, numbers, zero, array_type, descr, most):
    """How many elements there are, or -1 as in :func:`total_size`; fewer than ``most`` are done here."""
    size = total_size(present(lists), 0 if HAS_GRADIENT else -1, array_type, descr)
    if 0 < size < most:
        update_range(0, size, lists, numbers, zero)
    return size


@functools.cache
def compiled(which: updates.Formula) -> tuple[Callable[..., int], Callable[..., None]]:
    """:func:`update_few` and :func:`update_range` with this formula in the loop.

    They are copies of the functions with other globals: what these are compiled to can be kept on disk,
    unlike that of closures.
    """

    def copy(function: Any, **others: Any) -> Any:
        name = f"{function.__name__}_{which.__name__}"
        made = python_types.FunctionType(function.__code__, {**globals(), **others}, name)
        made.__qualname__, made.__module__ = name, __name__
        return jit()(made)

    has_gradient = "_" not in updates.arrays_of(which)
    part = copy(
        update_range,
        formula=njit(error_model="numpy")(which),
        descent=descent if has_gradient else nothing,
    )
    return copy(update_few, update_range=part, HAS_GRADIENT=has_gradient), part


def accepts(params: Any, formula: Any, others: Any, numbers: Any, *common: Any, **options: Any) -> bool:
    """Lists; what is in them the kernel itself looks at."""
    if type(params) is not list or not params or type(params[0]) is not np.ndarray:
        return False
    for one in others:
        if one is not None and type(one) is not list:
            return False
    return params[0].dtype in DESCR and formula in updates.FORMULAS


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
    columns = [others[0], params, *others[1:]]
    if type(numbers) is not list:
        return updated(formula, columns, (sign, decay, shrink, *numbers))
    if len(numbers) != len(params):
        return NotImplemented
    alike: dict[Any, list[int]] = {}
    for i, own in enumerate(numbers):
        alike.setdefault(tuple(own), []).append(i)
    grads, dtype = columns[0], params[0].dtype
    if any(one is not None and len(one) != len(params) for one in columns) or len(alike) == 1:
        return updated(formula, columns, (sign, decay, shrink, *numbers[0]))
    # Nothing may be written if any of them is to be declined.
    lists = tuple([id(one) for one in columns if one is not None])
    if total_size(lists, -1 if grads is None else 0, ARRAY_TYPE, DESCR[dtype]) < 0:
        return NotImplemented
    for own, places in alike.items():
        chosen = [column and [column[i] for i in places] for column in columns]
        updated(formula, chosen, (sign, decay, shrink, *own))
    return None


def updated(formula: updates.Formula, columns: list[Any], numbers: tuple[float, ...]) -> Any:
    """The formula on the lists of gradients, parameters and what is kept.

    NotImplemented where they do not fit.
    """
    dtype, grads = columns[1][0].dtype, columns[0]
    few, part = compiled(formula)
    numbers, zero, descr = tuple(map(float, numbers)), ZERO[dtype.char], DESCR[dtype]
    lists = tuple([None if one is None else id(one) for one in columns])
    try:
        size = few(lists, numbers, zero, ARRAY_TYPE, descr, PARALLEL)
    except NumbaError:
        there = tuple([one is not None for one in (grads, *columns[2:])])
        expected = 3 + len(updates.numbers_of(formula))
        if there in updates.variants(formula) and len(numbers) == expected:
            raise
        return NotImplemented  # the call is wrong, not the compiler: the plain reading says so
    if size < 0 and grads is not None and all(type(g) is np.ndarray for g in grads):
        # Gradients are copied where they are not contiguous; ascontiguousarray would make one dimension of
        # none.
        grads = [g if g.flags.c_contiguous else np.array(g, order="C") for g in grads]
        lists = (id(grads), *lists[1:])
        size = few(lists, numbers, zero, ARRAY_TYPE, descr, PARALLEL)
    if size < 0:
        return NotImplemented
    if size >= PARALLEL:
        parallel(part, size, lists, numbers, zero, grain=64)
    return None


# --- the norm of all of them


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
                        found += np.float64(x) * np.float64(x)
                elif order == 1:
                    for j in range(last - first):
                        (x,) = load_all(addresses, j, zero)
                        found += np.float64(abs(x))
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
