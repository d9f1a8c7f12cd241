"""The transforms as functions without randomness, on Tensors, PIL images and arrays: ``F.resize(img, 32)``.

Each takes a Tensor (..., C, H, W), a ``PIL.Image`` or a NumPy array (H, W) or (H, W, C), and returns an image
of the same kind and dtype, but for the conversions (conversion.py).  Pillow handles PIL images, as in
torchvision; the formulas of geometry.py and color.py handle tensors, on their device, and arrays.  Anything
else is a TypeError; a tensor that requires grad is a RuntimeError, since transforms record no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays.backend import Namespace
from accelgrad.core.tensor import Tensor
from accelgrad.transforms import color, geometry, pil
from accelgrad.transforms.conversion import (
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    to_pil_image,
    to_tensor,
)
from accelgrad.transforms.geometry import Fill
from accelgrad.transforms.images import apply, dimensions, is_pillow
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

# --- where pixels are


def get_dimensions(img: Any) -> list[int]:
    """Return [channels, height, width] of an image.

    >>> get_dimensions(np.zeros((2, 5, 3), np.uint8))
    [3, 2, 5]
    """
    return list(dimensions(img))


def get_image_size(img: Any) -> list[int]:
    """Return [width, height] of an image, in this order.

    >>> get_image_size(np.zeros((2, 5, 3), np.uint8))
    [5, 2]
    """
    _, height, width = dimensions(img)
    return [width, height]


def hflip(img: Any) -> Any:
    """Exchange left and right.

    >>> hflip(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """
    return apply("hflip", img, lambda x, xp: geometry.flip(x, xp, -1), pil.hflip)


def vflip(img: Any) -> Any:
    """Exchange top and bottom.

    >>> vflip(np.array([[1], [2]]))
    array([[2],
           [1]])
    """
    return apply("vflip", img, lambda x, xp: geometry.flip(x, xp, -2), pil.vflip)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """Crop the rectangle of ``height`` x ``width`` pixels whose upper left corner is (top, left).

    Where it leaves the image the result is 0.

    >>> crop(np.arange(9).reshape(3, 3), 1, 1, 2, 3)
    array([[4, 5, 0],
           [7, 8, 0]])
    """
    box = (top, left, height, width)
    return apply("crop", img, lambda x, xp: geometry.crop(x, xp, *box), lambda pic: pil.crop(pic, *box))


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """Crop the middle, ``output_size`` = (height, width) or one number for both.

    A smaller image is padded with 0 first.

    Errors: ValueError for a size that is none.

    >>> center_crop(np.arange(12).reshape(3, 4), (1, 2))
    array([[5, 6]])
    """
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
    """Crop a rectangle as :func:`crop` does, then resize it to ``size`` as :func:`resize` does.

    >>> resized_crop(np.arange(12).reshape(3, 4), 1, 2, 2, 2, 1)
    array([[8]])
    """
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def pad(img: Any, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> Any:
    """Add a border of ``padding`` pixels.

    ``padding``: one number for all sides, (left and right, top and bottom), or (left, top, right, bottom).
    ``padding_mode``: "constant" (``fill``: one number, or one for each channel), "edge" (repeat the border
    pixel), "reflect" (mirror without the border pixel), "symmetric" (mirror with it).

    Errors: TypeError or ValueError for a padding, a mode or a fill that is none; RuntimeError for a
    reflection that is wider than the image.

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
    """Resize the image to ``size`` = (height, width), or its smaller edge to one number.

    With one number the other edge keeps the proportion; where it would exceed ``max_size`` both are made
    smaller.  ``antialias`` widens the filter when the image shrinks (for PIL images this is always so); it
    matters for bilinear and bicubic interpolation only.

    Errors: ValueError for a size that is none, or does not go with ``max_size``; TypeError for an unknown
    ``interpolation``.

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
    """Return the (height, width) that :func:`resize` makes."""
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
    """Rotate the image by ``angle`` degrees counter-clockwise about ``center`` (x, y; None: the middle).

    With ``expand`` the result is large enough for the whole image, otherwise it has the image's size.
    ``fill`` is the colour outside the image: one number, or one for each channel.

    Errors: TypeError for an angle or a center that is none; ValueError for a wrong fill, and for an
    ``interpolation`` other than nearest and bilinear, unless it is a PIL image.

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
    """Shear, scale, rotate (*clockwise*, by ``angle`` degrees) and move the image; its size stays.

    ``translate``: the shift (x, y) in pixels.  ``shear``: the angle along x, or along x and y, in degrees.
    ``center``: the point (x, y) that only the shift moves; None is the middle.  ``fill`` is the colour
    outside the image.

    Errors: ValueError for a translation, a scale or a fill that is none, and for an interpolation as in
    :func:`rotate`.

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
    """Return ``fill``; ValueError unless it is one number, or one for each channel of the image ``x``."""
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
    """Set the ``h`` x ``w`` pixels of a Tensor (..., C, H, W) from row ``i``, column ``j`` on to ``v``.

    ``v`` is a number, or a Tensor that broadcasts to (C, h, w).  ``inplace`` changes the tensor itself.

    Errors: TypeError for anything but a Tensor.

    >>> erase(to_tensor(np.full((2, 3), 255, np.uint8)), 0, 1, 1, 2, 0)
    tensor([[[1., 0., 0.],
             [1., 1., 1.]]])
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
    """Blur the image with a Gaussian of odd ``kernel_size`` (width, height) and ``sigma`` (x, y) in pixels.

    One number stands for both.  Without ``sigma`` it is ``0.15 k + 0.35`` for a size k.  Outside the border
    the image is mirrored.

    Errors: ValueError for an even size, or a sigma that is not positive; RuntimeError for a kernel that is
    wider than the image allows.

    >>> gaussian_blur(np.array([[0, 0, 255, 0, 0]] * 3, dtype=np.uint8), 3, 1.0)[1]
    array([  0,  70, 115,  70,   0], dtype=uint8)
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
    """Compute the grey version ``0.2989 r + 0.587 g + 0.114 b``, in one channel or three equal ones.

    An image of one channel is taken as grey already.

    Errors: ValueError for another ``num_output_channels``; TypeError for other numbers of channels or
    dimensions.

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
    """Compute the grey version of a PIL image, as :func:`rgb_to_grayscale` does for images of any kind.

    Errors: TypeError for anything but a PIL image; ValueError for another ``num_output_channels`` than 1 or
    3.

    >>> from PIL import Image
    >>> to_grayscale(Image.new("RGB", (1, 1), (255, 0, 0))).getpixel((0, 0))
    76
    """
    if not is_pillow(img):
        raise TypeError("Input should be PIL Image; rgb_to_grayscale takes tensors and arrays")
    return pil.grayscale(img, num_output_channels)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Multiply the brightness: factor 0 gives black, 1 the image, 2 twice its brightness.

    Errors: ValueError for a factor below 0; TypeError unless there are 1 or 3 channels.

    >>> adjust_brightness(np.array([[10, 200]], dtype=np.uint8), 2)
    array([[ 20, 255]], dtype=uint8)
    """
    _at_least_zero("brightness_factor", brightness_factor)
    return apply(
        "adjust_brightness",
        img,
        lambda x, xp: color.brightness(x, xp, float(brightness_factor)),
        lambda pic: pil.brightness(pic, brightness_factor),
    )


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Multiply the contrast: factor 0 gives one grey, the image's mean; 1 the image; 2 twice its contrast.

    Errors: ValueError for a factor below 0; TypeError unless there are 1 or 3 channels.

    >>> adjust_contrast(np.array([[10, 30]], dtype=np.uint8), 2)
    array([[ 0, 40]], dtype=uint8)
    """
    _at_least_zero("contrast_factor", contrast_factor)
    return apply(
        "adjust_contrast",
        img,
        lambda x, xp: color.contrast(x, xp, float(contrast_factor)),
        lambda pic: pil.contrast(pic, contrast_factor),
    )


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Multiply the saturation: factor 0 gives the grey version, 1 the image, 2 twice its saturation.

    Errors: ValueError for a factor below 0; TypeError unless there are 1 or 3 channels.

    >>> adjust_saturation(np.array([[[255, 0, 0]]], dtype=np.uint8), 0)
    array([[[76, 76, 76]]], dtype=uint8)
    """
    _at_least_zero("saturation_factor", saturation_factor)
    return apply(
        "adjust_saturation",
        img,
        lambda x, xp: color.saturation(x, xp, float(saturation_factor)),
        lambda pic: pil.saturation(pic, saturation_factor),
    )


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turn the hue by ``hue_factor`` of the full colour circle; grey images stay as they are.

    Errors: ValueError for a factor outside -0.5 ... 0.5; TypeError unless there are 1 or 3 channels.

    >>> adjust_hue(np.array([[[255, 0, 0]]], dtype=np.uint8), 0.5)
    array([[[  0, 255, 255]]], dtype=uint8)
    """
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return apply(
        "adjust_hue",
        img,
        lambda x, xp: color.adjust_hue(x, xp, float(hue_factor)),
        lambda pic: pil.hue(pic, hue_factor),
    )


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """Compute ``gain x^gamma`` on values in 0 ... 1: a gamma above 1 makes shadows darker, below 1 lighter.

    Errors: ValueError for a gamma below 0; TypeError unless there are 1 or 3 channels.

    >>> adjust_gamma(np.array([[0.0, 0.5, 1.0]]), 2)
    array([[0.  , 0.25, 1.  ]])
    """
    if gamma < 0:
        raise ValueError(f"Gamma should be a non-negative real number, got {gamma}")
    return apply(
        "adjust_gamma",
        img,
        lambda x, xp: color.gamma(x, xp, float(gamma), float(gain)),
        lambda pic: pil.gamma(pic, gamma, gain),
    )


def _at_least_zero(name: str, value: float) -> None:
    """Raise a ValueError for a negative factor."""
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")


def _listed(value: Any) -> list[Any]:
    """Return a list of one value or several."""
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Return two ints for one or two; ValueError for anything else."""
    values = _listed(value)
    if len(values) not in (1, 2) or not all(isinstance(item, (int, np.integer)) for item in values):
        raise ValueError(f"{name} should be an int or a sequence of two, got {value!r}")
    return int(values[0]), int(values[-1])
