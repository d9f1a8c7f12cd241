"""The transforms without randomness: conversion, normalisation, resizing, cropping, padding, grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor
from accelgrad.transforms import functional as F
from accelgrad.transforms.base import Transform
from accelgrad.transforms.functional import Fill
from accelgrad.transforms.interpolation import InterpolationMode, as_mode

__all__ = [
    "CenterCrop",
    "ConvertImageDtype",
    "Grayscale",
    "Normalize",
    "PILToTensor",
    "Pad",
    "Resize",
    "ToPILImage",
    "ToTensor",
]


class ToTensor(Transform):
    """A PIL image or NumPy array (H, W) or (H, W, C) as Tensor (C, H, W), bytes scaled to 0 ... 1.

    See :func:`~accelgrad.transforms.functional.to_tensor`.

    >>> import numpy as np
    >>> ToTensor()(np.array([[0, 255]], dtype=np.uint8))
    tensor([[[0., 1.]]])
    """

    def forward(self, img: Any) -> Tensor:
        return F.to_tensor(img)


class PILToTensor(Transform):
    """A PIL image as Tensor (C, H, W) of its own dtype, unscaled."""

    def forward(self, img: Any) -> Tensor:
        return F.pil_to_tensor(img)


class ToPILImage(Transform):
    """A Tensor (C, H, W) or NumPy array (H, W, C) as a PIL image; see :func:`functional.to_pil_image`."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def forward(self, img: Any) -> Any:
        return F.to_pil_image(img, self.mode)

    def extra_repr(self) -> str:
        return "" if self.mode is None else f"mode={self.mode}"


class ConvertImageDtype(Transform):
    """The image in another dtype, its values scaled between the dtypes' black and white."""

    def __init__(self, dtype: DType = dtypes.float32) -> None:
        self.dtype = dtype

    def forward(self, img: Any) -> Any:
        return F.convert_image_dtype(img, self.dtype)

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}"


class Normalize(Transform):
    """``(x - mean) / std`` for each channel of a floating point Tensor (..., C, H, W).

    >>> Normalize(0.5, 0.5)
    Normalize(mean=0.5, std=0.5)
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, img: Any) -> Any:
        return F.normalize(img, self.mean, self.std, self.inplace)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class Resize(Transform):
    """The image with other numbers of pixels; see :func:`~accelgrad.transforms.functional.resize`."""

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        if not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError(f"If size is a sequence, it should have 1 or 2 values, got {size!r}")
        self.size = size
        self.interpolation = as_mode(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def extra_repr(self) -> str:
        return (
            f"size={self.size}, interpolation={self.interpolation.value}, max_size={self.max_size},"
            f" antialias={self.antialias}"
        )


class CenterCrop(Transform):
    """The middle, ``size`` = (height, width) or one number for both; a smaller image is padded with 0."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = two(size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Pad(Transform):
    """A border around the image; see :func:`~accelgrad.transforms.functional.pad`."""

    def __init__(self, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> None:
        if not isinstance(padding, (int, tuple, list)):
            raise TypeError(f"Got inappropriate padding arg: {padding!r}")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError(
                f"Padding mode should be either constant, edge, reflect or symmetric, got {padding_mode!r}"
            )
        if not isinstance(padding, int) and len(padding) not in (1, 2, 4):
            raise ValueError(
                f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple"
            )
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode}"


class Grayscale(Transform):
    """Luma in one channel, or three equal ones."""

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def extra_repr(self) -> str:
        return f"num_output_channels={self.num_output_channels}"


def two(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of one number or two; ValueError for more."""
    if isinstance(size, Sequence):
        if len(size) not in (1, 2):
            raise ValueError(f"Please provide only two dimensions (h, w) for size, got {size!r}")
        return int(size[0]), int(size[-1])
    return int(size), int(size)
