"""Convolutions as one large matrix product each: the windows of all samples side by side, one a column.

The columns of a sample lie beside those of the next, (c taps, n places), so that the product is one for the
whole batch, however few places an image has, and the gradient of the weight needs no sum over the samples.
What this costs is that channels and samples change places in the result, in one more pass over it, which
adds the bias too.  The product is cuBLAS's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelgrad.kernels.cuda import window
from accelgrad.kernels.cuda.launch import Program, array_module, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import quotient
from accelgrad.kernels.windows import Geometry, product

__all__ = ["convolution", "convolution_input", "convolution_weight"]

COLUMNS = 1 << 26  # elements of the columns that are made at a time: 256 MB of float32


def planes_swapped(T: Any) -> Any:
    """``y[b, a, :] = x[a, b, :] (+ bias[a])``: a block stays in one a."""

    def kernel(x, y, bias, count, rows, length, with_bias):
        at = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        a = cuda.blockIdx.y
        if at < count:
            value = x[a * count + at]
            if with_bias:
                value += bias[a]
            b = quotient(at, length)
            y[(b * rows + a) * length + at - b * length] = value

    return kernel


SWAPPED = Program(planes_swapped, "PPPiiii")


def swapped(x: Any, bias: Any = None, out: Any = None) -> Any:
    """x (a, b, length) as (b, a, length), with bias (a,) added."""
    a, b, length = x.shape
    if bias is None and out is None and min(a, b) == 1:
        return x.reshape(b, a, length)
    y = room(x, (b, a, length)) if out is None else out
    SWAPPED(
        *window.of_planes(b * length, a), x.dtype.char, x, y, bias, b * length, a, length, bias is not None
    )
    return y


def unfold(x: Any, places: tuple[int, int], kernel: tuple[int, ...], geometry: Geometry) -> Any:
    """The windows of x (n, c, h, w) beside each other: (c taps, n places)."""
    n, c, h, w = x.shape
    if geometry.trivial(kernel):
        return swapped(x.reshape(n, c, h * w)).reshape(c, n * h * w)
    length = product(places)
    columns = room(x, (c * product(kernel), n * length))
    window.unfold(x, columns, kernel, places, steps_of(geometry), length, n * length)
    return columns


def fold(columns: Any, x: Any, places: tuple[int, int], kernel: tuple[int, ...], geometry: Geometry) -> None:
    """The adjoint of :func:`unfold`, written into x (n, c, h, w)."""
    n, c, h, w = x.shape
    if geometry.trivial(kernel):
        swapped(columns.reshape(c, n, h * w), out=x)
        return
    window.fold(columns, x, kernel, places, steps_of(geometry), product(places), columns.shape[1])


def steps_of(geometry: Geometry) -> tuple[int, ...]:
    """What the kernels want to know of the windows."""
    return (*geometry.stride, *geometry.padding, *geometry.dilation)


def multiply(a: Any, b: Any) -> Any:
    """The product of matrices, by groups."""
    module = array_module()
    return module.matmul(a[0], b[0])[None] if len(a) == 1 else module.matmul(a, b)


def as_image(
    shape: tuple[int, ...], kernel: Any, geometry: Geometry
) -> tuple[tuple[int, ...], tuple[int, ...], Geometry]:
    """Shape, window and geometry of images; a sequence (n, c, length) is an image of one row."""
    if len(kernel) == 2:
        return shape, tuple(kernel), geometry
    one, none = (1, *geometry.stride), (0, *geometry.padding)
    wide = Geometry(one, none, (1, *geometry.dilation), geometry.groups)
    return (*shape[:2], 1, shape[2]), (1, *kernel), wide


def shares(n: int, each: int) -> Iterator[slice]:
    """The samples in groups whose columns fit."""
    most = max(COLUMNS // max(each, 1), 1)
    for start in range(0, n, most):
        yield slice(start, min(start + most, n))


def fits(x: Any, weight_shape: Any, *others: Any) -> bool:
    """Images or sequences with elements, whose planes fit into a grid."""
    return (
        len(weight_shape) in (3, 4)
        and x.ndim == len(weight_shape)
        and x.size > 0
        and 0 not in weight_shape
        and on_card(x, *[one for one in others if one is not None])
        and max(x.shape[1], weight_shape[0]) <= window.MOST_PLANES
    )


def forward_accepts(x: Any, weight: Any, bias: Any, geometry: Any) -> bool:
    return fits(x, weight.shape, weight, bias)


@cuda_kernel("convolution", accepts=forward_accepts)
def convolution(x: Any, weight: Any, bias: Any, geometry: Geometry) -> Any:
    """``y = weight * x (+ bias)``: x (n, c, ...), weight (o, c / groups, ...); (n, o, ...).

    for n, o, p:  for c, tap:  y[n, o, p] += weight[o, c, tap] x[n, c, the pixel of p under tap]
    """
    space = geometry.places(x.shape[2:], weight.shape[2:])
    shape, kernel, geometry = as_image(x.shape, weight.shape[2:], geometry)
    x = x.reshape(shape)
    places: Any = geometry.places(shape[2:], kernel)
    n, o, groups, length = x.shape[0], weight.shape[0], geometry.groups, product(places)
    flat = weight.reshape(groups, o // groups, -1)
    y = room(x, (n, o, length))
    for some in shares(n, x.shape[1] * product(kernel) * length):
        columns = unfold(x[some], places, kernel, geometry)
        rows = multiply(flat, columns.reshape(groups, flat.shape[2], -1))
        part = y[some]
        swapped(rows.reshape(o, len(part), length), bias, part)
    return y.reshape(n, o, *space)


def input_accepts(grad: Any, weight: Any, space: Any, geometry: Any) -> bool:
    return fits(grad, weight.shape, weight) and weight.shape[1] * geometry.groups <= window.MOST_PLANES


@cuda_kernel("convolution_input", accepts=input_accepts)
def convolution_input(grad: Any, weight: Any, space: Any, geometry: Geometry) -> Any:
    """The adjoint in x, for images of extents ``space``: grad (n, o, ...); (n, c, *space).

    for n, o, p:  for c, tap:  x[n, c, the pixel of p under tap] += weight[o, c, tap] grad[n, o, p]
    """
    n, o = grad.shape[:2]
    groups = geometry.groups
    shape, kernel, geometry = as_image((n, weight.shape[1] * groups, *space), weight.shape[2:], geometry)
    places: Any = (1,) * (len(kernel) - grad.ndim + 2) + grad.shape[2:]
    length = product(places)
    flat = weight.reshape(groups, o // groups, -1).swapaxes(1, 2)
    x = room(grad, shape)
    if x.size >= 2**31:
        return NotImplemented
    for some in shares(n, shape[1] * product(kernel) * length):
        side_by_side = swapped(grad[some].reshape(-1, o, length)).reshape(groups, o // groups, -1)
        columns = multiply(flat, side_by_side)
        fold(columns.reshape(shape[1] * product(kernel), -1), x[some], places, kernel, geometry)
    return x.reshape(n, shape[1], *space)


def weight_accepts(x: Any, grad: Any, kernel: Any, geometry: Any) -> bool:
    return fits(x, (*grad.shape[1:2], x.shape[1], *kernel), grad) and grad.size > 0


@cuda_kernel("convolution_weight", accepts=weight_accepts)
def convolution_weight(x: Any, grad: Any, kernel: Any, geometry: Geometry) -> Any:
    """The adjoint in the weight: x (n, c, ...), grad (n, o, ...); (o, c / groups, *kernel).

    for o, c, tap:  for n, p:  weight[o, c, tap] += grad[n, o, p] x[n, c, the pixel of p under tap]
    """
    extents = kernel
    shape, kernel, geometry = as_image(x.shape, kernel, geometry)
    x = x.reshape(shape)
    (n, c), o, groups = x.shape[:2], grad.shape[1], geometry.groups
    places: Any = geometry.places(x.shape[2:], kernel)
    length = product(places)
    total: Any = None
    for some in shares(n, c * product(kernel) * length):
        columns = unfold(x[some], places, kernel, geometry).reshape(groups, -1, len(x[some]) * length)
        side_by_side = swapped(grad[some].reshape(-1, o, length)).reshape(groups, o // groups, -1)
        part = multiply(side_by_side, columns.swapaxes(1, 2))
        total = part if total is None else total + part
    return total.reshape(o, c // groups, *extents)
