"""bfloat16 across DLPack: NumPy and CuPy do not pass on a type that another package has made.

So the array goes out as 16-bit integers on the same memory, and the capsule is told what they are; one that
comes in is told the contrary.  Layout of the structures: dlpack.h, versions 0 and 1.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes

__all__ = ["give", "take"]

BFLOAT, UNSIGNED = 4, 1  # kDLBfloat, kDLUInt
PLACES = {b"dltensor": 20, b"dltensor_versioned": 52}
"""The name of a capsule -> where in its structure the element type begins: a code, the bits, the lanes."""

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]


def _code(capsule: Any) -> Any:
    """The byte that says what kind of number a capsule holds; beside it lies the number of bits."""
    name = _name(capsule)
    return (ctypes.c_uint8 * 2).from_address(_pointer(capsule, name) + PLACES[name])


def give(array: Any, options: dict[str, Any]) -> Any:
    """The capsule of a raw array, ``array.__dlpack__(**options)``."""
    if array.dtype.kind != "V":
        return array.__dlpack__(**options)
    capsule = array.view(np.uint16).__dlpack__(**options)
    _code(capsule)[0] = BFLOAT
    return capsule


class _Giver:
    """What gives a capsule once, as NumPy's and CuPy's ``from_dlpack`` want it."""

    def __init__(self, capsule: Any, device: tuple[int, int]) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def take(xp: Any, source: Any) -> Any:
    """The raw array of ``xp`` on the memory of anything that speaks DLPack."""
    try:
        return xp.module.from_dlpack(source)
    except (BufferError, RuntimeError, TypeError, ValueError):
        try:
            capsule = source.__dlpack__(max_version=(1, 0))  # which can say that the memory may be written
        except TypeError:
            capsule = source.__dlpack__()
        code = _code(capsule)
        if (code[0], code[1]) != (BFLOAT, 16):
            raise
        code[0] = UNSIGNED
        bits = xp.module.from_dlpack(_Giver(capsule, source.__dlpack_device__()))
        return bits.view(dtypes.bfloat16.numpy)
