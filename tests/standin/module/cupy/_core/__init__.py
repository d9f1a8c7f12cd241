"""The part of ``cupy._core`` that decides in which type products are computed."""

from typing import Any

import numpy as np

from cupy._core import _routines_linalg

_types: dict[Any, int] = {}


def get_compute_type(dtype: Any) -> int:
    """The type for products of arrays of ``dtype``."""
    return _types.get(np.dtype(dtype).char, _routines_linalg.COMPUTE_TYPE_DEFAULT)


def set_compute_type(dtype: Any, compute_type: int) -> None:
    """Compute products of arrays of ``dtype`` in this type from here on."""
    _types[np.dtype(dtype).char] = compute_type
