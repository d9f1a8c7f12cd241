"""Windows over n-dimensional images, as raw arrays: their places, their columns, and the adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Geometry", "fold_columns", "product", "unfold_columns"]


def product(extents: Sequence[int]) -> int:
    """The product of the extents."""
    size = 1
    for extent in extents:
        size *= extent
    return size


@dataclass(frozen=True)
class Geometry:
    """How windows lie over an image: steps, zeros around, gaps inside, one number for each dimension."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def places(self, space: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """How many windows fit along each side (0 or less: none)."""
        return tuple(
            [
                (extent + 2 * p - d * (k - 1) - 1) // s + 1
                for extent, k, s, p, d in zip(
                    space, kernel, self.stride, self.padding, self.dilation, strict=True
                )
            ]
        )

    def trivial(self, kernel: Sequence[int]) -> bool:
        """Whether every window is one pixel and every pixel has one."""
        return max(kernel) == 1 and max(self.stride) == 1 and max(self.padding) == 0


def unfold_columns(xp: Any, x: Any, kernel: tuple[int, ...], geometry: Geometry) -> Any:
    """Every window of x (n, c, ...) as a column: (n, c * taps, places)."""
    n, c, *space = x.shape
    if geometry.trivial(kernel):
        return xp.reshape(x, (n, c, product(space)))
    stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
    if len(kernel) == 2:
        return xp.im2col(x, kernel, stride, padding, dilation)
    if len(kernel) == 1:  # a flat image
        flat = xp.reshape(x, (n, c, 1, space[0]))
        return xp.im2col(flat, (1, kernel[0]), (1, stride[0]), (0, padding[0]), (1, dilation[0]))
    # A volume: slice by slice, the slices under the first, second ... layer of the window taken as images.
    layers = geometry.places(space, kernel)[0]
    if padding[0]:
        x = xp.pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (0, 0), (0, 0)))
    parts = []
    for layer in range(kernel[0]):
        images = xp.transpose(x[:, :, _under(layer, layers, stride[0], dilation[0])], (0, 2, 1, 3, 4))
        images = xp.reshape(images, (n * layers, c, *space[1:]))
        columns = xp.im2col(images, kernel[1:], stride[1:], padding[1:], dilation[1:])
        columns = xp.reshape(columns, (n, layers, c, kernel[1] * kernel[2], columns.shape[-1]))
        parts.append(xp.transpose(columns, (0, 2, 3, 1, 4)))  # (n, c, taps of the layer, layers, places)
    return xp.reshape(xp.stack(parts, axis=2), (n, c * product(kernel), layers * parts[0].shape[-1]))


def fold_columns(
    xp: Any, columns: Any, shape: tuple[int, ...], kernel: tuple[int, ...], geometry: Geometry
) -> Any:
    """The adjoint: every column added back to where its window lay, giving ``shape`` (n, c, ...)."""
    if geometry.trivial(kernel):
        return xp.reshape(columns, shape)
    stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
    n, c, *space = shape
    if len(kernel) == 2:
        return xp.col2im(columns, shape, kernel, stride, padding, dilation)
    if len(kernel) == 1:
        flat = (n, c, 1, space[0])
        image = xp.col2im(columns, flat, (1, kernel[0]), (1, stride[0]), (0, padding[0]), (1, dilation[0]))
        return xp.reshape(image, shape)
    layers, *places = geometry.places(space, kernel)
    volume = xp.zeros((n, c, space[0] + 2 * padding[0], *space[1:]), dtype=columns.dtype)
    parts = xp.reshape(columns, (n, c, kernel[0], kernel[1] * kernel[2], layers, product(places)))
    for layer in range(kernel[0]):
        flat = xp.reshape(
            xp.transpose(parts[:, :, layer], (0, 3, 1, 2, 4)),
            (n * layers, c * kernel[1] * kernel[2], product(places)),
        )
        images = xp.col2im(
            flat, (n * layers, c, *space[1:]), kernel[1:], stride[1:], padding[1:], dilation[1:]
        )
        images = xp.transpose(xp.reshape(images, (n, layers, c, *space[1:])), (0, 2, 1, 3, 4))
        volume[:, :, _under(layer, layers, stride[0], dilation[0])] += images
    return volume[:, :, padding[0] : padding[0] + space[0]]


def _under(tap: int, count: int, stride: int, dilation: int) -> slice:
    """Along one side, the pixels that lie under tap number ``tap`` of the ``count`` windows."""
    return slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride)
