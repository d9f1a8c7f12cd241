"""The optimizers' steps for all parameters in one launch.

A table of addresses tells each block where it works, and a formula of accelgrad.kernels.updates what to do
there.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from accelgrad.kernels import updates
from accelgrad.kernels.cuda.elements import load_all, neighbours, scalar, store_all, words
from accelgrad.kernels.cuda.launch import SIMULATED, Program, array_module, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.reduce import LARGEST, ROOT, SUM, size, square
from accelgrad.kernels.cuda.warp import add, block_reduce, larger

__all__ = ["total_norm", "update_all"]

# Elements that one block of THREADS threads takes care of.
CHUNK = 4096
THREADS = 256


def program(formula: updates.Formula, there: tuple[bool, ...]) -> Program:
    """The kernel of a formula with those of its arrays that are there.

    A row of the table has the addresses of the gradient, the parameter and what is kept, then the size;
    ``own`` has a row of numbers for each parameter, ``stride`` apart, or for all with the stride 0; the
    numbers of the call count where the stride is -1.
    """
    has_gradient, *kept = there
    layout = tuple([1 if one else None for one in (has_gradient, True, *kept)])
    length = sum(one is not None for one in layout)

    def make(T: Any) -> Any:
        xp, ZERO = scalar(T), T(0)
        run = cuda.jit(device=True)(formula)

        def kernel(table, blocks, own, stride, sign, decay, shrink, numbers):
            which = blocks[cuda.blockIdx.x * 2]
            low = blocks[cuda.blockIdx.x * 2 + 1]
            row = which * (length + 1)
            addresses = words(table, row, layout)
            high = min(low + CHUNK, table[row + length])
            if stride >= 0:
                numbers = neighbours(own, which * stride, numbers)
            i = low + cuda.threadIdx.x
            while i < high:
                values = load_all(addresses, i, ZERO)
                x = values[1] * shrink
                if has_gradient:
                    g = sign * values[0]
                    if decay != ZERO:
                        g = g + decay * values[1]
                    results = run(xp, x, g, *values[2:], *numbers)
                else:
                    results = run(xp, x, None, *values[2:], *numbers)
                store_all(addresses[1:], i, results)
                i += cuda.blockDim.x

        return kernel

    absent = [
        name for name, one in zip(updates.arrays_of(formula), there, strict=True) if not one and name != "_"
    ]
    make.__name__ = "_without_".join([f"{formula.__name__}_all", *absent])
    return Program(make, "LLPittt" + "t" * len(updates.numbers_of(formula)), threads=THREADS, gathered=7)


UPDATES = {
    (formula, there): program(formula, there)
    for formula in updates.FORMULAS
    for there in updates.variants(formula)
}


def upload(values: Any, dtype: Any) -> Any:
    """A small table on the card."""
    module = array_module()
    return module.asarray(np.asarray(values, dtype))


@functools.lru_cache(maxsize=64)
def table_of(addresses: tuple[int, ...], device: int) -> Any:
    """Return the table of addresses on the card, the last step's one as long as memory is used again."""
    return upload(addresses, np.int64)


@functools.lru_cache(maxsize=64)
def blocks_of(sizes: tuple[int, ...], device: int) -> tuple[Any, int]:
    """For every block the parameter and the element that it begins with, and how many blocks there are."""
    pairs = [(which, low) for which, size in enumerate(sizes) for low in range(0, size, CHUNK)]
    return upload(pairs, np.int64), len(pairs)


def address(x: Any) -> int:
    return x.ctypes.data if SIMULATED else x.data.ptr


def device_of(x: Any) -> int:
    return 0 if SIMULATED else x.device.id


def table_and_blocks(columns: list[list[Any]]) -> tuple[Any, Any, int]:
    """For the arrays of each list side by side: the table of addresses and sizes, the blocks, how many."""
    sizes = tuple([one.size for one in columns[0]])
    rows = zip(*[[address(one) for one in column] for column in columns], sizes, strict=True)
    device = device_of(columns[0][0])
    blocks, count = blocks_of(sizes, device)
    return table_of(tuple([word for row in rows for word in row]), device), blocks, count


