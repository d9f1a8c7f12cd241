"""The convolution and its two adjoints as plain formulas over an array module; part of plain.py.

The three are linear in each argument, and each other's derivatives, see ``accelgrad/ops/layers/conv.py``;
that is where the differentiable reading is taken, so these formulas are read over arrays only.
"""

from __future__ import annotations

from typing import Any

from accelgrad.kernels.windows import Geometry, fold_columns, product, unfold_columns

__all__ = ["convolution", "convolution_input", "convolution_weight"]

COLUMNS = 1 << 20
"""Columns are made for a few samples at a time, of about so many elements in all (4 MB of float32), so that
a convolution needs little memory beside its result; measured to be as fast as all samples at once.  Where a
call costs more than the memory (on a card) it is 64 times as many.
"""


def _batches(xp: Any, n: int, columns_each: int) -> list[slice]:
    """The samples in groups whose columns are few enough."""
    most = max((COLUMNS << 6 if xp.asynchronous else COLUMNS) // max(columns_each, 1), 1)
    return [slice(start, min(start + most, n)) for start in range(0, n, most)]


def _columns(xp: Any, x: Any, kernel: tuple[int, ...], geometry: Geometry) -> Any:
    """The windows of x by groups of channels: (n, groups, c / groups * taps, places)"""
    columns = unfold_columns(xp, x, kernel, geometry)
    n, rows, places = columns.shape
    return xp.reshape(columns, (n, geometry.groups, rows // geometry.groups, places))


def convolution(xp: Any, x: Any, weight: Any, bias: Any, geometry: Geometry) -> Any:
    """Compute ``y = weight * x``, plus a bias for each output channel if there is one.

    x (n, c, ...), weight (o, c / groups, ...), bias (o,) or None; the result is (n, o, ...).
    """
    kernel, groups = weight.shape[2:], geometry.groups
    space = geometry.places(x.shape[2:], kernel)
    n, o, places = x.shape[0], weight.shape[0], product(space)
    flat = xp.reshape(weight, (groups, o // groups, product(weight.shape[1:])))
    y = xp.empty((n, groups, o // groups, places), dtype=x.dtype)
    for some in _batches(xp, n, groups * flat.shape[2] * places):
        y[some] = xp.matmul(flat, _columns(xp, x[some], kernel, geometry))
    y = xp.reshape(y, (n, o, *space))
    if bias is not None:
        y += xp.reshape(bias, (o,) + (1,) * len(kernel))
    return y


def convolution_input(xp: Any, grad: Any, weight: Any, space: tuple[int, ...], geometry: Geometry) -> Any:
    """Sum ``weight[o]`` spread around ``grad[o]`` over images of extents ``space``.

    It is the adjoint of :func:`convolution` in x, the transposed convolution. grad (n, o, ...); the result
    is (n, c, *space).
    """
    kernel, groups = weight.shape[2:], geometry.groups
    n, o, places = grad.shape[0], weight.shape[0], product(grad.shape[2:])
    flat = xp.swapaxes(xp.reshape(weight, (groups, o // groups, product(weight.shape[1:]))), 1, 2)
    g = xp.reshape(grad, (n, groups, o // groups, places))
    rows = groups * flat.shape[1]  # of the columns: c * taps
    x = xp.empty((n, weight.shape[1] * groups, *space), dtype=grad.dtype)
    for some in _batches(xp, n, rows * places):
        columns = xp.matmul(flat, g[some])
        shape = (columns.shape[0], *x.shape[1:])
        columns = xp.reshape(columns, (shape[0], rows, places))
        x[some] = fold_columns(xp, columns, shape, kernel, geometry)
    return x


def convolution_weight(xp: Any, x: Any, grad: Any, kernel: tuple[int, ...], geometry: Geometry) -> Any:
    """Sum, for each o, ``grad[o]`` times the window of x at its place, over all places.

    It is the adjoint of :func:`convolution` in the weight. x (n, c, ...), grad (n, o, ...); the result is
    (o, c / groups, *kernel).
    """
    groups = geometry.groups
    n, c, o, places = x.shape[0], x.shape[1], grad.shape[1], product(grad.shape[2:])
    g = xp.reshape(grad, (n, groups, o // groups, places))
    width = c // groups * product(kernel)
    weight = xp.zeros((groups, o // groups, width), dtype=grad.dtype)
    for some in _batches(xp, n, groups * width * places):
        columns = _columns(xp, x[some], kernel, geometry)
        count, outputs = columns.shape[0], o // groups
        if count == 1:
            weight += xp.matmul(g[some][0], xp.swapaxes(columns[0], 1, 2))
        elif outputs * width <= (outputs + width) * places:
            weight += xp.sum(xp.matmul(g[some], xp.swapaxes(columns, 2, 3)), axis=0)
        else:  # many weights, few places: one product over all of them, first brought side by side
            left = xp.reshape(xp.transpose(g[some], (1, 2, 0, 3)), (groups, outputs, count * places))
            right = xp.reshape(xp.transpose(columns, (1, 0, 3, 2)), (groups, count * places, width))
            weight += xp.matmul(left, right)
    return xp.reshape(weight, (o, c // groups, *kernel))
