"""Images of every kind for the tests of the transforms."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad

Image = pytest.importorskip("PIL.Image")


def pixels(*shape, seed=0):
    """Random bytes (H, W, C) or (H, W)."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(h=24, w=31):
    """Return a smooth colour gradient, in which differences of rounding stay small."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (h + w)], axis=2).astype(np.uint8)


def tensor(array):
    """(H, W[, C]) as a Tensor (C, H, W) of the same dtype."""
    array = array if array.ndim == 3 else array[:, :, None]
    return accelgrad.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def back(result):
    """A result of any kind as an array (H, W, C)."""
    if isinstance(result, accelgrad.Tensor):
        return result.numpy().transpose(1, 2, 0)
    array = np.asarray(result)
    return array if array.ndim == 3 else array[:, :, None]


KINDS = {"tensor": tensor, "array": lambda a: a, "pil": lambda a: Image.fromarray(a)}
