"""Reads NumPy arrays and Python lists of them inside compiled code, from nothing but their identities.

Numba unpacks an array argument in about 0.2 microseconds and compiles a version for every layout and every
number of arrays.  An optimizer's step gets up to five lists of any length in each training step; a matrix
product gets C, Fortran and strided arrays.  Here a kernel takes ``id(list)`` or ``id(array)``, and reads
addresses, shapes and strides from the objects themselves.  The fields are those of CPython's
``listobject.h`` and NumPy's public ``ndarraytypes.h``.

Whether they lie where they are read is tested when this file is imported; if not (another Python than
64-bit CPython with a GIL), the import fails, and the kernels that need it are reported as missing.
"""

from __future__ import annotations

import sys
import sysconfig
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from accelgrad.kernels.cpu.compile import jit

__all__ = [
    "addresses_of", "array_address", "array_size", "dimensions", "extent", "list_item", "list_length", "step",
    "word",
]  # fmt: skip

# PyListObject: reference count, type, length, address of the items
_LENGTH, _ITEMS = 16, 24
# PyArrayObject: reference count, type, data, number of dimensions (32 bits), dimensions, strides, base,
# descr, flags
_TYPE, _DATA, _NDIM, _SHAPE, _STRIDES, _DESCR, _FLAGS = 8, 16, 24, 32, 40, 56, 64

ARRAY_TYPE = id(np.ndarray)
DESCR = {np.dtype(name): id(np.dtype(name)) for name in ("float32", "float64")}  # NumPy makes each one once
CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400  # NPY_ARRAY_C_CONTIGUOUS and so on


def _reader(bits: int) -> Any:
    def define(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()))
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), generate

    return intrinsic(define)


word = _reader(64)  # the 64-bit number at an address
half = _reader(32)  # the 32-bit number at an address


@jit()
def list_length(items):
    return word(items + _LENGTH)


@jit()
def list_item(items, i):
    """The identity of ``list[i]``."""
    return word(word(items + _ITEMS) + 8 * i)


@jit()
def array_address(array):
    return word(array + _DATA)


@intrinsic
def addresses_of(typingctx, lists, i, first, like):
    """Where in memory element ``first`` of array ``i`` of each list lies; None stays None.

    ``like`` is any number of the element type.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(64)

        def read(address: Any, offset: Any) -> Any:
            return builder.load(builder.inttoptr(builder.add(address, offset), wide.as_pointer()))

        ahead = builder.mul(args[2], ir.Constant(wide, like.bitwidth // 8))
        found = []
        for place, kind in enumerate(lists):
            if kind == types.none:
                found.append(context.get_dummy_value())
                continue
            items = read(builder.extract_value(args[0], place), ir.Constant(wide, _ITEMS))
            array = read(items, builder.mul(args[1], ir.Constant(wide, 8)))
            found.append(builder.add(read(array, ir.Constant(wide, _DATA)), ahead))
        return context.make_tuple(builder, signature.return_type, found)

    result = types.Tuple([types.none if kind == types.none else types.int64 for kind in lists])
    return result(lists, types.int64, types.int64, like), generate


@jit()
def extent(array, i):
    """``array.shape[i]``"""
    return word(word(array + _SHAPE) + 8 * i)


@jit()
def step(array, i):
    """``array.strides[i]``, in bytes"""
    return word(word(array + _STRIDES) + 8 * i)


@jit()
def dimensions(array):
    """``array.ndim``"""
    return half(array + _NDIM)


@jit()
def array_size(array):
    size = 1
    for i in range(dimensions(array)):
        size *= extent(array, i)
    return size


@jit()
def is_plain(array, array_type, descr, flags):
    """Whether it is exactly an ndarray, of that dtype, with those flags set."""
    if word(array + _TYPE) != array_type or word(array + _DESCR) != descr:
        return False
    return half(array + _FLAGS) & flags == flags


@jit()
def _describe(items, array_type, descr, flags, found):
    found[0] = list_length(items)
    array = list_item(items, 1)
    found[1] = array_address(array)
    found[2], found[3] = extent(array, 0), extent(array, 1)
    found[4], found[5] = step(array, 0), step(array, 1)
    found[6] = array_size(array)
    found[7] = is_plain(array, array_type, descr, flags)
    found[8] = is_plain(list_item(items, 2), array_type, descr, flags)


def _check() -> None:
    """Compare what the functions above read with what Python says."""
    if (
        sys.implementation.name != "cpython"
        or sys.maxsize != 2**63 - 1
        or sysconfig.get_config_var("Py_GIL_DISABLED")
    ):
        raise ImportError("reading arrays by their identity needs 64-bit CPython with a GIL")
    array = np.zeros((3, 5), np.float32)
    items = [None, array, array.T]
    found = np.zeros(9, np.int64)
    wanted = [3, array.ctypes.data, 3, 5, *array.strides, 15, 1, 0]
    _describe(id(items), ARRAY_TYPE, DESCR[array.dtype], CONTIGUOUS | ALIGNED | WRITEABLE, found)
    if found.tolist() != wanted:
        raise ImportError(
            f"lists or arrays are laid out differently here: read {found.tolist()}, not {wanted}"
        )


_check()
