"""ArrayHolder: the base of Tensor that code below the Tensor knows."""

from __future__ import annotations

from typing import Any

__all__ = ["ArrayHolder"]


class ArrayHolder:
    """An object with a raw array in ``array``, and the array module that it belongs to in ``xp``."""

    __slots__ = ("array", "xp")

    array: Any
    xp: Any
