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
    """Converts a PIL image or NumPy array (H, W) or (H, W, C) to a Tensor (C, H, W), bytes scaled to 0 ... 1.

    uint8 becomes the default dtype, float32; other dtypes are kept.  Errors as in
    :func:`~accelgrad.transforms.functional.to_tensor`.

    >>> import numpy as np
    >>> ToTensor()(np.array([[0, 255]], dtype=np.uint8))
    tensor([[[0., 1.]]])
    """

    def forward(self, img: Any) -> Tensor:
        return F.to_tensor(img)


class PILToTensor(Transform):
    """Converts a PIL image to a Tensor (C, H, W) of the same values: uint8 stays uint8.

    Errors: TypeError for anything but a PIL image.

    >>> from PIL import Image
    >>> PILToTensor()(Image.new("RGB", (4, 2))).shape
    accelgrad.Size([3, 2, 4])
    """

    def forward(self, img: Any) -> Tensor:
        return F.pil_to_tensor(img)


class ToPILImage(Transform):
    """Converts a Tensor (C, H, W) or a NumPy array (H, W, C) to a PIL image.

    ``mode`` and errors as in :func:`~accelgrad.transforms.functional.to_pil_image`.

    >>> import numpy as np
    >>> ToPILImage()(np.zeros((2, 4, 3), np.uint8)).mode
    'RGB'
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def forward(self, img: Any) -> Any:
        return F.to_pil_image(img, self.mode)

    def extra_repr(self) -> str:
        return "" if self.mode is None else f"mode={self.mode}"


class ConvertImageDtype(Transform):
    """Converts an image to another dtype, so that black stays black and white stays white.

    White is the largest value of an integer dtype, and 1 for floating point.  Errors as in
    :func:`~accelgrad.transforms.functional.convert_image_dtype`.

    >>> import numpy as np
    >>> ConvertImageDtype(dtypes.float32)(np.array([[0, 51, 255]], dtype=np.uint8))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    def __init__(self, dtype: DType = dtypes.float32) -> None:
        self.dtype = dtype

    def forward(self, img: Any) -> Any:
        return F.convert_image_dtype(img, self.dtype)

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}"


class Normalize(Transform):
    """Computes ``(x - mean) / std`` for each channel of a floating point Tensor (..., C, H, W).

    ``mean`` and ``std`` are one number for each channel, or one for all.  ``inplace`` overwrites the tensor.
    Errors as in :func:`~accelgrad.transforms.functional.normalize`.

    >>> import numpy as np
    >>> Normalize(0.5, 0.5)(ToTensor()(np.array([[0, 255]], dtype=np.uint8)))
    tensor([[[-1.,  1.]]])
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
    """Resizes an image to ``size`` = (height, width), or its smaller edge to one number.

    Options and errors as in :func:`~accelgrad.transforms.functional.resize`.

    >>> import numpy as np
    >>> Resize(2)(np.zeros((4, 6), np.uint8)).shape
    (2, 3)
    """

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
    """Crops the middle of an image, ``size`` = (height, width) or one number for both.

    A smaller image is padded with 0 first.  Errors: ValueError for more than two numbers.

    >>> import numpy as np
    >>> CenterCrop((1, 2))(np.arange(12).reshape(3, 4))
    array([[5, 6]])
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = two(size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Pad(Transform):
    """Adds a border to an image.

    Arguments and errors as in :func:`~accelgrad.transforms.functional.pad`.

    >>> import numpy as np
    >>> Pad((1, 0), fill=9)(np.array([[1, 2]]))
    array([[9, 1, 2, 9]])
    """

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
    """Computes the grey version of an image, in one channel or three equal ones.

    Formula and errors as in :func:`~accelgrad.transforms.functional.rgb_to_grayscale`.

    >>> import numpy as np
    >>> Grayscale()(np.array([[[255, 0, 0]]], dtype=np.uint8))
    array([[[76]]], dtype=uint8)
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def extra_repr(self) -> str:
        return f"num_output_channels={self.num_output_channels}"


def two(size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of one number or two; ValueError for more."""
    if isinstance(size, Sequence):
        if len(size) not in (1, 2):
            raise ValueError(f"Please provide only two dimensions (h, w) for size, got {size!r}")
        return int(size[0]), int(size[-1])
    return int(size), int(size)
