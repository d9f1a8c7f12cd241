"""Formulas that move pixels: flip, crop, pad, resize, rotate, blur; on arrays (..., channels, H, W)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays.backend import Namespace
from accelgrad.transforms.interpolation import InterpolationMode, nearest_indices, resize_weights

__all__ = ["affine_matrix", "blur", "crop", "flip", "pad", "resize", "rotate", "rotated_size", "warp"]

Fill = float | Sequence[float] | None


def in_float(x: Any, xp: Namespace) -> Any:
    """Return ``x`` itself if it is float32 or float64, otherwise a copy in float32."""
    return x if x.dtype in (np.float32, np.float64) else xp.astype(x, np.float32)


def cast_back(y: Any, like: Any, xp: Namespace) -> Any:
    """Return ``y`` in the dtype of ``like``; for integers it is rounded (half to even) and clipped."""
    if like.dtype.kind in "iu":
        limits = np.iinfo(like.dtype)
        y = xp.clip(xp.rint(y), limits.min, limits.max)
    return xp.astype(y, like.dtype)


def flip(x: Any, xp: Namespace, axis: int) -> Any:
    """Reverse the order of the pixels along ``axis``; a copy."""
    return xp.flip(x, axis).copy()


def crop(x: Any, xp: Namespace, top: int, left: int, height: int, width: int) -> Any:
    """Crop the rectangle whose upper left corner is (top, left), with zeros outside the image; a copy."""
    h, w = x.shape[-2:]
    inside = x[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if left >= 0 and top >= 0 and left + width <= w and top + height <= h:
        return inside.copy()
    out = xp.zeros((*x.shape[:-2], height, width), dtype=x.dtype)
    row, column = max(-top, 0), max(-left, 0)
    out[..., row : row + inside.shape[-2], column : column + inside.shape[-1]] = inside
    return out


def pad(x: Any, xp: Namespace, padding: tuple[int, int, int, int], fill: Fill, mode: str) -> Any:
    """Add (left, top, right, bottom) pixels, or cut off as many as a negative number says.

    ``mode`` and ``fill`` as in :func:`~accelgrad.transforms.functional.pad`.
    """
    left, top, right, bottom = padding
    h, w = x.shape[-2:]
    x = x[..., max(-top, 0) : h - max(-bottom, 0), max(-left, 0) : w - max(-right, 0)]
    amounts = [(0, 0)] * (x.ndim - 2) + [(max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    if mode != "constant":
        return xp.pad(x, amounts, mode=mode)
    colour = xp.from_host(np.asarray(0 if fill is None else fill, dtype=x.dtype))
    if colour.size == 1:
        return xp.pad(x, amounts, mode="constant", constant_values=colour.item())
    padded = xp.pad(x, amounts, mode="constant")
    outside = xp.pad(xp.zeros(x.shape[-2:], dtype=bool), amounts[-2:], mode="constant", constant_values=True)
    return xp.where(outside, colour.reshape(-1, 1, 1), padded)  # (..., c, h, w)


def resize(x: Any, xp: Namespace, size: tuple[int, int], mode: InterpolationMode, antialias: bool) -> Any:
    """Resize to ``size`` = (height, width): ``rows @ x @ columns.T``, with the weights of the mode."""
    (h, w), (height, width) = x.shape[-2:], size
    if (h, w) == (height, width):
        return x.copy()
    if mode in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT):
        rows = xp.from_host(nearest_indices(h, height, mode))
        columns = xp.from_host(nearest_indices(w, width, mode))
        return x[..., rows[:, None], columns]  # (..., height, width)
    y = in_float(x, xp)
    # Antialiasing is a choice for bilinear and bicubic only; the other filters are always antialiased.
    antialias = antialias or mode not in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
    if w != width:
        columns = xp.from_host(resize_weights(w, width, mode, antialias).astype(y.dtype))
        y = xp.matmul(y, columns.T)  # (..., h, width)
    if h != height:
        rows = xp.from_host(resize_weights(h, height, mode, antialias).astype(y.dtype))
        y = xp.matmul(rows, y)  # (..., height, width)
    return cast_back(y, x, xp)


def affine_matrix(
    angle: float,
    centre: tuple[float, float],
    translate: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: tuple[float, float] = (0.0, 0.0),
) -> list[float]:
    """Return the six numbers a b c d e f that lead from a pixel of the result back to its place in the image.

    ``x_in = a x + b y + c``, ``y_in = d x + e y + f``, both counted from the image's centre, y downwards.
    The forward map shears by two angles, scales, rotates clockwise by ``angle`` (all in degrees) about
    ``centre`` (counted from the image's centre too) and moves by ``translate``; this is its inverse.

    >>> [round(value, 6) + 0.0 for value in affine_matrix(-90, (0, 0))]
    [0.0, -1.0, 0.0, 1.0, 0.0, 0.0]
    """
    turn, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    # Forward: rotation(turn) @ shear in y @ shear in x, as torchvision composes them.
    a = math.cos(turn - sy) / math.cos(sy)
    b = -a * math.tan(sx) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -c * math.tan(sx) + math.cos(turn)
    # Inverse: the determinant of the four is 1, so it is the adjugate.
    a, b, c, d = d / scale, -b / scale, -c / scale, a / scale
    x, y = centre[0] + translate[0], centre[1] + translate[1]
    return [a, b, centre[0] - a * x - b * y, c, d, centre[1] - c * x - d * y]


def rotated_size(matrix: Sequence[float], height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) that holds the whole image after the map."""
    a, b, c, d, e, f = matrix
    corners = np.array([(x, y) for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)])
    turned = corners @ np.array([[a, d], [b, e]]) + (c, f) + (width / 2, height / 2)  # (4, 2)
    turned = turned.round(4)  # otherwise 10.0000000001 would become 11
    extent = np.ceil(turned.max(axis=0)) - np.floor(turned.min(axis=0))
    return int(extent[1]), int(extent[0])


