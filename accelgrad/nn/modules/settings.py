"""Settings of layers: given as one number or one for each dimension, shown where they are not the default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Extents", "changed", "repeated"]

Extents = int | Sequence[int]
"""One number for all dimensions, or one for each."""


def repeated(value: Any, count: int) -> tuple[Any, ...]:
    """A tuple with one entry for each of ``count`` dimensions, from a single value or from the entries.

    >>> repeated(3, 2), repeated([3, 5], 2)
    ((3, 3), (3, 5))
    """
    return tuple(value) if isinstance(value, Iterable) else (value,) * count


def changed(module: Any, **defaults: Any) -> str:
    """The named settings of a module that differ from their defaults, as its printed line shows them.

    >>> from types import SimpleNamespace
    >>> changed(SimpleNamespace(bias=False, dropout=0.0), bias=True, dropout=0.0)
    ', bias=False'
    """
    values = {name: getattr(module, name) for name in defaults}
    return "".join(f", {name}={value}" for name, value in values.items() if value != defaults[name])
