"""One element of each of several arrays on the card as a tuple, given a table of their addresses.

And what the formulas of accelgrad.kernels.updates ask of ``xp``, for one number.
"""

from __future__ import annotations

import functools
import math
import types as python_types
from typing import Any

import numpy as np

from accelgrad.kernels.cpu import elements
from accelgrad.kernels.cuda.launch import SIMULATED, cuda

__all__ = ["load_all", "neighbours", "scalar", "store_all", "words"]

if SIMULATED:
    import ctypes

    def _number(address: Any, index: Any, like: Any) -> Any:
        """The number at an address, as an object of ctypes."""
        kind = np.ctypeslib.as_ctypes_type(like)
        return kind.from_address(int(address) + int(index) * ctypes.sizeof(kind))

    def load_all(addresses: Any, index: Any, like: Any) -> Any:
        kind = type(like)
        return tuple([one and kind(_number(one, index, kind).value) for one in addresses])

    def store_all(addresses: Any, index: Any, values: Any) -> None:
        for one, value in zip(addresses, values, strict=True):
            if one is not None:
                _number(one, index, type(value)).value = float(value)

    def words(table: Any, start: Any, there: Any) -> Any:
        found = iter(table[start:])
        return tuple([one and int(next(found)) for one in there])

    def neighbours(memory: Any, start: Any, like: Any) -> Any:
        return tuple([memory[start + i] for i in range(len(like))])

else:
    from numba.cuda.extending import intrinsic

    # The same names in the simulator and on a card, whose intrinsics mypy sees as another kind of function.

    load_all = intrinsic(elements.define_load_all)  # type: ignore[assignment]
    store_all = intrinsic(elements.define_store_all)  # type: ignore[assignment]
    words = intrinsic(elements.define_words)  # type: ignore[assignment]
    neighbours = intrinsic(elements.define_neighbours)  # type: ignore[assignment]


@functools.cache
def scalar(T: Any) -> Any:
    """A module of functions of one number, in which no constant has another type than ``T``."""
    ZERO, ONE = T(0), T(1)

    def where(condition: Any, x: Any, y: Any) -> Any:
        return x if condition else y

    def maximum(x: Any, y: Any) -> Any:
        return y if y > x or y != y else x

    def minimum(x: Any, y: Any) -> Any:
        return y if y < x or y != y else x

    def clip(x: Any, low: Any, high: Any) -> Any:
        y = low if x < low else x
        return high if y > high else y

    def sign(x: Any) -> Any:
        return ONE if x > ZERO else -ONE if x < ZERO else x

    module: Any = python_types.ModuleType("scalar")
    module.abs, module.sqrt = math.fabs, math.sqrt
    for function in (where, maximum, minimum, clip, sign):
        setattr(module, function.__name__, cuda.jit(device=True)(function))
    if SIMULATED:  # math's functions would give Python's numbers, in double precision
        module.abs, module.sqrt = np.abs, np.sqrt
    return module