def warp(
    x: Any, xp: Namespace, matrix: Sequence[float], size: tuple[int, int], mode: InterpolationMode, fill: Fill
) -> Any:
    """Resample the image through an affine map from output to input pixels; ``fill`` where that leaves it.

    ``bilinear`` mixes the four pixels around the place, with zeros outside; ``nearest`` takes the closest
    one.  ValueError for another mode.
    """
    if mode not in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR):
        raise ValueError(
            f"Interpolation mode '{mode.value}' is unsupported with Tensor input; use a PIL image"
        )
    # For each output pixel, its place (u, v) in the input.
    (h, w), (height, width) = x.shape[-2:], size
    y = in_float(x, xp)
    a, b, c, d, e, f = matrix
    columns = xp.arange(width, dtype=y.dtype) - (width - 1) / 2
    rows = (xp.arange(height, dtype=y.dtype) - (height - 1) / 2)[:, None]  # (height, 1)
    u = a * columns + b * rows + c + (w - 1) / 2  # (height, width)
    v = d * columns + e * rows + f + (h - 1) / 2  # (height, width)
    # The pixels around it; `covered` says how much of the result comes from inside the image.
    if mode is InterpolationMode.NEAREST:
        out, covered = _pixel(y, xp, xp.rint(v), xp.rint(u))
    else:
        top, left = xp.floor(v), xp.floor(u)
        down, right = v - top, u - left
        out, covered = 0.0, 0.0
        for row, column, weight in (
            (top, left, (1 - down) * (1 - right)),
            (top, left + 1, (1 - down) * right),
            (top + 1, left, down * (1 - right)),
            (top + 1, left + 1, down * right),
        ):
            pixel, inside = _pixel(y, xp, row, column)
            out, covered = out + weight * pixel, covered + weight * inside
    # The colour outside.
    if fill is not None:
        colour = xp.from_host(np.asarray(fill, dtype=y.dtype).reshape(-1, 1, 1))  # (c or 1, 1, 1)
        if colour.shape[0] == 1 and x.ndim == 2:
            colour = colour[0]
        out = (
            xp.where(covered < 0.5, colour, out)
            if mode is InterpolationMode.NEAREST
            else (out * covered + (1 - covered) * colour)
        )
    return cast_back(out, x, xp)


def _pixel(x: Any, xp: Namespace, row: Any, column: Any) -> tuple[Any, Any]:
    """Return ``x[..., row, column]``, with zeros outside the image, and 1 or 0 for inside or outside."""
    h, w = x.shape[-2:]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    row = xp.astype(xp.clip(row, 0, h - 1), np.int64)
    column = xp.astype(xp.clip(column, 0, w - 1), np.int64)
    inside = xp.astype(inside, x.dtype)
    return x[..., row, column] * inside, inside


def rotate(
    x: Any,
    xp: Namespace,
    angle: float,
    mode: InterpolationMode,
    expand: bool,
    centre: tuple[float, float] | None,
    fill: Fill,
) -> Any:
    """Rotate ``angle`` degrees counter-clockwise about ``centre`` (x, y in pixels; None: the image's own)."""
    h, w = x.shape[-2:]
    offset = (0.0, 0.0) if centre is None else (centre[0] - w / 2, centre[1] - h / 2)
    matrix = affine_matrix(-angle, offset)
    return warp(x, xp, matrix, rotated_size(matrix, h, w) if expand else (h, w), mode, fill)


def blur(x: Any, xp: Namespace, kernel_size: tuple[int, int], sigma: tuple[float, float]) -> Any:
    """Convolve with a Gaussian of ``kernel_size`` = (width, height) pixels, mirrored at the border."""
    y = in_float(x, xp)
    (kx, ky), (h, w) = kernel_size, x.shape[-2:]
    if kx // 2 >= w or ky // 2 >= h:
        raise RuntimeError(
            f"gaussian_blur: the padding ({kx // 2}, {ky // 2}) of the kernel {kernel_size} must be less"
            f" than the image's width and height, ({w}, {h})"
        )
    for axis, k, s in ((-1, kx, sigma[0]), (-2, ky, sigma[1])):
        weights = gaussian_weights(k, s).astype(y.dtype)
        amounts = [(0, 0)] * y.ndim
        amounts[axis] = (k // 2, k // 2)
        padded = xp.pad(y, amounts, mode="reflect")
        n = y.shape[axis]
        y = sum(float(weights[i]) * padded[_along(axis, i, i + n)] for i in range(k))
    return cast_back(y, x, xp)


def _along(axis: int, start: int, stop: int) -> tuple[Any, ...]:
    """Return the index that takes ``start:stop`` of the last axis (-1) or the one before (-2)."""
    return (..., slice(start, stop)) if axis == -1 else (..., slice(start, stop), slice(None))


def gaussian_weights(size: int, sigma: float) -> np.ndarray:
    """Compute ``exp(-x^2 / (2 sigma^2))`` at ``size`` places, one pixel apart around 0; their sum is 1."""
    x = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()
