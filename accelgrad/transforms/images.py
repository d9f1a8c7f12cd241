"""The three kinds of images (Tensors, ``PIL.Image``, NumPy arrays), and one formula for all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays.backend import CPU, Namespace
from accelgrad.core.modes import is_grad_enabled
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["apply", "dimensions", "is_pillow", "pillow", "to_pillow_array"]


def pillow(name: str = "Image") -> Any:
    """Return a module of Pillow, imported at first use; ImportError, with what to install, without it."""
    try:
        import PIL
        from PIL import Image, ImageEnhance, ImageOps
    except ImportError as error:
        raise ImportError(
            "this needs Pillow, which is not installed: pip install 'accelgrad[data]'"
        ) from error
    return {"PIL": PIL, "Image": Image, "ImageEnhance": ImageEnhance, "ImageOps": ImageOps}[name]


def is_pillow(value: Any) -> bool:
    """Return whether ``value`` is a Pillow image, without importing Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def apply(
    name: str,
    img: Any,
    on_array: Callable[[Any, Namespace], Any],
    on_pillow: Callable[[Any], Any] | None = None,
) -> Any:
    """Apply a formula to an image of any kind, and return the result as the same kind.

    ``on_array(x, xp)`` works on arrays of shape (..., channels, height, width) or (height, width).  A Tensor
    is such an array; a NumPy array, (height, width) or (height, width, channels), is transposed before and
    after.  A Pillow image goes to ``on_pillow``, or through an array where there is none.

    Errors: TypeError for another type or too few dimensions; RuntimeError for a tensor that requires grad.
    """
    if isinstance(img, Tensor):
        if img.ndim < 2:
            raise TypeError(
                f"Tensor is not a torch image. {name} needs (..., H, W), got shape {tuple(img.shape)}"
            )
        if img.requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{name}: transforms work on data and record no gradient, but the tensor requires grad;"
                " pass img.detach(), or call it under accelgrad.no_grad()"
            )
        return wrap(on_array(img.array, img.xp), img.xp)
    if is_pillow(img):
        if on_pillow is not None:
            return on_pillow(img)
        array = to_pillow_array(img)
        result = apply(name, array, on_array)
        return pillow().fromarray(result)
    if isinstance(img, np.ndarray):
        if img.ndim not in (2, 3):
            raise TypeError(f"{name}: a NumPy image has the shape (H, W) or (H, W, C), got {img.shape}")
        if img.ndim == 2:
            result = on_array(img[None], CPU)  # (c, h, w)
            return np.ascontiguousarray(result[0] if result.shape[0] == 1 else result.transpose(1, 2, 0))
        return np.ascontiguousarray(on_array(img.transpose(2, 0, 1), CPU).transpose(1, 2, 0))  # (h, w, c)
    raise TypeError(f"{name}: img should be a PIL Image, a Tensor or a NumPy array. Got {type(img)}")


def dimensions(img: Any) -> tuple[int, int, int]:
    """Return (channels, height, width) of an image of any kind; TypeError for anything else."""
    if is_pillow(img):
        width, height = img.size
        return len(img.getbands()), height, width
    if isinstance(img, np.ndarray) and img.ndim in (2, 3):
        return (img.shape[2] if img.ndim == 3 else 1), img.shape[0], img.shape[1]
    if isinstance(img, Tensor) and img.ndim >= 2:
        return (img.shape[-3] if img.ndim > 2 else 1), img.shape[-2], img.shape[-1]
    if isinstance(img, Tensor):
        raise TypeError(f"Tensor is not a torch image. An image is (..., H, W), got shape {tuple(img.shape)}")
    raise TypeError(f"img should be a PIL Image, a Tensor or a NumPy array. Got {type(img)}")


def to_pillow_array(img: Any) -> np.ndarray:
    """Return a copy of a Pillow image's pixels, (H, W) or (H, W, bands); palettes become RGB."""
    if img.mode == "P":
        img = img.convert("RGB")
    return np.array(img)
