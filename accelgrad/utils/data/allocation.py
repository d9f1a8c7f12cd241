"""Where a batch's arrays come from: ordinary memory, or, in a worker, the shared memory that the parent will
read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["empty_batch", "use_allocator"]

_allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] | None = None


def empty_batch(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array for a part of a batch, as :func:`default_collate` uses it; for your own
    ``collate_fn``.

    In a worker process the array lies in shared memory, so that filling it *is* sending it; elsewhere this is
    ``numpy.empty``.

    >>> empty_batch((4, 3), np.float32).shape
    (4, 3)
    """
    if _allocate is None:
        return np.empty(shape, dtype)
    return _allocate(shape, np.dtype(dtype))


def batch_copy(array: np.ndarray) -> np.ndarray:
    """A copy of ``array`` where :func:`empty_batch` would put it."""
    if _allocate is None:
        return array.copy()
    out = _allocate(array.shape, array.dtype)
    out[...] = array
    return out


def use_allocator(allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] | None) -> None:
    """Let :func:`empty_batch` of this process ask ``allocate`` (a worker's arena does this); None: plain
    memory."""
    global _allocate
    _allocate = allocate
