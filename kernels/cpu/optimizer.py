"""The optimizers' steps: all parameters in one call, each element read and written once.

    for each parameter:  for i in its elements:  the formula of accelgrad.kernels.plain

The constants are rounded to the dtype of the parameters, as NumPy rounds Python's numbers when they meet an
array. The lists come in by identity (see objects.py), so a step over four small parameters costs a few
microseconds whatever their shapes.  Multiplications and additions are rounded one by one as NumPy rounds
them: the results equal the plain formula's to the last bit, and it does not matter which of the two took a
step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from accelgrad.kernels.cpu.compile import jit
from accelgrad.kernels.cpu.objects import (
    ALIGNED,
    ARRAY_TYPE,
    CONTIGUOUS,
    DESCR,
    WRITEABLE,
    array_address,
    array_size,
    is_plain,
    list_item,
    list_length,
)
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import item_size, pointer
from numba import carray

from accelgrad.kernels import kernel

__all__ = ["adam_step", "sgd_step"]

PARALLEL = 1 << 17  # elements from which a second thread pays

ZERO = {"f": np.float32(0), "d": np.float64(0)}
READ = CONTIGUOUS | ALIGNED
WRITE = READ | WRITEABLE


@jit()
def total_size(lists, array_type, descr):
    """The number of elements of the first list's arrays; -1 if the lists do not match, or hold anything but
    contiguous arrays of one dtype.  The second list (the gradients) is only read."""
    count = list_length(lists[0])
    total = 0
    for i in range(count):
        size = -1
        for which in range(len(lists)):
            if list_length(lists[which]) != count:
                return -1
            array = list_item(lists[which], i)
            if not is_plain(array, array_type, descr, READ if which == 1 else WRITE):
                return -1
            found = array_size(array)
            if size >= 0 and found != size:
                return -1
            size = found
        total += size
    return total


@jit()
def part(items, i, first, last, zero):
    """Elements first ... last of ``items[i]``."""
    return carray(
        pointer(array_address(list_item(items, i)) + first * item_size(zero), zero), (last - first,)
    )


@jit()
def sgd(p, g, numbers):
    real = p.dtype.type
    sign, lr, weight_decay = real(numbers[0]), real(numbers[1]), real(numbers[2])
    for j in range(p.size):
        d = sign * g[j] + weight_decay * p[j] if weight_decay != 0 else sign * g[j]
        p[j] -= lr * d


@jit()
def sgd_momentum(p, g, b, nesterov, numbers):
    real = p.dtype.type
    sign, lr, weight_decay = real(numbers[0]), real(numbers[1]), real(numbers[2])
    momentum, damped = real(numbers[3]), real(numbers[4])
    for j in range(p.size):
        d = sign * g[j] + weight_decay * p[j] if weight_decay != 0 else sign * g[j]
        b[j] = b[j] * momentum + damped * d
        p[j] -= lr * (d + momentum * b[j]) if nesterov else lr * b[j]


@jit()
def sgd_range(start, stop, params, grads, buffers, nesterov, numbers, zero):
    """Elements start ... stop of all the parameters laid end to end; ``buffers`` is 0 without momentum."""
    begin = 0
    for i in range(list_length(params)):
        size = array_size(list_item(params, i))
        first, last = max(start - begin, 0), min(stop - begin, size)
        begin += size
        if first < last:
            p, g = part(params, i, first, last, zero), part(grads, i, first, last, zero)
            if buffers:
                b = part(buffers, i, first, last, zero)
                sgd_momentum(p, g, b, nesterov, numbers)
            else:
                sgd(p, g, numbers)


@jit()
def adam(p, g, m, v, largest, numbers):
    real = p.dtype.type
    sign, beta1, rest1 = real(numbers[0]), real(numbers[1]), real(numbers[2])
    beta2, rest2 = real(numbers[3]), real(numbers[4])
    decay, shrink = real(numbers[5]), real(numbers[6])
    correction, eps, rate = real(numbers[7]), real(numbers[8]), real(numbers[9])
    for j in range(p.size):
        d = sign * g[j]
        x = p[j] * shrink if shrink != 1 else p[j]
        if decay != 0:
            d = d + decay * x
        m[j] = m[j] * beta1 + rest1 * d
        v[j] = v[j] * beta2 + rest2 * (d * d)
        second = v[j]
        if largest.size:
            # NaN stays, as in np.maximum
            old = largest[j]
            second = second if second > old or second != second else old
            largest[j] = second
        p[j] = x - rate * (m[j] / (np.sqrt(second) / correction + eps))


@jit()
def adam_range(start, stop, params, grads, means, squares, largest, numbers, zero):
    """Elements start ... stop of all the parameters laid end to end; ``largest`` is 0 without AMSGrad."""
    begin = 0
    for i in range(list_length(params)):
        size = array_size(list_item(params, i))
        first, last = max(start - begin, 0), min(stop - begin, size)
        begin += size
        if first < last:
            p, g = part(params, i, first, last, zero), part(grads, i, first, last, zero)
            m, v = part(means, i, first, last, zero), part(squares, i, first, last, zero)
            top = part(largest, i, first, last, zero) if largest else p[:0]
            adam(p, g, m, v, top, numbers)


def accepts(params: Any, grads: Any, first: Any, *rest: Any, **options: Any) -> bool:
    """Lists; what is in them the kernel itself looks at."""
    return (
        type(params) is list
        and type(grads) is list
        and len(params) > 0
        and type(params[0]) is np.ndarray
        and params[0].dtype in DESCR
        and (first is None or type(first) is list)
    )


def measure(params: list[Any], grads: list[Any], *others: list[Any]) -> tuple[int, list[Any]]:
    """The total size, or -1, and the gradients, copied where they were not contiguous."""
    descr = DESCR[params[0].dtype]
    size = total_size((id(params), id(grads), *map(id, others)), ARRAY_TYPE, descr)
    if size < 0 and all(type(g) is np.ndarray for g in grads):
        # ascontiguousarray would make one dimension of none
        grads = [g if g.flags.c_contiguous else np.array(g, order="C") for g in grads]
        size = total_size((id(params), id(grads), *map(id, others)), ARRAY_TYPE, descr)
    return size, grads


@kernel("sgd_step", "cpu", accepts=accepts)
def sgd_step(
    params: list[Any],
    grads: list[Any],
    momentum_buffers: list[Any] | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Any:
    """The plain formula; declined (and then taken there) while a buffer is still to be made."""
    buffers = momentum_buffers if momentum and momentum_buffers is not None else None
    if buffers is not None and type(buffers) is not list:
        return NotImplemented
    size, grads = measure(params, grads, *(() if buffers is None else (buffers,)))
    if size < 0:
        return NotImplemented
    numbers = (-1.0 if maximize else 1.0, lr, weight_decay, momentum, 1.0 - dampening)
    parallel(
        sgd_range,
        size,
        id(params),
        id(grads),
        0 if buffers is None else id(buffers),
        nesterov,
        tuple(map(float, numbers)),
        ZERO[params[0].dtype.char],
        wide=size >= PARALLEL,
        grain=64,
    )
    return None


@kernel("adam_step", "cpu", accepts=accepts)
def adam_step(
    params: list[Any],
    grads: list[Any],
    exp_avgs: list[Any],
    exp_avg_sqs: list[Any],
    steps: Sequence[float],
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
    max_exp_avg_sqs: list[Any] | None = None,
) -> Any:
    """The plain formula; declined where the parameters have taken different numbers of steps."""
    t = steps[0]
    if len(steps) != len(params) or list(steps).count(t) != len(steps):
        return NotImplemented
    if type(exp_avg_sqs) is not list or not (max_exp_avg_sqs is None or type(max_exp_avg_sqs) is list):
        return NotImplemented
    others = (exp_avgs, exp_avg_sqs) if max_exp_avg_sqs is None else (exp_avgs, exp_avg_sqs, max_exp_avg_sqs)
    size, grads = measure(params, grads, *others)
    if size < 0:
        return NotImplemented
    numbers = (
        -1.0 if maximize else 1.0,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        0.0 if decoupled else weight_decay,
        1 - lr * weight_decay if decoupled else 1.0,
        math.sqrt(1 - beta2**t),
        eps,
        lr / (1 - beta1**t),
    )
    parallel(
        adam_range,
        size,
        id(params),
        id(grads),
        id(exp_avgs),
        id(exp_avg_sqs),
        0 if max_exp_avg_sqs is None else id(max_exp_avg_sqs),
        tuple(map(float, numbers)),
        ZERO[params[0].dtype.char],
        wide=size >= PARALLEL,
        grain=64,
    )
    return None
