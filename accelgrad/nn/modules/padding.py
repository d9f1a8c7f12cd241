"""Padding layers: a border of zeros, of one value, of the mirrored, repeated or opposite elements."""

from __future__ import annotations

from collections.abc import Sequence

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import repeated

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """A border of the width ``padding``, or of (left, right, top, bottom, ...), the last dimension first."""

    _dims = 0
    _mode = "constant"

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = repeated(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        """The input with its border."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Pad):
    """A border of one value."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """The input with its border."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    """A border of zeros."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPadNd):
    """A border of ``value`` around sequences.

    ``padding`` is one width, or (left, right).  (n, c, l) or (c, l), of any type; l grows by the widths.
    A negative width cuts off.

    >>> import accelgrad
    >>> ConstantPad1d(1, 9.0)(accelgrad.tensor([[1.0, 2.0]]))
    tensor([[9., 1., 2., 9.]])
    """

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """A border of ``value`` around images.

    ``padding`` is one width for all sides, or (left, right, top, bottom).  (n, c, h, w) or (c, h, w), of
    any type; h and w grow by the widths.  A negative width cuts off.

    >>> import accelgrad
    >>> ConstantPad2d((1, 0, 0, 1), 9.0)(accelgrad.ones(1, 1, 2))
    tensor([[[9., 1., 1.],
             [9., 9., 9.]]])
    """

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """A border of ``value`` around volumes.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    (n, c, d, h, w) or (c, d, h, w), of any type; d, h and w grow by the widths.
    A negative width cuts off.

    >>> import accelgrad
    >>> ConstantPad3d(1, 9.0)(accelgrad.ones(1, 2, 3, 4)).shape
    accelgrad.Size([1, 4, 5, 6])
    """

    _dims = 3


class ZeroPad1d(_ZeroPadNd, ConstantPad1d):
    """A border of zeros around sequences.

    ``padding`` is one width, or (left, right).  (n, c, l) or (c, l), of any type; l grows by the widths.
    A negative width cuts off.

    >>> import accelgrad
    >>> ZeroPad1d(1)(accelgrad.tensor([[1.0, 2.0]]))
    tensor([[0., 1., 2., 0.]])
    """


class ZeroPad2d(_ZeroPadNd, ConstantPad2d):
    """A border of zeros around images.

    ``padding`` is one width for all sides, or (left, right, top, bottom).  (n, c, h, w) or (c, h, w), of
    any type; h and w grow by the widths.  A negative width cuts off.

    >>> import accelgrad
    >>> ZeroPad2d((1, 0, 0, 1))(accelgrad.ones(1, 1, 2))
    tensor([[[0., 1., 1.],
             [0., 0., 0.]]])
    """


class ZeroPad3d(_ZeroPadNd, ConstantPad3d):
    """A border of zeros around volumes.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    (n, c, d, h, w) or (c, d, h, w), of any type; d, h and w grow by the widths.
    A negative width cuts off.

    >>> import accelgrad
    >>> ZeroPad3d(1)(accelgrad.ones(1, 2, 3, 4)).shape
    accelgrad.Size([1, 4, 5, 6])
    """


class ReflectionPad1d(_Pad):
    """A border that mirrors sequences; the outermost elements are not repeated.

    ``padding`` is one width, or (left, right).  (n, c, l) or (c, l), of any type; l grows by the widths.
    RuntimeError unless every width is less than its extent.

    >>> import accelgrad
    >>> ReflectionPad1d(2)(accelgrad.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors images; the outermost elements are not repeated.

    ``padding`` is one width for all sides, or (left, right, top, bottom).  (n, c, h, w) or (c, h, w), of
    any type; h and w grow by the widths.  RuntimeError unless every width is less than its extent.

    >>> import accelgrad
    >>> ReflectionPad2d((1, 1, 0, 0))(accelgrad.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 1., 2., 1.],
             [4., 3., 4., 3.]]])
    """

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors volumes; the outermost elements are not repeated.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    (n, c, d, h, w) or (c, d, h, w), of any type; d, h and w grow by the widths.
    RuntimeError unless every width is less than its extent.

    >>> import accelgrad
    >>> ReflectionPad3d(1)(accelgrad.ones(1, 2, 3, 4)).shape
    accelgrad.Size([1, 4, 5, 6])
    """

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the outermost elements of sequences.

    ``padding`` is one width, or (left, right).  (n, c, l) or (c, l), of any type; l grows by the widths.
    RuntimeError where there is nothing to repeat.

    >>> import accelgrad
    >>> ReplicationPad1d(2)(accelgrad.tensor([[1.0, 2.0]]))
    tensor([[1., 1., 1., 2., 2., 2.]])
    """

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the outermost elements of images.

    ``padding`` is one width for all sides, or (left, right, top, bottom).  (n, c, h, w) or (c, h, w), of
    any type; h and w grow by the widths.  RuntimeError where there is nothing to repeat.

    >>> import accelgrad
    >>> ReplicationPad2d((1, 1, 0, 0))(accelgrad.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[1., 1., 2., 2.],
             [3., 3., 4., 4.]]])
    """

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the outermost elements of volumes.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    (n, c, d, h, w) or (c, d, h, w), of any type; d, h and w grow by the widths.
    RuntimeError where there is nothing to repeat.

    >>> import accelgrad
    >>> ReplicationPad3d(1)(accelgrad.ones(1, 2, 3, 4)).shape
    accelgrad.Size([1, 4, 5, 6])
    """

    _dims, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """A border with the elements of the opposite side of sequences.

    ``padding`` is one width, or (left, right).  (n, c, l) or (c, l), of any type; l grows by the widths.
    RuntimeError where a width exceeds its extent.

    >>> import accelgrad
    >>> CircularPad1d(1)(accelgrad.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    _dims, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """A border with the elements of the opposite side of images.

    ``padding`` is one width for all sides, or (left, right, top, bottom).  (n, c, h, w) or (c, h, w), of
    any type; h and w grow by the widths.  RuntimeError where a width exceeds its extent.

    >>> import accelgrad
    >>> CircularPad2d((1, 0, 0, 0))(accelgrad.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 1., 2.],
             [4., 3., 4.]]])
    """

    _dims, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """A border with the elements of the opposite side of volumes.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    (n, c, d, h, w) or (c, d, h, w), of any type; d, h and w grow by the widths.
    RuntimeError where a width exceeds its extent.

    >>> import accelgrad
    >>> CircularPad3d(1)(accelgrad.ones(1, 2, 3, 4)).shape
    accelgrad.Size([1, 4, 5, 6])
    """

    _dims, _mode = 3, "circular"
