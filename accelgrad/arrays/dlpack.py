"""Arrays shared with other libraries by DLPack, bfloat16 included.

DLPack passes memory on in a capsule that says the shape and the element type.  NumPy and CuPy cannot do that
for bfloat16, a type that another package has made.  So such an array leaves as 16-bit integers on the same
memory, and the type in the capsule is then changed to bfloat16; in a capsule that comes in, it is changed to
integers first.  Layout of the structures: dlpack.h, versions 0 and 1.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes

__all__ = ["give", "take"]

# In dlpack.h they are kDLBfloat and kDLUInt.
BFLOAT, UNSIGNED = 4, 1

PLACES = {b"dltensor": 20, b"dltensor_versioned": 52}
"""A capsule's name -> the byte of its structure at which the element type begins: code, bits, lanes."""


def give(array: Any, options: dict[str, Any]) -> Any:
    """Make the capsule of a raw array: ``array.__dlpack__(**options)``, for bfloat16 too."""
    if array.dtype.kind != "V":
        return array.__dlpack__(**options)
    capsule = array.view(np.uint16).__dlpack__(**options)
    _code(capsule)[0] = BFLOAT
    return capsule


def take(xp: Any, source: Any) -> Any:
    """Make a raw array of ``xp`` on the memory of any object with ``__dlpack__``, without a copy.

    Errors are those of NumPy or CuPy, for types and devices that they cannot take.
    """
    # NumPy and CuPy take every other type themselves.
    try:
        return xp.module.from_dlpack(source)
    except (BufferError, RuntimeError, TypeError, ValueError):
        # From version 1 on a capsule can say that the memory may be written to.
        try:
            capsule = source.__dlpack__(max_version=(1, 0))
        except TypeError:
            capsule = source.__dlpack__()
        code = _code(capsule)
        if (code[0], code[1]) != (BFLOAT, 16):
            raise
        code[0] = UNSIGNED
        bits = xp.module.from_dlpack(_Giver(capsule, source.__dlpack_device__()))
        return bits.view(dtypes.bfloat16.numpy)


class _Giver:
    """An object that gives one capsule away, in the form that NumPy's and CuPy's ``from_dlpack`` want."""

    def __init__(self, capsule: Any, device: tuple[int, int]) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]


def _code(capsule: Any) -> Any:
    """Return the two bytes of a capsule that say the kind of its numbers and how many bits each has."""
    name = _name(capsule)
    return (ctypes.c_uint8 * 2).from_address(_pointer(capsule, name) + PLACES[name])
