"""The functional transforms that convert between PIL images, arrays, Tensors and dtypes, and normalize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.backend import CPU
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.transforms import color
from accelgrad.transforms.images import apply, is_pillow, pillow

__all__ = ["convert_image_dtype", "normalize", "pil_to_tensor", "to_pil_image", "to_tensor"]


def to_tensor(pic: Any) -> Tensor:
    """Convert a PIL image or a NumPy array (H, W) or (H, W, C) to a Tensor (C, H, W) on the CPU; a copy.

    uint8 is divided by 255, and becomes the default dtype, float32; other dtypes and their values are kept.
    PIL's mode "1" counts as bytes 0 and 255.

    Errors: TypeError for another type or a dtype that no tensor has; ValueError for another number of
    dimensions.

    >>> to_tensor(np.array([[0, 51], [102, 255]], dtype=np.uint8))
    tensor([[[0.0000, 0.2000],
             [0.4000, 1.0000]]])
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[:, :, None] if pic.ndim == 2 else pic
    elif is_pillow(pic):
        array = _pixels(pic)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    planes = array.transpose(2, 0, 1)  # (c, h, w)
    if planes.dtype == np.uint8:
        target = dtypes.get_default_dtype().numpy
        return wrap(np.divide(planes, 255, dtype=target, order="C"), CPU)
    dtypes.of(planes.dtype)  # a TypeError for what no tensor holds
    return wrap(np.array(planes, order="C"), CPU)


def pil_to_tensor(pic: Any) -> Tensor:
    """Convert a PIL image to a Tensor (C, H, W) of the same values: uint8 stays uint8.

    Errors: TypeError for anything but a PIL image.

    >>> from PIL import Image
    >>> pil_to_tensor(Image.new("L", (3, 1), 7))
    tensor([[[7, 7, 7]]], dtype=accelgrad.uint8)
    """
    if not is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return wrap(np.array(_pixels(pic).transpose(2, 0, 1), order="C"), CPU)  # (c, h, w)


def _pixels(pic: Any) -> np.ndarray:
    """Return the pixels of a PIL image, (H, W, bands), in a dtype that a tensor can have."""
    array = np.array(pic)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16:
        array = array.astype(np.int16)
    return array[:, :, None] if array.ndim == 2 else array


# (channels, dtype) -> the mode of the PIL image, and all modes that may be asked for.
_MODES = {
    (1, "uint8"): ("L", ("L",)),
    (1, "int16"): ("I;16", ("I;16",)),
    (1, "int32"): ("I", ("I",)),
    (1, "float32"): ("F", ("F",)),
    (2, "uint8"): ("LA", ("LA",)),
    (3, "uint8"): ("RGB", ("RGB", "YCbCr", "HSV")),
    (4, "uint8"): ("RGBA", ("RGBA", "CMYK", "RGBX")),
}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """Convert a Tensor (C, H, W) or (H, W), or a NumPy array (H, W, C) or (H, W), to a PIL image.

    A floating point tensor is multiplied by 255 and clipped to bytes 0 ... 255, unless ``mode`` is "F".
    Without ``mode``: 1 channel becomes L, I;16, I or F by its dtype, 2 become LA, 3 RGB, 4 RGBA.

    Errors: TypeError for another type or dtype, ValueError for other shapes and for a mode that does not fit.

    >>> to_pil_image(np.zeros((2, 5), np.uint8)).size
    (5, 2)
    """
    if isinstance(pic, Tensor):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic.xp.to_host(pic.array)
        array = array[:, :, None] if array.ndim == 2 else array.transpose(1, 2, 0)  # (h, w, c)
        if array.dtype.kind == "f" and mode != "F":
            array = np.clip(array * 255, 0, 255).astype(np.uint8)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[:, :, None] if pic.ndim == 2 else pic
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    height, width, channels = array.shape
    if channels > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {channels} channels.")
    default, permitted = _MODES.get((channels, array.dtype.name), (None, ()))
    if default is None:
        raise TypeError(f"Input type {array.dtype} is not supported for {channels} channels")
    if mode is not None and mode not in permitted:
        raise ValueError(
            f"Incorrect mode ({mode}) supplied for {channels} channels of {array.dtype}."
            f" Should be one of {', '.join(permitted)}"
        )
    return pillow().frombytes(mode or default, (width, height), np.ascontiguousarray(array).tobytes())


def convert_image_dtype(image: Any, dtype: DType = dtypes.float32) -> Any:
    """Convert an image to another dtype, so that black stays black and white stays white.

    White is the largest value of an integer dtype, and 1 for floating point.

    Errors: TypeError for a PIL image; RuntimeError for float32 to int32 or int64, and float64 to int64, since
    not every integer is a float there.

    >>> convert_image_dtype(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """
    if is_pillow(image):
        raise TypeError("Input img should be a Tensor or an array, got a PIL Image; apply ToTensor first")
    target = getattr(dtype, "numpy", dtype)
    return apply("convert_image_dtype", image, lambda x, xp: color.convert_dtype(x, xp, target))


def normalize(tensor: Any, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Any:
    """Compute ``(x - mean) / std`` for each channel of a floating point Tensor (..., C, H, W).

    ``mean`` and ``std`` are one number for each channel, or one for all.  ``inplace`` overwrites the tensor.
    The gradient of a tensor that requires grad is ``grad / std``.

    Errors: TypeError for another type or for integers; ValueError for too few dimensions, a std of 0, or
    another number of values.

    >>> normalize(to_tensor(np.full((1, 2), 255, np.uint8)), [0.5], [0.5])
    tensor([[[1., 1.]]])
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}; apply ToTensor first")
    if not tensor.dtype.is_floating_point:
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}; apply ToTensor first")
    if tensor.ndim < 3:
        raise ValueError(
            "Expected tensor to be a tensor image of size (..., C, H, W)."
            f" Got tensor.size() = {tuple(tensor.shape)}"
        )
    xp, kind = tensor.xp, tensor.array.dtype
    shift, scale = (np.asarray(value, dtype=kind) for value in (mean, std))
    if (scale == 0).any():
        raise ValueError(f"std evaluated to zero after conversion to {kind}, leading to division by zero.")
    channels = tensor.shape[-3]
    for name, value in (("mean", shift), ("std", scale)):
        if value.ndim > 1 or value.size not in (1, channels):
            raise ValueError(
                f"normalize: {name} has {value.size} values for a tensor of {channels} channels,"
                f" shape {tuple(tensor.shape)}"
            )
    shift, scale = (xp.from_host(value.reshape(-1, 1, 1)) for value in (shift, scale))  # (c or 1, 1, 1)
    if inplace:
        return tensor.sub_(wrap(shift, xp)).div_(wrap(scale, xp))
    if tensor.requires_grad:
        return (tensor - wrap(shift, xp)) / wrap(scale, xp)
    return wrap((tensor.array - shift) / scale, xp)
