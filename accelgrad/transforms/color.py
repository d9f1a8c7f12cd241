"""Formulas that change colours: grey, brightness, contrast, saturation, hue; on arrays (..., C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays.backend import Namespace
from accelgrad.transforms.geometry import in_float

__all__ = [
    "adjust_hue",
    "blend",
    "brightness",
    "contrast",
    "convert_dtype",
    "gamma",
    "grayscale",
    "saturation",
]


def max_value(dtype: Any) -> int:
    """Return white: the largest value of an integer dtype, 1 for floating point."""
    dtype = np.dtype(dtype)
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def check_channels(name: str, x: Any) -> int:
    """Return the number of channels; TypeError unless it is 1 or 3."""
    channels = x.shape[-3] if x.ndim > 2 else 1
    if channels not in (1, 3):
        raise TypeError(
            f"{name}: Input image tensor permitted channel values are [1, 3],"
            f" but found {channels} in shape {tuple(x.shape)}"
        )
    return channels


def convert_dtype(x: Any, xp: Namespace, dtype: Any) -> Any:
    """Convert the image to another dtype, scaled so that black stays black and white stays white.

    From floating point to integer: ``x (max + 1 - 0.001)`` rounded down, so that every integer stands for an
    equally wide range (torchvision's rule).  Between integers the factor is a power of two.
    """
    source, target = x.dtype, np.dtype(dtype)
    if source == target:
        return x
    if source.kind == "f" and target.kind == "f":
        return xp.astype(x, target)
    if source.kind == "f":
        # The integers beyond 2^24 (2^53) are not all floats.
        if (source == np.float32 and target in (np.int32, np.int64)) or (
            source == np.float64 and target == np.int64
        ):
            raise RuntimeError(f"The cast from {source} to {target} cannot be performed safely.")
        # Beyond black and white torchvision leaves the result to the processor; here it is clipped.
        limits = np.iinfo(target)
        scaled = x * source.type(max_value(target) + 1 - 1e-3)
        return xp.astype(xp.clip(scaled, limits.min, limits.max), target)
    if target.kind == "f":
        return xp.astype(x, target) / target.type(max_value(source))
    high, low = max_value(source), max_value(target)
    if high > low:
        return xp.astype(x // source.type((high + 1) // (low + 1)), target)
    return xp.astype(x, target) * target.type((low + 1) // (high + 1))


def blend(x: Any, other: Any, ratio: float, xp: Namespace) -> Any:
    """Compute ``ratio x + (1 - ratio) other``, clipped to black ... white; integers are rounded down."""
    bound = max_value(x.dtype)
    mixed = ratio * in_float(x, xp) + (1.0 - ratio) * in_float(other, xp)
    return xp.astype(xp.clip(mixed, 0, bound), x.dtype)


def grayscale(x: Any, xp: Namespace, channels: int = 1) -> Any:
    """Compute grey ``0.2989 r + 0.587 g + 0.114 b`` (ITU-R BT.601), in one channel or three equal ones."""
    if x.ndim < 3:
        raise TypeError(f"Input image tensor should have at least 3 dimensions, but found {x.ndim}")
    if channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {channels}")
    if check_channels("rgb_to_grayscale", x) == 3:
        y = in_float(x, xp)
        grey = 0.2989 * y[..., 0:1, :, :] + 0.587 * y[..., 1:2, :, :] + 0.114 * y[..., 2:3, :, :]
        grey = xp.astype(grey, x.dtype)
    else:
        grey = x.copy()
    return xp.concatenate([grey] * 3, axis=-3) if channels == 3 else grey


def brightness(x: Any, xp: Namespace, factor: float) -> Any:
    """Blend the image with black."""
    check_channels("adjust_brightness", x)
    return blend(x, xp.zeros_like(x), factor, xp)


def contrast(x: Any, xp: Namespace, factor: float) -> Any:
    """Blend the image with the mean of its grey version."""
    channels = check_channels("adjust_contrast", x)
    grey = grayscale(x, xp) if channels == 3 else x
    axes = (-3, -2, -1) if x.ndim > 2 else (-2, -1)
    return blend(x, xp.mean(in_float(grey, xp), axis=axes, keepdims=True), factor, xp)


def saturation(x: Any, xp: Namespace, factor: float) -> Any:
    """Blend the image with its grey version; grey images stay as they are."""
    if check_channels("adjust_saturation", x) == 1:
        return x.copy()
    return blend(x, grayscale(x, xp), factor, xp)


def adjust_hue(x: Any, xp: Namespace, factor: float) -> Any:
    """Turn the hue by ``factor`` of a full circle; grey images stay as they are."""
    if check_channels("adjust_hue", x) == 1:
        return x.copy()
    work = x if x.dtype == np.float32 else convert_dtype(x, xp, np.float32)
    h, s, v = rgb_to_hsv(work, xp)
    return convert_dtype(hsv_to_rgb((h + factor) % 1.0, s, v, xp), xp, x.dtype)


def gamma(x: Any, xp: Namespace, exponent: float, gain: float) -> Any:
    """Compute ``gain x^exponent`` on values in 0 ... 1."""
    check_channels("adjust_gamma", x)
    work = x if x.dtype.kind == "f" else convert_dtype(x, xp, np.float32)
    return convert_dtype(xp.clip(gain * work**exponent, 0, 1), xp, x.dtype)


def rgb_to_hsv(x: Any, xp: Namespace) -> tuple[Any, Any, Any]:
    """Return hue, saturation, value, (..., H, W) in 0 ... 1 (Smith 1978, "Color gamut transform pairs")."""
    r, g, b = x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
    v = xp.maximum(xp.maximum(r, g), b)
    span = v - xp.minimum(xp.minimum(r, g), b)
    grey = span == 0  # no hue, no saturation; the divisors become 1
    s = span / xp.where(grey, 1, v)
    divisor = xp.where(grey, 1, span)
    h = xp.where(v == r, (g - b) / divisor, xp.where(v == g, 2 + (b - r) / divisor, 4 + (r - g) / divisor))
    return (h / 6 + 1) % 1, s, v


def hsv_to_rgb(h: Any, s: Any, v: Any, xp: Namespace) -> Any:
    """Return red, green and blue, (..., 3, H, W), the inverse of :func:`rgb_to_hsv`."""
    sixth = xp.floor(h * 6)
    f = h * 6 - sixth
    p, q, t = (xp.clip(v * part, 0, 1) for part in (1 - s, 1 - s * f, 1 - s * (1 - f)))
    sector = sixth % 6
    # For the six sectors of the colour circle, which of v, q, p, t is red, green, blue.
    channels = []
    for table in ((v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q)):
        value = table[5]
        for k in range(5):
            value = xp.where(sector == k, table[k], value)
        channels.append(value)
    return xp.stack(channels, axis=-3)
