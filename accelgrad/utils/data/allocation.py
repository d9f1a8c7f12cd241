"""The memory of a batch's arrays: ordinary memory, or shared memory in a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["empty_batch", "use_allocator"]

_allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] | None = None


def empty_batch(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array for a part of a batch; made for a ``collate_fn`` of your own.

    The array has the given ``shape`` and ``dtype`` (a NumPy dtype or its name).  In a worker process it lies
    in shared memory, so a batch that was collated into it needs no further copy; elsewhere this is
    ``numpy.empty``, with its errors.  :func:`default_collate` takes its memory from here too.

    >>> empty_batch((4, 3), np.float32).shape
    (4, 3)
    """
    if _allocate is None:
        return np.empty(shape, dtype)
    return _allocate(shape, np.dtype(dtype))


def batch_copy(array: np.ndarray) -> np.ndarray:
    """Return a copy of ``array`` in memory of :func:`empty_batch`."""
    if _allocate is None:
        return array.copy()
    out = _allocate(array.shape, array.dtype)
    out[...] = array
    return out


def use_allocator(allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] | None) -> None:
    """Let :func:`empty_batch` call ``allocate(shape, dtype)`` in this process; None: plain memory again."""
    global _allocate
    _allocate = allocate
