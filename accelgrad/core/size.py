"""Size: the shape of a tensor as PyTorch shows it."""

from __future__ import annotations

from typing import Any

__all__ = ["Size"]


class Size(tuple):
    """The shape of a tensor: a tuple that prints as PyTorch's and knows its number of elements.

    >>> Size((2, 3)), Size((2, 3)).numel()
    (accelgrad.Size([2, 3]), 6)
    """

    def numel(self) -> int:
        """The product of the extents."""
        total = 1
        for extent in self:
            total *= extent
        return total

    def __repr__(self) -> str:
        return f"accelgrad.Size({list(self)})"

    def __add__(self, other: Any) -> Size:
        return Size(tuple(self) + tuple(other))

    def __getitem__(self, index: Any) -> Any:
        part = tuple.__getitem__(self, index)
        return Size(part) if isinstance(index, slice) else part
