"""PixelShuffle and PixelUnshuffle: channels into pixels, and back."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """Groups of r² channels become squares of r by r pixels, with r = ``upscale_factor``.  Shi et al. 2016.

    (..., c r², h, w) gives (..., c, h r, w r), of any type.  RuntimeError unless r² divides the channels.

    >>> import accelgrad
    >>> PixelShuffle(2)(accelgrad.arange(4.0).reshape(4, 1, 1))
    tensor([[[0., 1.],
             [2., 3.]]])
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Squares of r by r pixels become r² channels, with r = ``downscale_factor``: undoes PixelShuffle.

    (..., c, h r, w r) gives (..., c r², h, w), of any type.  RuntimeError unless r divides both sides.

    >>> import accelgrad
    >>> PixelUnshuffle(2)(accelgrad.arange(4.0).reshape(1, 2, 2)).shape
    accelgrad.Size([4, 1, 1])
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
