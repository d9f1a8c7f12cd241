"""Maximum pools, max_pool1d to max_pool3d, and the way back, max_unpool1d and 2d."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.kernels.plain import windows
from accelgrad.kernels.windows import product
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import tuple_of


class MaxPool(Primitive):
    """The largest value of every window of a plane (n, c, h, w).

    the gradient goes to the place where it was found.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, found: list[Any], **window: Any) -> Any:
        y, indices = ctx.xp.max_pool2d(x, **window)
        found.append(indices)
        ctx.indices, ctx.shape, ctx.window = indices, x.shape, window
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(AddAtPlaces, grad, indices=ctx.indices, shape=ctx.shape, window=ctx.window)


class AddAtPlaces(Primitive):
    """The adjoint of choosing: adds g[n, c, ...] to the element of plane (n, c) that the flat index names.

    The planes have ``shape``; ``window`` holds the options of the pooling that found the places, if it was
    one.
    """

    @staticmethod
    def forward(
        ctx: Any, grad: Any, *, indices: Any, shape: tuple[int, ...], window: dict[str, Any] | None = None
    ) -> Any:
        ctx.indices = indices
        xp = ctx.xp
        if grad.ndim == 4:
            return xp.max_pool2d_backward(grad, indices, shape, window)
        planes = (*shape[:2], 1, product(shape[2:]))
        lines = (*shape[:2], 1, product(grad.shape[2:]))
        image = xp.max_pool2d_backward(xp.reshape(grad, lines), xp.reshape(indices, lines), planes)
        return xp.reshape(image, shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(TakeAtPlaces, grad, indices=ctx.indices)


class PutAtPlaces(Primitive):
    """z of ``shape``, 0 but for z[index] = x in each plane (n, c); of a place named twice the last stays"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, indices: Any, shape: tuple[int, ...]) -> Any:
        xp = ctx.xp
        ctx.indices = indices
        planes, size = shape[0] * shape[1], product(shape[2:])
        image = xp.zeros((planes, size), dtype=x.dtype)
        rows = xp.expand_dims(xp.arange(planes), 1)
        each = (planes, product(x.shape[2:]))
        image[rows, xp.reshape(indices, each)] = xp.reshape(x, each)
        return xp.reshape(image, shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(TakeAtPlaces, grad, indices=ctx.indices)


class TakeAtPlaces(Primitive):
    """y[n, c, ...] = the element of plane (n, c) of x that the flat index names"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, indices: Any) -> Any:
        xp = ctx.xp
        ctx.indices, ctx.shape = indices, x.shape
        n, c = x.shape[:2]
        flat = xp.reshape(indices, (n, c, product(indices.shape[2:])))
        taken = xp.take_along_axis(xp.reshape(x, (n, c, product(x.shape[2:]))), flat, axis=2)
        return xp.reshape(taken, indices.shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(AddAtPlaces, grad, indices=ctx.indices, shape=ctx.shape)


def window_settings(
    name: str, dims: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> tuple[tuple[int, ...], ...]:
    """The four settings as tuples, checked."""
    kernel = tuple_of(kernel_size, dims, "kernel_size", name)
    empty = stride is None or (isinstance(stride, Sequence) and not len(stride))
    steps = kernel if empty else tuple_of(stride, dims, "stride", name)
    around = tuple_of(padding, dims, "padding", name)
    spacing = tuple_of(dilation, dims, "dilation", name)
    if min(kernel) <= 0 or min(steps) <= 0 or min(spacing) <= 0:
        raise RuntimeError(
            f"{name}: kernel size, stride and dilation should be greater than zero,"
            f" but got kernel_size={list(kernel)}, stride={list(steps)}, dilation={list(spacing)}"
        )
    for k, p, d in zip(kernel, around, spacing, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p},"
                f" kernel_size={k} and dilation={d}"
            )
    return kernel, steps, around, spacing


def must_not_be_empty(name: str, dims: int, input: Tensor, shape: Sequence[int]) -> None:
    """RuntimeError for a result without elements."""
    if min(shape) <= 0:
        before = "x".join(map(str, (input.shape[-dims - 1], *input.shape[-dims:])))
        after = "x".join(map(str, (input.shape[-dims - 1], *shape)))
        raise RuntimeError(
            f"Given input size: ({before})."
            f" Calculated output size: ({after})."
            f" Output size is too small: the windows of {name} do not fit into the input"
            f" {tuple(input.shape)}"
        )


def is_batch(name: str, dims: int, input: Tensor) -> bool:
    if input.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"non-empty {dims + 1}D or {dims + 2}D (batch mode) tensor expected for input:"
            f" {name} got shape {tuple(input.shape)}"
        )
    return input.ndim == dims + 2


def _max_pool(
    name: str,
    dims: int,
    input: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    batched = is_batch(name, dims, input)
    sides, steps, around, spacing = window_settings(name, dims, kernel, stride, padding, dilation)
    shape = input.array.shape
    must_not_be_empty(
        name,
        dims,
        input,
        [windows(*one, ceil_mode) for one in zip(shape[-dims:], sides, steps, around, spacing, strict=True)],
    )
    if not batched:
        input = input.unsqueeze(0)
    found: list[Any] = []
    if dims == 2:
        result = MaxPool.apply(
            input,
            found=found,
            kernel=sides,
            stride=steps,
            padding=around,
            dilation=spacing,
            ceil_mode=ceil_mode,
        )
    elif dims == 1:  # sequences are images of height 1
        flat = input.unsqueeze(2)
        result = MaxPool.apply(
            flat,
            found=found,
            kernel=(1, *sides),
            stride=(1, *steps),
            padding=(0, *around),
            dilation=(1, *spacing),
            ceil_mode=ceil_mode,
        ).squeeze(2)
        found[0] = input.xp.squeeze(found[0], axis=2)
    else:
        result = MaxPoolVolume.apply(
            input, found=found, kernel=sides, stride=steps, padding=around, dilation=spacing, ceil=ceil_mode
        )
    if not batched:
        result, found[0] = result.squeeze(0), found[0][0]
    return result, wrap(found[0], input.xp)


class MaxPoolVolume(Primitive):
    """The largest value of every window of a volume (n, c, d, h, w)"""

    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        *,
        found: list[Any],
        kernel: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil: bool,
    ) -> Any:
        xp = ctx.xp
        space = x.shape[2:]
        counts = [windows(*one, ceil) for one in zip(space, kernel, stride, padding, dilation, strict=True)]
        best = place = None
        for taps in itertools.product(*map(range, kernel)):
            value, index = x, 0
            inside = True
            for axis, (tap, count) in enumerate(zip(taps, counts, strict=True)):
                positions = xp.arange(count) * stride[axis] - padding[axis] + tap * dilation[axis]
                beside = (count,) + (1,) * (len(space) - 1 - axis)
                fits = xp.reshape((positions >= 0) & (positions < space[axis]), beside)
                positions = xp.clip(positions, 0, space[axis] - 1)
                value = xp.take(value, positions, axis=2 + axis)
                index = index + xp.reshape(positions, beside) * product(space[axis + 1 :])
                inside = fits & inside
            index = xp.broadcast_to(index, value.shape)
            if best is None:
                best, place = xp.where(inside, value, -math.inf), xp.array(index)
                continue
            # NaN counts as the largest; of equal values the first stays.
            larger = inside & ((value > best) | ((value != value) & (best == best)))
            best, place = xp.where(larger, value, best), xp.where(larger, index, place)
        found.append(place)
        ctx.indices, ctx.shape = place, x.shape
        return xp.astype(best, x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(AddAtPlaces, grad, indices=ctx.indices, shape=ctx.shape)


def _reference(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, dims=2):
    """The definition, window by window, on NumPy arrays: what the tests compare with."""
    if x.ndim == dims + 1:
        result = _reference(x[None], kernel, stride, padding, dilation, ceil_mode, return_indices, dims)
        return tuple(one[0] for one in result) if return_indices else result[0]
    kernel, padding, dilation = (np.broadcast_to(one, dims) for one in (kernel, padding, dilation))
    stride = kernel if stride is None else np.broadcast_to(stride, dims)
    space = x.shape[2:]
    counts = [windows(*one, ceil_mode) for one in zip(space, kernel, stride, padding, dilation, strict=True)]
    y = np.full((*x.shape[:2], *counts), -np.inf)
    indices = np.zeros(y.shape, int)
    for place in np.ndindex(*x.shape[:2], *counts):
        for tap in np.ndindex(*kernel):
            at = tuple(
                p * s - a + t * d
                for p, s, a, t, d in zip(place[2:], stride, padding, tap, dilation, strict=True)
            )
            if (
                all(0 <= one < extent for one, extent in zip(at, space, strict=True))
                and x[(*place[:2], *at)] > y[place]
            ):
                y[place], indices[place] = x[(*place[:2], *at)], np.ravel_multi_index(at, space)
    y = y.astype(x.dtype)
    return (y, indices) if return_indices else y


POOL: dict[str, Any] = {"namespace": "nn.functional", "method": False, "out": False}


def _distinct(*shape: int) -> Any:
    return arg(*shape, distinct=True)


@op(
    primitive=MaxPool,
    reference=functools.partial(_reference, dims=1),
    samples=[
        sample(_distinct(2, 3, 7), 3),
        sample(_distinct(3, 8), 2, 1),
        sample(_distinct(1, 2, 7), 3, 2, 1, ceil_mode=True),
        sample(_distinct(1, 2, 9), 3, stride=2, dilation=2, return_indices=True),
    ],
    errors=[
        (sample(arg(4), 2), RuntimeError, r"non-empty 2D or 3D \(batch mode\) tensor expected for input")
    ],
    **POOL,
    also=("max_pool1d",),
)
def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window of sequences: input (n, c, length) or (c, length).

    See :func:`max_pool2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.max_pool1d(accelgrad.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    result = _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result if return_indices else result[0]


@op(
    primitive=MaxPool,
    reference=_reference,
    samples=[
        sample(_distinct(2, 3, 4, 6), 2),
        sample(_distinct(2, 5, 5), (3, 2), 1),
        sample(_distinct(1, 2, 5, 6), 3, 2, 1),
        sample(_distinct(1, 2, 5, 6), (2, 3), (2, 2), (1, 1), ceil_mode=True),
        sample(_distinct(1, 1, 7, 7), 3, 1, 0, 2),
        sample(_distinct(1, 2, 5, 5), 2, return_indices=True),
        sample(_distinct(0, 2, 4, 4), 2),
    ],
    errors=[
        (sample(arg(5), 2), RuntimeError, r"non-empty 3D or 4D \(batch mode\) tensor expected for input"),
        (
            sample(arg(1, 1, 5, 5), 2, padding=2),
            RuntimeError,
            "pad should be at most half of effective kernel size",
        ),
        (sample(arg(1, 1, 5, 5), 2, padding=-1), RuntimeError, "pad must be non-negative"),
        (
            sample(arg(1, 1, 1, 1), 2),
            RuntimeError,
            r"Given input size: \(1x1x1\). Calculated output size: \(1x0x0\)",
        ),
        (sample(arg(1, 1, 5, 5), 0), RuntimeError, "should be greater than zero"),
    ],
    **POOL,
    also=("max_pool2d",),
)
def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window: input (n, c, h, w) or (c, h, w).

    Windows lie ``stride`` (``kernel_size``) apart.

    ``padding`` surrounds the image with -inf, at most half a window wide; ``dilation`` leaves gaps inside
    the window; ``ceil_mode`` admits a last window that begins inside and ends outside.  ``return_indices``
    also gives the flat place h * width + w of each maximum.  NaN counts as the largest.  The gradient goes
    to the first maximum.

    RuntimeError where the windows do not fit.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.max_pool2d(accelgrad.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    result = _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result if return_indices else result[0]


@op(
    primitive=MaxPoolVolume,
    reference=functools.partial(_reference, dims=3),
    samples=[
        sample(_distinct(1, 2, 4, 4, 4), 2),
        sample(_distinct(2, 3, 4, 5), (2, 3, 2), 1, (1, 1, 0)),
        sample(_distinct(1, 1, 5, 4, 5), 2, 2, ceil_mode=True, return_indices=True),
        sample(_distinct(1, 1, 5, 5, 5), 2, dilation=2),
    ],
    **POOL,
    also=("max_pool3d",),
)
def max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window of volumes: input (n, c, d, h, w) or (c, d, h, w).

    See :func:`max_pool2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.max_pool3d(accelgrad.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[7.]]]])
    """
    result = _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result if return_indices else result[0]


# --- unpooling


def unpooled(
    name: str, dims: int, input: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, size: Any
) -> Tensor:
    batched = is_batch(name, dims, input)
    sides, steps, around, _ = window_settings(name, dims, kernel, stride, padding)
    if indices.array.shape != input.array.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)})"
            f" but got indices tensor with shape: {list(indices.shape)}"
        )
    if indices.array.dtype != np.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    space = tuple(
        (extent - 1) * s - 2 * p + k
        for extent, s, p, k in zip(input.array.shape[-dims:], steps, around, sides, strict=True)
    )
    if size is not None:
        wanted = tuple(size)[-dims:]
        if len(wanted) != dims or any(abs(w - e) >= s for w, e, s in zip(wanted, space, steps, strict=False)):
            raise ValueError(
                f"invalid output_size {list(size)} (dim sizes must be within one stride of {list(space)})"
            )
        space = wanted
    if not batched:
        input, indices = input.unsqueeze(0), indices.unsqueeze(0)
    places = indices.array
    if input.xp.looks and places.size and not 0 <= int(places.min()) <= int(places.max()) < product(space):
        raise RuntimeError(
            f"Found an invalid max index: {int(places.max())}"
            f" (output volumes are of size {'x'.join(map(str, space))})"
        )
    result = PutAtPlaces.apply(input, indices=places, shape=(*input.array.shape[:2], *space))
    return result if batched else result.squeeze(0)


@op(
    primitive=PutAtPlaces,
    samples=[sample(arg(1, 2, 3), arg(values=[[[0, 3, 4], [1, 2, 5]]], dtype="int64"), 2)],
    errors=[
        (
            sample(arg(1, 3), arg(values=[[0, 3, 9]], dtype="int64"), 2),
            RuntimeError,
            "Found an invalid max index: 9",
        )
    ],
    **POOL,
)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the maxima of :func:`max_pool1d` back to where its ``indices`` say they were; 0 elsewhere.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.max_unpool1d(*F.max_pool1d(accelgrad.tensor([[1.0, 3.0, 5.0, 2.0]]), 2, return_indices=True), 2)
    tensor([[0., 3., 5., 0.]])
    """
    return unpooled("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@op(
    primitive=PutAtPlaces,
    samples=[
        sample(arg(1, 1, 2, 2), arg(values=[[[[0, 3], [9, 14]]]], dtype="int64"), 2),
        sample(arg(1, 2, 2), arg(values=[[[0, 3], [10, 17]]], dtype="int64"), 2, output_size=(5, 5)),
    ],
    **POOL,
)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the maxima of :func:`max_pool2d` back to where its ``indices`` say they were; 0 elsewhere.

    ``output_size`` chooses among the sizes that the pool would have reduced to this one.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.max_unpool2d(*F.max_pool2d(accelgrad.tensor([[[1.0, 3.0], [5.0, 2.0]]]), 2, return_indices=True), 2)
    tensor([[[0., 0.],
             [5., 0.]]])
    """
    return unpooled("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)
