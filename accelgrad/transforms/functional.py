"""The transforms as functions without randomness, on Tensors, PIL images and arrays: ``F.resize(img, 32)``.

Each takes a Tensor (..., C, H, W), a ``PIL.Image`` or a NumPy array (H, W) or (H, W, C), and returns the
same kind. PIL images are handled by Pillow, as in torchvision; everything else by the formulas of
:mod:`accelgrad.transforms.geometry` and :mod:`accelgrad.transforms.color` on the device of the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.backend import CPU, Namespace
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.transforms import color, geometry, pil
from accelgrad.transforms.images import apply, dimensions, is_pillow, pillow
from accelgrad.transforms.interpolation import InterpolationMode, as_mode

__all__ = [
    # between kinds and dtypes
    "to_tensor",
    "pil_to_tensor",
    "to_pil_image",
    "convert_image_dtype",
    "normalize",
    # where pixels are
    "get_dimensions",
    "get_image_size",
    "hflip",
    "vflip",
    "crop",
    "center_crop",
    "resized_crop",
    "pad",
    "resize",
    "rotate",
    "affine",
    "erase",
    "gaussian_blur",
    # what colour they have
    "rgb_to_grayscale",
    "to_grayscale",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_saturation",
    "adjust_hue",
    "adjust_gamma",
    "InterpolationMode",
]

Fill = float | Sequence[float] | None

# --- between kinds, dtypes


def to_tensor(pic: Any) -> Tensor:
    """A PIL image or a NumPy array (H, W) or (H, W, C) as a Tensor (C, H, W); bytes become floats in 0 ... 1.

    uint8 is divided by 255 and has the default dtype, float32; other dtypes are kept as they are, unscaled.
    PIL's mode "1" counts as bytes 0 and 255.  A copy, on the CPU.

    Errors: TypeError for another type, ValueError for another number of dimensions.

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
    planes = array.transpose(2, 0, 1)
    if planes.dtype == np.uint8:
        target = dtypes.get_default_dtype().numpy
        return wrap(np.divide(planes, 255, dtype=target, order="C"), CPU)
    dtypes.of(planes.dtype)  # a TypeError for what no tensor holds
    return wrap(np.array(planes, order="C"), CPU)


def pil_to_tensor(pic: Any) -> Tensor:
    """A PIL image as a Tensor (C, H, W) of its own dtype, unscaled; TypeError for another type."""
    if not is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return wrap(np.array(_pixels(pic).transpose(2, 0, 1), order="C"), CPU)


def _pixels(pic: Any) -> np.ndarray:
    """The pixels of a PIL image, (H, W, bands), in a dtype that a tensor can have."""
    array = np.array(pic)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16:
        array = array.astype(np.int16)
    return array[:, :, None] if array.ndim == 2 else array


# What ToPILImage makes: (channels, dtype) -> mode, and the other modes that the bytes may be read as.
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
    """A Tensor (C, H, W) or (H, W), or a NumPy array (H, W, C) or (H, W), as a PIL image.

    A floating point tensor is multiplied by 255 and cut to bytes 0 ... 255, unless ``mode`` is "F".  Without
    ``mode``: 1 channel becomes L, I;16, I or F by its dtype, 2 become LA, 3 RGB, 4 RGBA.

    Errors: TypeError for another type or dtype, ValueError for other shapes and for a mode that does not fit.
    """
    if isinstance(pic, Tensor):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic.xp.to_host(pic.array)
        array = array[:, :, None] if array.ndim == 2 else array.transpose(1, 2, 0)
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
    """The image in another dtype, its values scaled between the dtypes' black and white.

    Errors: TypeError for a PIL image; RuntimeError where the integers of ``dtype`` are not all floats of
    the image's dtype.

    >>> convert_image_dtype(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """
    if is_pillow(image):
        raise TypeError("Input img should be a Tensor or an array, got a PIL Image; apply ToTensor first")
    target = getattr(dtype, "numpy", dtype)
    return apply("convert_image_dtype", image, lambda x, xp: color.convert_dtype(x, xp, target))


