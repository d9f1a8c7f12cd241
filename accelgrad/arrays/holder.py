"""ArrayHolder: what a Tensor is to those who only know arrays."""

from __future__ import annotations

from typing import Any

__all__ = ["ArrayHolder"]


class ArrayHolder:
    """An object around a raw array: ``array``, and ``xp``, the array module that it belongs to."""

    __slots__ = ("array", "xp")

    array: Any
    xp: Any
