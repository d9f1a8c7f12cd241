"""Upsample: larger or smaller images by interpolation."""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """A sequence, image or volume of another size by interpolation: to ``size``, or by ``scale_factor``.

    ``mode`` is "nearest", "linear" (sequences), "bilinear", "bicubic" (images) or "trilinear" (volumes).
    With ``align_corners`` the centres of the corner pixels meet, otherwise their outer edges.
    (n, c, l), (n, c, h, w) or (n, c, d, h, w) gives the same with other extents.  ValueError or
    NotImplementedError in forward for settings that do not fit.

    >>> import accelgrad
    >>> Upsample(size=4, mode="linear")(accelgrad.tensor([[[0.0, 1.0]]]))
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(one) for one in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        how = "size" if self.scale_factor is None else "scale_factor"
        return f"{how}={getattr(self, how)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """:class:`Upsample` of images (n, c, h, w) that repeats the nearest pixel.

    >>> import accelgrad
    >>> UpsamplingNearest2d(scale_factor=2)(accelgrad.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """:class:`Upsample` of images (n, c, h, w), bilinear, the centres of the corner pixels kept.

    >>> import accelgrad
    >>> UpsamplingBilinear2d(size=(1, 3))(accelgrad.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
