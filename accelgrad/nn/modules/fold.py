"""Unfold and Fold: the windows of an image as columns, and back."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import Extents

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """The windows of an image as columns; a convolution is a matrix product with them.

    Windows of kernel_size (kh, kw) lie ``stride`` apart; ``padding`` zeros surround the image, ``dilation``
    leaves gaps in the windows.  (n, c, h, w) or (c, h, w) gives (n, c kh kw, windows) or
    (c kh kw, windows), of any type.  RuntimeError where no window fits.

    >>> import accelgrad
    >>> Unfold(2)(accelgrad.arange(6.0).reshape(1, 1, 2, 3))
    tensor([[[0., 1.],
             [1., 2.],
             [3., 4.],
             [4., 5.]]])
    """

    def __init__(
        self, kernel_size: Extents, dilation: Extents = 1, padding: Extents = 0, stride: Extents = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding},"
            f" stride={self.stride}"
        )


class Fold(Module):
    """The columns of :class:`Unfold` added back into an image of ``output_size``; what overlaps is summed.

    (n, c kh kw, windows) or (c kh kw, windows) gives (n, c, *output_size) or (c, *output_size), of any type.
    RuntimeError where the number of windows does not fit output_size.

    >>> import accelgrad
    >>> Fold((2, 3), 2)(accelgrad.ones(1, 4, 2))
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """

    def __init__(
        self,
        output_size: Extents,
        kernel_size: Extents,
        dilation: Extents = 1,
        padding: Extents = 0,
        stride: Extents = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation},"
            f" padding={self.padding}, stride={self.stride}"
        )
