"""Dimensions and sizes as callers write them, checked and brought into one form."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes

__all__ = ["Dims", "axes_of", "reducing", "sizes", "wrap_dim", "wrap_dims"]

Dims = int | Sequence[int] | None
"""The forms of ``dim`` that a reduction takes: one dimension, several, or None for all."""


def wrap_dim(dim: int, ndim: int) -> int:
    """Return ``dim`` counted from the front; IndexError if there is no such dimension.

    A 0-d tensor has the dimensions 0 and -1.
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
    """Return several dimensions counted from the front, as a tuple; RuntimeError if one comes twice."""
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
    """Return the axes over which a reduction runs, or None for all; ``dim=()`` means all, as None does."""
    if dim is None:
        return None
    axes = wrap_dims(dim if isinstance(dim, list | tuple) else operator.index(dim), input.array.ndim)  # type: ignore[arg-type]
    return axes if axes and input.array.ndim else None


def reducing(function: Any) -> Any:
    """Give a reduction of NumPy the arguments of PyTorch, so that tests can compare with it."""

    def reference(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        axis = tuple(dim) if isinstance(dim, list | tuple) else dim
        return function(x, axis=None if axis == () or x.ndim == 0 else axis, keepdims=keepdim, **options)

    return reference


def sizes(given: Sequence[Any]) -> tuple[int, ...]:
    """Return the extents given as ``f(2, 3)`` or as ``f((2, 3))`` in one form: a tuple of ints."""
    if len(given) == 1 and not isinstance(given[0], int) and hasattr(given[0], "__iter__"):
        try:
            given = tuple(given[0])
        except TypeError:
            # A 0-d tensor has __iter__, but only one value.
            pass
    for extent in given:
        if type(extent) is not int:
            return tuple([_extent(extent) for extent in given])
    return tuple(given)


def _extent(value: Any) -> int:
    """Return a whole number of any type as an int; TypeError for other values."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"argument 'size' must be tuple of ints, not {type(value).__name__} ({value!r})"
        ) from None


def element(value: Any, kind: dtypes.dtype) -> Any:
    """Return a Python number as dtype ``kind`` holds it; RuntimeError if it is too large.

    Integer dtypes cut fractions off, and uint8 takes negative numbers modulo 256, as in PyTorch.
    """
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
    """Return the error for a number that is too large for a dtype."""
    return RuntimeError(f"value cannot be converted to type {kind.name} without overflow: {value}")
