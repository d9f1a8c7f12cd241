"""Settings of layers that are given as one number or as one number for each dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Extents", "repeated"]

Extents = int | Sequence[int]
"""One number for all dimensions, or one for each."""


def repeated(value: Any, count: int) -> tuple[Any, ...]:
    """A tuple with one entry for each of ``count`` dimensions, from a single value or from the entries.

    >>> repeated(3, 2), repeated([3, 5], 2)
    ((3, 3), (3, 5))
    """
    return tuple(value) if isinstance(value, Iterable) else (value,) * count
