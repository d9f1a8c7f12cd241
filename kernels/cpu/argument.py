"""argmax and argmin over one axis or over all: where the extreme value stands first.

NaN counts as the extreme.

    for o in the other dimensions:  for i in the axis:  if x[o, i] > best[o]:  best[o], index[o] = x[o, i], i
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import jit
from accelgrad.kernels.cpu.elementary import maximum, minimum
from accelgrad.kernels.cpu.reduce import PARALLEL, ZERO, merged, only_these, place, whole_elements
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import item_size, load, pointer

__all__ = ["argmax", "argmin"]

BLOCK = 256


@jit()
def along(start, stop, largest, x, kept, steps, length, step, out, zero):
    """out[o]: the place along an axis of ``length`` elements ``step`` bytes apart.

    A contiguous block is first asked for its extreme alone, which is a matter of vectors; only a block that
    improves on the ones before it is searched for the place.
    """
    size = item_size(zero)
    for o in range(start, stop):
        address = x + place(o, kept, steps)
        best, index = load(address, zero), 0
        for first in range(0, length, BLOCK):
            n = min(BLOCK, length - first)
            if best != best:
                break
            value = best
            if step == size:
                block = carray(pointer(address + first * size, zero), (n,))
                if largest:
                    for i in range(n):
                        value = maximum(value, block[i])
                else:
                    for i in range(n):
                        value = minimum(value, block[i])
                if value == best:
                    continue
            for i in range(n):
                candidate = load(address + (first + i) * step, zero)
                if candidate != candidate:
                    best, index = candidate, first + i
                    break
                if candidate > best if largest else candidate < best:
                    best, index = candidate, first + i
        out[o] = index


@jit()
def across(start, stop, largest, x, kept, steps, run, length, step, chunk, out, zero):
    """Find it where the other dimensions end in a contiguous run: a row of candidates is carried along."""
    size = item_size(zero)
    chunks = (run + chunk - 1) // chunk
    memory = np.empty(chunk * size, np.uint8)
    row = carray(pointer(memory.ctypes.data, zero), (chunk,))
    for unit in range(start, stop):
        o, first = unit // chunks, unit % chunks * chunk
        n = min(chunk, run - first)
        address = x + place(o, kept, steps) + first * size
        best, index = row[:n], out[o * run + first : o * run + first + n]
        for j in range(n):
            best[j], index[j] = load(address + j * size, zero), 0
        for i in range(1, length):
            line = carray(pointer(address + i * step, zero), (n,))
            for j in range(n):
                better = line[j] > best[j] if largest else line[j] < best[j]
                if better or (line[j] != line[j] and best[j] == best[j]):
                    best[j], index[j] = line[j], i
    return memory[0]


def search(x: np.ndarray, axis: int | None, keepdims: bool, largest: bool) -> Any:
    if axis is None:
        shape = (1,) * x.ndim
        x = x.reshape(-1)
        kept_shape: tuple[int, ...] = ()
        axis = 0
    else:
        axis %= x.ndim
        kept_shape = x.shape[:axis] + x.shape[axis + 1 :]
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    kept = [(x.strides[i], x.shape[i], i) for i in range(x.ndim) if i != axis]
    length, step = x.shape[axis], x.strides[axis]
    out = np.empty(kept_shape, np.int64)
    flat, zero = out.reshape(-1), ZERO[x.dtype.char]
    address = x.__array_interface__["data"][0]
    wide = x.size >= PARALLEL
    run, cut = 1, len(kept)
    while cut and kept[cut - 1][0] == x.itemsize * run:
        run *= kept[cut - 1][1]
        cut -= 1
    if run > 4:
        chunk = min(run, 512)
        groups = merged(kept[:cut])
        units = flat.size // run * -(-run // chunk)
        parallel(across, units, largest, address, *groups, run, length, step, chunk, flat, zero, wide=wide)
    else:
        parallel(along, flat.size, largest, address, *merged(kept), length, step, flat, zero, wide=wide)
    return out.reshape(shape) if keepdims else out[()]


def accepts(x: Any, axis: Any = None, keepdims: bool = False) -> bool:
    """Native float32 or float64, at least one element; over all axes only if contiguous."""
    return (
        type(x) is np.ndarray
        and x.dtype.char in ZERO
        and x.dtype.isnative
        and x.size > 0
        and x.ndim > 0
        and (x.flags.c_contiguous if axis is None else type(axis) is int and -x.ndim <= axis < x.ndim)
        and whole_elements(x)
    )


def across_rows(x: np.ndarray, axis: int | None = None, **options: Any) -> bool:
    """NumPy searches a contiguous run with vectors, but anything else one number at a time."""
    return axis is not None and axis % x.ndim != x.ndim - 1


def _kernel(name: str, largest: bool) -> Callable[..., Any]:
    def argument(x: np.ndarray, axis: int | None = None, *, keepdims: bool = False) -> Any:
        return search(x, axis, keepdims, largest)

    argument.__name__ = argument.__qualname__ = name
    argument.__doc__ = f"``numpy.{name}``; the loop nest stands at the top of this file."
    return kernel(name, "cpu", accepts=only_these(accepts), faster=across_rows)(argument)


argmax = _kernel("argmax", True)
argmin = _kernel("argmin", False)
