"""Data into a raw array: numbers, nested lists, arrays and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.holder import ArrayHolder

if TYPE_CHECKING:
    from accelgrad.arrays.backend import Namespace

__all__ = ["ArrayHolder", "as_array"]


def as_array(data: Any, dtype: Any, xp: Namespace) -> Any:
    """Make a new raw array of ``xp`` from numbers, nested sequences, arrays or tensors; always a copy.

    ``dtype`` is a NumPy dtype; None takes the data's own: bool or int64, the default floating point type for
    Python floats, or the dtype of an array.  RuntimeError or TypeError for what is no number, ValueError for
    sequences of unequal length.

    >>> as_array([[1, 2], [3, 4]], None, backend.CPU).dtype
    dtype('int64')
    """
    # A tensor or a raw array.
    if isinstance(data, ArrayHolder):
        array = data.array if data.xp is xp else xp.from_host(data.xp.to_host(data.array))
        return array.astype(dtype or array.dtype)
    if backend.is_array(data):
        own = dtypes.of(data.dtype).numpy
        if isinstance(data, np.ndarray):
            return xp.from_host(np.array(data, dtype=dtype or own))
        return xp.module.array(data, dtype=dtype or own)
    # Numbers and nested sequences.
    array = np.asarray(_plain(data))
    if array.dtype.kind == "O":
        odd = next((one for one in array.flat if not isinstance(one, int | float)), None)
        raise RuntimeError(f"Could not infer dtype of {type(odd).__name__}; a tensor holds numbers")
    if dtype is None:
        if array.dtype.kind == "f" and not isinstance(data, np.generic):
            dtype = dtypes.get_default_dtype().numpy
        else:
            dtype = dtypes.of(array.dtype).numpy
    elif array.dtype.kind in "OUSV":
        # A TypeError for all of these but bfloat16.
        dtypes.of(array.dtype)
    return xp.from_host(array.astype(dtype))


def _plain(data: Any, depth: int = 0) -> Any:
    """Turn nested sequences with tensors inside into data that NumPy understands; errors name what is wrong.

    ``depth`` is the dimension of the sequence, counted from the outermost.
    """
    if isinstance(data, ArrayHolder):
        return data.xp.to_host(data.array)
    if isinstance(data, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'; a tensor holds numbers")
    if data is None:
        raise RuntimeError("Could not infer dtype of NoneType")
    if isinstance(data, Sequence) and not isinstance(data, range):
        if data and isinstance(data[0], str | bytes):
            raise ValueError(f"too many dimensions '{type(data[0]).__name__}'; a tensor holds numbers")
        parts = [_plain(part, depth + 1) for part in data]
        lengths = [np.shape(part) for part in parts]
        for place, length in enumerate(lengths):
            if length != lengths[0]:
                raise ValueError(
                    f"expected sequence of length {lengths[0][0] if lengths[0] else 0} at dim {depth + 1}"
                    f" (got {length[0] if length else 0}): element 0 has shape {lengths[0]},"
                    f" element {place} has {length}; pad them to one length first"
                    " (nn.utils.rnn.pad_sequence)"
                )
        return np.asarray(parts) if parts and not lengths[0] else (np.stack(parts) if parts else parts)
    return data
