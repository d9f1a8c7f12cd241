"""Interpolation of pixels: the modes, and the weights with which input pixels enter an output pixel."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["InterpolationMode", "as_mode", "nearest_indices", "resize_weights"]


class InterpolationMode(enum.Enum):
    """The ways to interpolate, with torchvision's names and values.

    >>> InterpolationMode("bilinear")
    <InterpolationMode.BILINEAR: 'bilinear'>
    """

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


# Pillow's numbers, which older code passes instead of a mode.
_PILLOW_NUMBERS = {
    0: InterpolationMode.NEAREST,
    1: InterpolationMode.LANCZOS,
    2: InterpolationMode.BILINEAR,
    3: InterpolationMode.BICUBIC,
    4: InterpolationMode.BOX,
    5: InterpolationMode.HAMMING,
}


def as_mode(interpolation: InterpolationMode | int | str) -> InterpolationMode:
    """Return the mode for a mode, its value or Pillow's number; TypeError for anything else."""
    if isinstance(interpolation, InterpolationMode):
        return interpolation
    try:
        if isinstance(interpolation, str):
            return InterpolationMode(interpolation)
        return _PILLOW_NUMBERS[interpolation]
    except (ValueError, KeyError, TypeError):
        raise TypeError(
            "Argument interpolation should be a InterpolationMode"
            f" or a corresponding Pillow integer constant, got {interpolation!r}"
        ) from None


def _triangle(x: float) -> float:
    """Compute the weight of bilinear interpolation at the distance ``x``, in pixels."""
    return max(0.0, 1.0 - abs(x))


def _cubic(a: float) -> Callable[[float], float]:
    """Return the weights of bicubic interpolation (Keys 1981, "Cubic convolution interpolation", eq. 15)."""

    def weight(x: float) -> float:
        x = abs(x)
        if x < 1:
            return ((a + 2) * x - (a + 3)) * x * x + 1
        if x < 2:
            return (((x - 5) * x + 8) * x - 4) * a
        return 0.0

    return weight


def _box(x: float) -> float:
    """Compute the weight of the box filter: all pixels under the output pixel count alike."""
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _sinc(x: float) -> float:
    """Compute ``sin(pi x) / (pi x)``."""
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _hamming(x: float) -> float:
    """Compute sinc under a Hamming window of half width 1."""
    return _sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if abs(x) < 1 else 0.0


def _lanczos(x: float) -> float:
    """Compute sinc under a Lanczos window of half width 3."""
    return _sinc(x) * _sinc(x / 3) if abs(x) < 3 else 0.0


# Mode: half width of the filter, and its weight at a distance in pixels.  With antialiasing, Pillow and
# PyTorch take a = -0.5 for the cubic; without it PyTorch takes -0.75.
_FILTERS = {
    InterpolationMode.BOX: (0.5, _box),
    InterpolationMode.BILINEAR: (1.0, _triangle),
    InterpolationMode.HAMMING: (1.0, _hamming),
    InterpolationMode.BICUBIC: (2.0, _cubic(-0.5)),
    InterpolationMode.LANCZOS: (3.0, _lanczos),
}
_PLAIN_CUBIC = _cubic(-0.75)


@functools.lru_cache(maxsize=64)
def resize_weights(n_in: int, n_out: int, mode: InterpolationMode, antialias: bool) -> NDArray[np.float64]:
    """Return the matrix, (n_out, n_in), that resizes ``n_in`` pixels to ``n_out``; each row sums to 1.

    The centre of output pixel i lies at (i + 1/2) n_in / n_out in the input.  With ``antialias`` the filter
    is as wide as an output pixel, and weights outside the image are left out, as in Pillow.  Without, it is
    as wide as an input pixel, and the border pixel gets the weights outside, as in PyTorch's
    ``interpolate``.

    >>> resize_weights(4, 2, InterpolationMode.BILINEAR, False)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    weights = np.zeros((n_out, n_in))
    scale = n_in / n_out
    half_width, weight = _FILTERS[mode]
    if not antialias and mode is InterpolationMode.BICUBIC:
        weight = _PLAIN_CUBIC
    stretch = max(scale, 1.0) if antialias else 1.0
    support = half_width * stretch
    for i in range(n_out):
        centre = (i + 0.5) * scale
        first, last = math.floor(centre - support + 0.5), math.floor(centre + support + 0.5)
        if antialias:
            first, last = max(first, 0), min(last, n_in)
        for j in range(first, last):
            weights[i, min(max(j, 0), n_in - 1)] += weight((j + 0.5 - centre) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)  # (n_out, n_in)
    weights.flags.writeable = False  # the cache hands the same array to every caller
    return weights


def nearest_indices(n_in: int, n_out: int, mode: InterpolationMode) -> NDArray[np.int64]:
    """Return the index of the input pixel that each output pixel copies, (n_out,).

    ``NEAREST`` takes the one at the output pixel's left edge, as PyTorch does; ``NEAREST_EXACT`` the one at
    its centre, as Pillow does.

    >>> [nearest_indices(4, 2, InterpolationMode(name)).tolist() for name in ("nearest", "nearest-exact")]
    [[0, 2], [1, 3]]
    """
    # In float32, as PyTorch computes it: n_in / n_out times i can fall to either side of a whole number.
    scale = np.float32(n_in) / np.float32(n_out)
    offset = np.float32(0.5 if mode is InterpolationMode.NEAREST_EXACT else 0.0)
    places = np.floor((np.arange(n_out, dtype=np.float32) + offset) * scale).astype(np.int64)
    return np.minimum(places, n_in - 1)