def normalize(tensor: Any, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Any:
    """``(x - mean) / std`` for each channel of a floating point Tensor (..., C, H, W).

    A tensor that requires grad is welcome here: the gradient is ``grad / std``.

    Errors: TypeError for another type or for integers; ValueError for too few dimensions or a std of 0.

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
    shift, scale = (xp.from_host(value.reshape(-1, 1, 1)) for value in (shift, scale))
    if inplace:
        return tensor.sub_(wrap(shift, xp)).div_(wrap(scale, xp))
    if tensor.requires_grad:
        return (tensor - wrap(shift, xp)) / wrap(scale, xp)
    return wrap((tensor.array - shift) / scale, xp)


# --- where pixels are


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]."""
    return list(dimensions(img))


def get_image_size(img: Any) -> list[int]:
    """[width, height], in this order."""
    _, height, width = dimensions(img)
    return [width, height]


def hflip(img: Any) -> Any:
    """Left and right exchanged.

    >>> hflip(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """
    return apply("hflip", img, lambda x, xp: geometry.flip(x, xp, -1), pil.hflip)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return apply("vflip", img, lambda x, xp: geometry.flip(x, xp, -2), pil.vflip)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The rectangle of ``height`` x ``width`` pixels whose upper left corner is (top, left); 0 outside.

    >>> crop(np.arange(9).reshape(3, 3), 1, 1, 2, 3)
    array([[4, 5, 0],
           [7, 8, 0]])
    """
    box = (top, left, height, width)
    return apply("crop", img, lambda x, xp: geometry.crop(x, xp, *box), lambda pic: pil.crop(pic, *box))


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle; an image that is smaller is padded with 0 first."""
    height, width = _pair("output_size", output_size)
    _, h, w = dimensions(img)
    if width > w or height > h:
        left, top = max((width - w) // 2, 0), max((height - h) // 2, 0)
        right, bottom = max((width - w + 1) // 2, 0), max((height - h + 1) // 2, 0)
        img = pad(img, [left, top, right, bottom])
        _, h, w = dimensions(img)
    # round() takes halves to the even side, as torchvision's does.
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """:func:`crop`, then :func:`resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def pad(img: Any, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> Any:
    """A border: one number for all sides, (left and right, top and bottom), or (left, top, right, bottom).

    ``padding_mode``: "constant" (``fill``: one number, or one a channel), "edge", "reflect" (mirrored
    without the border pixel), "symmetric" (with it).

    >>> pad(np.array([[1, 2, 3]]), (2, 0), padding_mode="reflect")
    array([[3, 2, 1, 2, 3, 2, 1]])
    """
    if not isinstance(padding, (int, tuple, list)):
        raise TypeError(f"Got inappropriate padding arg: {padding!r}")
    sides = _listed(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(sides)} element tuple"
        )
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(
            f"Padding mode should be either constant, edge, reflect or symmetric, got {padding_mode!r}"
        )
    left, top, right, bottom = (int(side) for side in (sides * (4 // len(sides))))
    amounts = (left, top, right, bottom)
    _, h, w = dimensions(img)
    if padding_mode == "reflect" and (max(left, right) >= w or max(top, bottom) >= h):
        raise RuntimeError(
            "Padding size should be less than the corresponding input dimension, but got padding (left, top,"
            f" right, bottom) = {amounts} for an image of {h} x {w}"
        )

    def on_array(x: Any, xp: Namespace) -> Any:
        return geometry.pad(x, xp, amounts, _fill(fill, x), padding_mode)

    return apply("pad", img, on_array, lambda pic: pil.pad(pic, amounts, fill, padding_mode))


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image with other numbers of pixels.

    ``size`` is (height, width), or one number for the smaller edge: the other keeps the proportion, and
    where it would exceed ``max_size`` both shrink.  ``antialias`` widens the filter when the image shrinks
    (PIL images always do); it matters for bilinear and bicubic only.

    >>> resize(np.array([[0.0, 0.0, 1.0, 1.0]]), (1, 2))
    array([[0.14285714, 0.85714286]])
    """
    mode = as_mode(interpolation)
    target = _resized(img, size, max_size)
    return apply(
        "resize",
        img,
        lambda x, xp: geometry.resize(x, xp, target, mode, bool(antialias)),
        lambda pic: pil.resize(pic, target, mode),
    )


def _resized(img: Any, size: int | Sequence[int], max_size: int | None) -> tuple[int, int]:
    """The (height, width) that resize makes."""
    sizes = _listed(size)
    if len(sizes) not in (1, 2):
        raise ValueError(
            f"Size must be an int or a 1 or 2 element tuple/list, not a {len(sizes)} element tuple/list"
        )
    if max_size is not None and len(sizes) != 1:
        raise ValueError("max_size should only be passed if size specifies the length of the smaller edge")
    if any(int(extent) < 1 for extent in sizes):
        raise ValueError(f"resize: sizes must be at least 1, got {size!r}")
    if len(sizes) == 2:
        return int(sizes[0]), int(sizes[1])
    _, h, w = dimensions(img)
    short, long = min(h, w), max(h, w)
    new_short, new_long = int(sizes[0]), int(sizes[0] * long / short)
    if max_size is not None:
        if max_size <= sizes[0]:
            raise ValueError(
                f"max_size = {max_size} must be strictly greater than the requested size for the smaller"
                f" edge size = {size}"
            )
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if h <= w else (new_long, new_short)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Fill = None,
) -> Any:
    """Turned by ``angle`` degrees counter-clockwise about ``center`` (x, y; default: the middle).

    With ``expand`` the image grows to hold all of itself; ``fill`` is the colour of the corners.

    >>> rotate(np.array([[1, 2], [3, 4]]), 90)
    array([[2, 4],
           [1, 3]])
    """
    if not isinstance(angle, (int, float)):
        raise TypeError(f"Argument angle should be int or float, got {angle!r}")
    if center is not None and len(center) != 2:
        raise TypeError(f"Argument center should be a sequence of two numbers, got {center!r}")
    mode = as_mode(interpolation)
    point = None if center is None else (float(center[0]), float(center[1]))

    def on_array(x: Any, xp: Namespace) -> Any:
        return geometry.rotate(x, xp, angle, mode, expand, point, _fill(fill, x))

    return apply("rotate", img, on_array, lambda pic: pil.rotate(pic, angle, mode, expand, point, fill))


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    fill: Fill = None,
    center: Sequence[float] | None = None,
) -> Any:
    """Shear, scale, turn by ``angle`` degrees *clockwise* about ``center``, and move by ``translate``.

    ``translate`` is in pixels.

    ``shear``: the angle along x, or along x and y, in degrees.  The image keeps its size.

    >>> affine(np.array([[1, 2, 3]]), 0, (1, 0), 1.0, 0)
    array([[0, 1, 2]])
    """
    if len(translate) != 2:
        raise ValueError(f"translate should be a list or tuple of length 2, got {translate!r}")
    if scale <= 0:
        raise ValueError(f"Argument scale should be positive, got {scale}")
    shears = [*_listed(shear), 0.0][:2]
    mode = as_mode(interpolation)
    _, h, w = dimensions(img)
    offset = (0.0, 0.0) if center is None else (center[0] - w / 2, center[1] - h / 2)
    matrix = geometry.affine_matrix(
        angle, offset, (translate[0], translate[1]), scale, (shears[0], shears[1])
    )

    def on_array(x: Any, xp: Namespace) -> Any:
        return geometry.warp(x, xp, matrix, (h, w), mode, _fill(fill, x))

    return apply("affine", img, on_array, lambda pic: pil.affine(pic, matrix, mode, fill))


def _fill(fill: Fill, x: Any) -> Fill:
    """``fill``, if the image ``x`` has as many channels as it has numbers."""
    if fill is None or isinstance(fill, (int, float)):
        return fill
    channels = x.shape[-3] if x.ndim > 2 else 1
    if len(fill) not in (1, channels):
        raise ValueError(
            "The number of elements in 'fill' cannot broadcast to match the number of channels of the image"
            f" ({len(fill)} != {channels})"
        )
    return fill


def erase(img: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Any:
    """A Tensor (..., C, H, W) with the ``h`` x ``w`` pixels from row ``i``, column ``j`` on set to ``v``.

    ``v``: a number, or a Tensor that broadcasts to (C, h, w).
    """
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    value = v.array if isinstance(v, Tensor) else v
    if inplace:
        img[..., i : i + h, j : j + w] = v
        return img

    def on_array(x: Any, xp: Namespace) -> Any:
        out = x.copy()
        out[..., i : i + h, j : j + w] = value
        return out

    return apply("erase", img, on_array)


def gaussian_blur(
    img: Any, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None
) -> Any:
    """Smoothed by a Gaussian of odd ``kernel_size`` (width, height) and ``sigma`` (x, y) in pixels.

    Without ``sigma``: ``0.15 k + 0.35``.  The border is mirrored.  PIL images go through an array.
    """
    kx, ky = _pair("kernel_size", kernel_size)
    if kx % 2 == 0 or ky % 2 == 0 or min(kx, ky) < 1:
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    if sigma is None:
        sx, sy = 0.15 * kx + 0.35, 0.15 * ky + 0.35
    else:
        widths = _listed(sigma)
        sx, sy = float(widths[0]), float(widths[-1])
    if min(sx, sy) <= 0:
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    return apply("gaussian_blur", img, lambda x, xp: geometry.blur(x, xp, (kx, ky), (sx, sy)))


# --- what colour they have


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Luma, ``0.2989 r + 0.587 g + 0.114 b``, in one channel or three equal ones.

    >>> rgb_to_grayscale(np.array([[[255, 0, 0]]], dtype=np.uint8))
    array([[[76]]], dtype=uint8)
    """
    return apply(
        "rgb_to_grayscale",
        img,
        lambda x, xp: color.grayscale(x, xp, num_output_channels),
        lambda pic: pil.grayscale(pic, num_output_channels),
    )


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """:func:`rgb_to_grayscale` for PIL images only, as in torchvision; TypeError for others."""
    if not is_pillow(img):
        raise TypeError("Input should be PIL Image; rgb_to_grayscale takes tensors and arrays")
    return pil.grayscale(img, num_output_channels)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0 gives black, 1 the image, 2 twice its brightness; ValueError below 0."""
    _at_least_zero("brightness_factor", brightness_factor)
    return apply(
        "adjust_brightness",
        img,
        lambda x, xp: color.brightness(x, xp, float(brightness_factor)),
        lambda pic: pil.brightness(pic, brightness_factor),
    )


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0 gives plain grey, 1 the image, 2 twice its contrast; ValueError below 0."""
    _at_least_zero("contrast_factor", contrast_factor)
    return apply(
        "adjust_contrast",
        img,
        lambda x, xp: color.contrast(x, xp, float(contrast_factor)),
        lambda pic: pil.contrast(pic, contrast_factor),
    )


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0 gives the grey version, 1 the image, 2 twice its saturation; ValueError below 0."""
    _at_least_zero("saturation_factor", saturation_factor)
    return apply(
        "adjust_saturation",
        img,
        lambda x, xp: color.saturation(x, xp, float(saturation_factor)),
        lambda pic: pil.saturation(pic, saturation_factor),
    )


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The hue turned by ``hue_factor`` of a full circle, in -0.5 ... 0.5; ValueError beyond."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return apply(
        "adjust_hue",
        img,
        lambda x, xp: color.adjust_hue(x, xp, float(hue_factor)),
        lambda pic: pil.hue(pic, hue_factor),
    )


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """``gain x^gamma`` on values in 0 ... 1: above 1 shadows get darker, below 1 lighter."""
    if gamma < 0:
        raise ValueError(f"Gamma should be a non-negative real number, got {gamma}")
    return apply(
        "adjust_gamma",
        img,
        lambda x, xp: color.gamma(x, xp, float(gamma), float(gain)),
        lambda pic: pil.gamma(pic, gamma, gain),
    )


def _at_least_zero(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")


def _listed(value: Any) -> list[Any]:
    """A list of the values, of one value or several."""
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Two ints of one or two."""
    values = _listed(value)
    if len(values) not in (1, 2) or not all(isinstance(item, (int, np.integer)) for item in values):
        raise ValueError(f"{name} should be an int or a sequence of two, got {value!r}")
    return int(values[0]), int(values[-1])
