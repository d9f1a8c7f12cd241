"""Dimensions and sizes as callers write them, checked and made plain: shared by the operation families."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes

__all__ = ["Dims", "axes_of", "reducing", "sizes", "wrap_dim", "wrap_dims"]

Dims = int | Sequence[int] | None
"""What a reduction takes as ``dim``: one dimension, several, or None for all."""


def wrap_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; IndexError where there is no such dimension.

    A 0-d tensor has 0 and -1.
    """
    if 0 <= dim < ndim:
        return dim
    extent = ndim or 1
    if not -extent <= dim < extent:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-extent}, {extent - 1}], but got {dim})"
        )
    return dim % extent


def wrap_dims(dims: int | Iterable[int], ndim: int, name: str = "") -> tuple[int, ...]:
    """Several dimensions counted from the front; RuntimeError where one comes twice."""
    wrapped = (
        (wrap_dim(dims, ndim),) if isinstance(dims, int) else tuple([wrap_dim(dim, ndim) for dim in dims])
    )
    if len(set(wrapped)) != len(wrapped):
        twice = next(dim for dim in wrapped if wrapped.count(dim) > 1)
        raise RuntimeError(
            f"dim {twice} appears multiple times in the list of dims{f' of {name}' if name else ''}:"
            f" {wrapped}"
        )
    return wrapped


def axes_of(dim: Dims, input: Any) -> tuple[int, ...] | None:
    """The axes over which a reduction runs, None for all: ``dim=()`` means all, as None does."""
    if dim is None:
        return None
    axes = wrap_dims(dim if isinstance(dim, list | tuple) else operator.index(dim), input.array.ndim)  # type: ignore[arg-type]
    return axes if axes and input.array.ndim else None


def reducing(function: Any) -> Any:
    """NumPy's reduction with PyTorch's arguments: the reference that the tests compare with."""

    def reference(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        axis = tuple(dim) if isinstance(dim, list | tuple) else dim
        return function(x, axis=None if axis == () or x.ndim == 0 else axis, keepdims=keepdim, **options)

    return reference


def sizes(given: Sequence[Any]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same: the extents as a tuple of ints."""
    if len(given) == 1 and not isinstance(given[0], int) and hasattr(given[0], "__iter__"):
        try:
            given = tuple(given[0])
        except TypeError:  # a 0-d tensor, which has __iter__ but only one value
            pass
    for extent in given:
        if type(extent) is not int:
            return tuple([_extent(extent) for extent in given])
    return tuple(given)


def _extent(value: Any) -> int:
    """A whole number of any type; TypeError for others."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"argument 'size' must be tuple of ints, not {type(value).__name__} ({value!r})"
        ) from None


def element(value: Any, kind: dtypes.dtype) -> Any:
    """A Python number as ``kind`` holds it: fractions are cut off; RuntimeError where it is too large."""
    if isinstance(value, np.generic):
        value = value.item()
    if kind.category == 0:
        return bool(value)
    if kind.category == 1:
        if isinstance(value, int):
            whole = int(value)
        elif math.isfinite(value):
            whole = math.trunc(value)
        else:
            raise _overflow(value, kind)
        info = dtypes.iinfo(kind)
        if not (info.min if info.min else -info.max) <= whole <= info.max:
            raise _overflow(value, kind)
        return whole if info.min else whole % (info.max + 1)
    value = float(value)
    if kind is not dtypes.float64 and math.isfinite(value) and abs(value) > dtypes.finfo(kind).max:
        raise _overflow(value, kind)
    return value


def _overflow(value: Any, kind: dtypes.dtype) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {kind.name} without overflow: {value}")
