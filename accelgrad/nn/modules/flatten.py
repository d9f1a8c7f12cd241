"""Flatten and Unflatten: several dimensions as one, and one as several."""

from __future__ import annotations

from collections.abc import Sequence

from accelgrad.core.tensor import Tensor
from accelgrad.nn.modules.module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """The dimensions from ``start_dim`` to ``end_dim`` as one; by default all but the batch.

    (n, a, b, ...) gives (n, a b ...), of any type; a view where the memory allows it.  IndexError where there
    is no such dimension, RuntimeError where start_dim comes after end_dim.

    >>> import accelgrad
    >>> Flatten()(accelgrad.zeros(2, 3, 4)).shape
    accelgrad.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The dimension ``dim`` as several, with the extents ``unflattened_size``.

    (..., a b ..., ...) gives (..., a, b, ..., ...), of any type; one extent may be -1.  TypeError unless the
    extents are whole numbers, RuntimeError where their product is another.

    >>> import accelgrad
    >>> Unflatten(1, (3, 4))(accelgrad.zeros(2, 12)).shape
    accelgrad.Size([2, 3, 4])
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        sizes = unflattened_size
        if not isinstance(sizes, Sequence) or not all(isinstance(n, int) for n in sizes):
            raise TypeError(f"unflattened_size must be a tuple of ints, but found {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
