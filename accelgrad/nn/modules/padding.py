"""Padding layers: a border of zeros, of one value, of the mirrored, repeated or opposite elements."""

from __future__ import annotations

from collections.abc import Sequence

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """``padding``: one width for all sides, or (left, right, top, bottom, ...), the last dimension first."""

    mode = "constant"
    dims = 0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * 2 * self.dims if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, ...) or (c, ...); every padded dimension grows."""
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    """A border of one value around sequences."""

    dims = 1

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, ...) or (c, ...); every padded dimension grows."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """The widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """A border of one value around images."""

    dims = 2


class ConstantPad3d(ConstantPad1d):
    """A border of one value around volumes."""

    dims = 3


class ZeroPad1d(ConstantPad1d):
    """A border of zeros around sequences."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class ZeroPad2d(ZeroPad1d):
    """A border of zeros around images."""

    dims = 2


class ZeroPad3d(ZeroPad1d):
    """A border of zeros around volumes."""

    dims = 3


class ReflectionPad1d(_Pad):
    """A border that mirrors sequences at their ends."""

    mode, dims = "reflect", 1


class ReflectionPad2d(_Pad):
    """A border that mirrors images at their edges."""

    mode, dims = "reflect", 2


class ReflectionPad3d(_Pad):
    """A border that mirrors volumes at their sides."""

    mode, dims = "reflect", 3


class ReplicationPad1d(_Pad):
    """A border that repeats the ends of sequences."""

    mode, dims = "replicate", 1


class ReplicationPad2d(_Pad):
    """A border that repeats the edges of images."""

    mode, dims = "replicate", 2


class ReplicationPad3d(_Pad):
    """A border that repeats the sides of volumes."""

    mode, dims = "replicate", 3


class CircularPad1d(_Pad):
    """A border that goes round: each end shows the other one."""

    mode, dims = "circular", 1


class CircularPad2d(_Pad):
    """A border that goes round, for images."""

    mode, dims = "circular", 2


class CircularPad3d(_Pad):
    """A border that goes round, for volumes."""

    mode, dims = "circular", 3