def accepts(
    params: Any, formula: Any, others: Any, numbers: Any, sign: Any = 1.0, decay: Any = 0.0, shrink: Any = 1.0
) -> bool:
    """Tell whether these are float32 or float64 arrays of one type, in index order but for the gradients.

    Each stands beside others of its own shape.
    """
    there = tuple([one is not None for one in others])
    if not params or (formula, there) not in UPDATES or not on_card(params[0], contiguous=False):
        return False
    if type(numbers) is list and len(numbers) != len(params):
        return False
    kind, char = type(params[0]), params[0].dtype.char
    if type(numbers) is not list and type(numbers) is not tuple and numbers.dtype.char != char:
        return False
    for column in (params, *others):
        if column is None:
            continue
        if len(column) != len(params):
            return False
        for p, x in zip(params, column, strict=True):
            if type(x) is not kind or x.dtype.char != char or x.shape != p.shape:
                return False
            if column is not others[0] and not x.flags.c_contiguous:
                return False
    return all(p.size < 2**31 for p in params)


@cuda_kernel("update_all", accepts=accepts)
def update_all(
    params: Any,
    formula: updates.Formula,
    others: Any,
    numbers: Any,
    sign: float = 1.0,
    decay: float = 0.0,
    shrink: float = 1.0,
) -> None:
    """The formula on every parameter, in place.

    for every parameter:  for i:  x[i], kept[i] = formula(x[i], sign g[i] + decay x[i], kept[i], numbers)
    """
    grads, *kept = others
    run = UPDATES[formula, tuple([one is not None for one in others])]
    char = params[0].dtype.char
    run.prepare(char)
    if grads is not None:
        grads = [g if g.flags.c_contiguous else g.copy(order="C") for g in grads]
    columns = [one for one in (grads, params, *kept) if one is not None]
    table, blocks, count = table_and_blocks(columns)
    if count == 0:
        return
    width = run.signature.count("t") - 3
    own, stride, values = None, -1, (0.0,) * width
    if type(numbers) is list:
        own, stride = upload(numbers, params[0].dtype), width
    elif type(numbers) is tuple:
        values = numbers
    else:
        own, stride = numbers, 0
    run(count, THREADS, char, table, blocks, own, stride, sign, decay, shrink, *values)


# --- the norm of all of them


def norm_program(name: str, prepare: Any, combine: Any) -> Program:
    """``parts[block] = combination of prepare(x[i])`` over the elements that the block takes care of."""
    reduce = block_reduce(combine)

    def make(T: Any) -> Any:
        ZERO = T(0)

        def kernel(table, blocks, parts):
            buffer = cuda.shared.array(32, T)
            row = blocks[cuda.blockIdx.x * 2] * 2
            low = blocks[cuda.blockIdx.x * 2 + 1]
            addresses = words(table, row, (1,))
            high = min(low + CHUNK, table[row + 1])
            total = ZERO
            i = low + cuda.threadIdx.x
            while i < high:
                total = combine(total, prepare(load_all(addresses, i, ZERO)[0], ZERO))
                i += cuda.blockDim.x
            total = reduce(total, buffer)
            if cuda.threadIdx.x == 0:
                parts[cuda.blockIdx.x] = total

        return kernel

    make.__name__ = name
    return Program(make, "LLP", threads=THREADS)


NORMS = {
    1: norm_program("sizes_of_all", size, add),
    2: norm_program("squares_of_all", square, add),
    math.inf: norm_program("largest_of_all", size, larger),
}
LAST = {1: SUM.rows, 2: ROOT, math.inf: LARGEST.rows}


def norm_accepts(arrays: Any, ord: float = 2.0) -> bool:
    """Float32 or float64 arrays of one type, in index order, not all of them empty; norms 1, 2, infinity."""
    return (
        type(arrays) is list
        and len(arrays) > 0
        and ord in NORMS
        and all(on_card(arrays[0], one) for one in arrays)
        and any(one.size for one in arrays)
    )


@cuda_kernel("total_norm", accepts=norm_accepts)
def total_norm(arrays: Any, ord: float = 2.0) -> Any:
    """The norm of all arrays as if they were one vector: a launch for the blocks, one for their results.

    for every array:  for i:  total += |x[i]|^ord
    """
    char = arrays[0].dtype.char
    NORMS[ord].prepare(char)
    table, blocks, count = table_and_blocks([arrays])
    parts = room(arrays[0], (count,))
    NORMS[ord](count, THREADS, char, table, blocks, parts)
    total = room(arrays[0], ())
    LAST[ord]((1, 1), THREADS, char, parts, total, None, count, count, count, False, 1.0)
    return total
