"""The functional transforms of a ``PIL.Image``: Pillow's operations, called as torchvision calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays.backend import CPU
from accelgrad.transforms import geometry
from accelgrad.transforms.images import pillow, to_pillow_array
from accelgrad.transforms.interpolation import InterpolationMode

__all__ = [
    "affine",
    "brightness",
    "contrast",
    "crop",
    "gamma",
    "grayscale",
    "hflip",
    "hue",
    "pad",
    "resize",
    "rotate",
    "saturation",
    "vflip",
]


def resampling(mode: InterpolationMode) -> Any:
    """Return Pillow's constant for the mode; its NEAREST, which is nearest-exact, for both nearest modes."""
    name = "NEAREST" if mode is InterpolationMode.NEAREST_EXACT else mode.name
    return getattr(pillow().Resampling, name)


def colour(fill: Any, img: Any) -> Any:
    """Return ``fill`` as Pillow takes it for this image: one number for each band; None is black."""
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)):
        fill = (fill,) * bands
    fill = tuple(fill)
    if len(fill) == 1:
        fill = fill * bands
    if len(fill) != bands:
        raise ValueError(
            "The number of elements in 'fill' does not match the number of channels of the image"
            f" ({len(fill)} != {bands})"
        )
    if img.mode != "F":
        fill = tuple(int(value) for value in fill)
    return fill[0] if bands == 1 else fill


def hflip(img: Any) -> Any:
    """Exchange left and right."""
    return img.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(img: Any) -> Any:
    """Exchange top and bottom."""
    return img.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """Crop the rectangle at (top, left); black where it leaves the image."""
    return img.crop((left, top, left + width, top + height))


def resize(img: Any, size: tuple[int, int], mode: InterpolationMode) -> Any:
    """Resize the image to ``size`` = (height, width)."""
    return img.resize(size[::-1], resampling(mode))


def pad(img: Any, padding: tuple[int, int, int, int], fill: Any, mode: str) -> Any:
    """Add (left, top, right, bottom) pixels, or cut off as many as a negative number says."""
    if mode == "constant":
        left, top, right, bottom = padding
        width, height = img.size
        out = pillow().new(img.mode, (width + left + right, height + top + bottom), colour(fill, img))
        if img.mode == "P":
            out.putpalette(img.getpalette())
        out.paste(img, (left, top))
        return out
    array = to_pillow_array(img)
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)  # (bands, h, w)
    padded = geometry.pad(planes, CPU, padding, None, mode)
    return pillow().fromarray(
        np.ascontiguousarray(padded[0] if array.ndim == 2 else padded.transpose(1, 2, 0))
    )


def rotate(
    img: Any,
    angle: float,
    mode: InterpolationMode,
    expand: bool,
    centre: Sequence[float] | None,
    fill: Any,
) -> Any:
    """Rotate the image by ``angle`` degrees counter-clockwise."""
    return img.rotate(angle, resampling(mode), expand, centre, fillcolor=colour(fill, img))


def affine(img: Any, matrix: Sequence[float], mode: InterpolationMode, fill: Any) -> Any:
    """Resample the image through an affine map, made by :func:`geometry.affine_matrix`."""
    width, height = img.size
    a, b, c, d, e, f = matrix
    # Pillow counts from the upper left corner instead of the centre.
    from_corner = (
        *(a, b, c + width / 2 - a * width / 2 - b * height / 2),
        *(d, e, f + height / 2 - d * width / 2 - e * height / 2),
    )
    method = pillow().Transform.AFFINE
    return img.transform(img.size, method, from_corner, resampling(mode), fillcolor=colour(fill, img))


def brightness(img: Any, factor: float) -> Any:
    """Blend the image with black."""
    return pillow("ImageEnhance").Brightness(img).enhance(factor)


def contrast(img: Any, factor: float) -> Any:
    """Blend the image with the mean of its grey version."""
    return pillow("ImageEnhance").Contrast(img).enhance(factor)


def saturation(img: Any, factor: float) -> Any:
    """Blend the image with its grey version."""
    return pillow("ImageEnhance").Color(img).enhance(factor)


def hue(img: Any, factor: float) -> Any:
    """Turn the hue by ``factor`` of a full circle, in Pillow's 256 steps."""
    if img.mode in ("L", "1", "I", "F"):
        return img
    h, s, v = img.convert("HSV").split()
    # int() rounds towards 0, and bytes wrap around as angles do.
    turned = (np.array(h).astype(np.int64) + int(factor * 255)) % 256
    return pillow().merge("HSV", (pillow().fromarray(turned.astype(np.uint8)), s, v)).convert(img.mode)


def gamma(img: Any, exponent: float, gain: float) -> Any:
    """Compute ``gain x^exponent`` by a table of the 256 values."""
    table = [int((255 + 1 - 1e-3) * gain * pow(value / 255.0, exponent)) for value in range(256)] * 3
    return img.convert("RGB").point(table).convert(img.mode)


def grayscale(img: Any, channels: int) -> Any:
    """Compute the grey version, in one band or three equal ones."""
    if channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {channels}")
    grey = img.convert("L")
    return grey if channels == 1 else pillow().merge("RGB", (grey, grey, grey))
