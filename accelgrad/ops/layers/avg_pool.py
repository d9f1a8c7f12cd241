"""Average pools, adaptive pools, and power averages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.kernels.plain import windows
from accelgrad.kernels.windows import product
from accelgrad.ops.layers.pool import AddAtPlaces, MaxPool, is_batch, must_not_be_empty, window_settings
from accelgrad.ops.pointwise.arithmetic import div
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import tuple_of

POOL: dict[str, Any] = {"namespace": "nn.functional", "method": False, "out": False}


class SumWindows(Primitive):
    """y = factor times the sum of every window of x (n, c, ...): along one axis after the other"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, kernel: Any, stride: Any, ends: Any, counts: Any, factor: Any) -> Any:
        xp = ctx.xp
        ctx.options = {"kernel": kernel, "stride": stride, "ends": ends, "counts": counts, "factor": factor}
        ctx.space = x.shape[2:]
        if any(low or high for low, high in ends):
            x = xp.pad(x, ((0, 0), (0, 0), *ends))
        for axis, (k, s, count) in enumerate(zip(kernel, stride, counts, strict=True), start=2):
            before = (slice(None),) * axis
            total = x[(*before, slice(0, (count - 1) * s + 1, s))]
            for tap in range(1, k):
                total = total + x[(*before, slice(tap, tap + (count - 1) * s + 1, s))]
            x = total
        return x * factor

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(SpreadWindows, grad, space=ctx.space, **ctx.options)


class SpreadWindows(Primitive):
    """The adjoint: factor times every y[n, c, ...] added to all pixels of its window"""

    @staticmethod
    def forward(
        ctx: Any, y: Any, *, space: Any, kernel: Any, stride: Any, ends: Any, counts: Any, factor: Any
    ) -> Any:
        xp = ctx.xp
        ctx.options = {"kernel": kernel, "stride": stride, "ends": ends, "counts": counts, "factor": factor}
        image = y * factor
        for axis in range(image.ndim - 1, 1, -1):
            k, s, count = kernel[axis - 2], stride[axis - 2], counts[axis - 2]
            low, high = ends[axis - 2]
            before = (slice(None),) * axis
            extent = low + space[axis - 2] + high
            wide = xp.zeros((*image.shape[:axis], extent, *image.shape[axis + 1 :]), dtype=image.dtype)
            for tap in range(k):
                wide[(*before, slice(tap, tap + (count - 1) * s + 1, s))] += image
            image = wide[(*before, slice(low, low + space[axis - 2]))]
        return image

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(SumWindows, grad, **ctx.options)


def _avg_pool(
    name: str,
    dims: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    batched = is_batch(name, dims, input)
    kernel, steps, around, _ = window_settings(name, dims, kernel_size, stride, padding)
    if divisor_override == 0:
        raise RuntimeError(f"divisor must be not zero: {name} got divisor_override=0")
    space = input.array.shape[-dims:]
    counts = [
        windows(e, k, s, p, 1, ceil_mode) for e, k, s, p in zip(space, kernel, steps, around, strict=True)
    ]
    must_not_be_empty(name, dims, input, counts)
    ends = []
    for e, k, s, p, count in zip(space, kernel, steps, around, counts, strict=True):
        ends.append((p, max((count - 1) * s + k - e - p, 0)))  # ceil_mode may reach beyond the padding
    factor: Any
    size: Any = divisor_override or product(kernel)
    if divisor_override is not None:
        factor = 1 / divisor_override
    elif any(high > p for (_, high), p in zip(ends, around, strict=True)) or (
        max(around) and not count_include_pad
    ):
        size = _counted(input, space, kernel, steps, around, counts, count_include_pad)
        factor = (1 / size).astype(input.array.dtype)
    else:
        factor = 1 / product(kernel)
    if not batched:
        input = input.unsqueeze(0)
    whole = input.array.dtype.kind in "iu"  # integers are divided as integers, towards 0
    options = {
        "kernel": kernel,
        "stride": steps,
        "ends": tuple(ends),
        "counts": tuple(counts),
        "factor": 1 if whole else factor,
    }
    result = SumWindows.apply(input, **options)
    if whole:
        divisor = size if isinstance(size, int) else wrap(size, input.xp)
        result = div(result, divisor, rounding_mode="trunc")
    return result if batched else result.squeeze(0)


def _counted(
    input: Tensor,
    space: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    counts: Sequence[int],
    count_include_pad: bool,
) -> Any:
    """The number of pixels that each window counts, as an array (counts)."""
    xp = input.xp
    size: Any = 1
    for axis, (extent, k, s, p, count) in enumerate(zip(space, kernel, stride, padding, counts, strict=True)):
        start = xp.arange(count) * s - p
        stop = xp.minimum(start + k, extent + p)  # the part beyond the padding never counts
        if not count_include_pad:
            start, stop = xp.maximum(start, 0), xp.minimum(stop, extent)
        size = size * xp.reshape(stop - start, (count,) + (1,) * (len(space) - 1 - axis))
    return size


def _average(
    x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dims=2
):
    """The definition, window by window, on NumPy arrays: what the tests compare with."""
    if x.ndim == dims + 1:
        return _average(
            x[None], kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, dims
        )[0]
    kernel, padding = np.broadcast_to(kernel, dims), np.broadcast_to(padding, dims)
    stride = kernel if stride is None else np.broadcast_to(stride, dims)
    space = x.shape[2:]
    counts = [
        windows(e, k, s, p, 1, ceil_mode) for e, k, s, p in zip(space, kernel, stride, padding, strict=True)
    ]
    y = np.zeros((*x.shape[:2], *counts), x.dtype)
    for place in np.ndindex(*counts):
        starts = [p * s - a for p, s, a in zip(place, stride, padding, strict=True)]
        stops = [min(b + k, e + a) for b, k, e, a in zip(starts, kernel, space, padding, strict=True)]
        inside = tuple(slice(max(b, 0), min(t, e)) for b, t, e in zip(starts, stops, space, strict=True))
        size = np.prod([t - b for b, t in zip(starts, stops, strict=True)])
        if not count_include_pad:
            size = np.prod([one.stop - one.start for one in inside])
        window = x[(slice(None), slice(None), *inside)]
        y[(..., *place)] = window.sum(axis=tuple(range(2, x.ndim))) / (divisor_override or size)
    return y


@op(
    primitive=SumWindows,
    reference=functools.partial(_average, dims=1),
    samples=[
        sample(arg(2, 3, 7), 3),
        sample(arg(3, 7), 2, 1, 1),
        sample(arg(1, 2, 8), 3, 2, 1, True, False),
        sample(arg(1, 1, 6), 4, 3, ceil_mode=True),
    ],
    **POOL,
    also=("avg_pool1d",),
)
def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The average of every window of sequences: input (n, c, length) or (c, length).  See :func:`avg_pool2d`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.avg_pool1d(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[2., 7.]])
    """
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@op(
    primitive=SumWindows,
    reference=_average,
    samples=[
        sample(arg(2, 3, 4, 6), 2),
        sample(arg(2, 5, 5), (3, 2), 1),
        sample(arg(1, 2, 5, 6), 3, 2, 1),
        sample(arg(1, 2, 5, 6), 3, 2, 1, count_include_pad=False),
        sample(arg(1, 2, 5, 6), (2, 3), 2, 1, True),
        sample(arg(1, 2, 5, 6), 3, 2, 1, True, False),
        sample(arg(1, 2, 5, 6), 3, 2, 1, True, False, 5),
        sample(arg(0, 2, 4, 4), 2),
    ],
    errors=[
        (sample(arg(5), 2), RuntimeError, r"non-empty 3D or 4D \(batch mode\) tensor expected for input"),
        (
            sample(arg(1, 1, 5, 5), 2, padding=2),
            RuntimeError,
            "pad should be at most half of effective kernel size",
        ),
        (sample(arg(1, 1, 5, 5), 2, divisor_override=0), RuntimeError, "divisor must be not zero"),
        (sample(arg(1, 1, 1, 1), 2), RuntimeError, "Output size is too small"),
    ],
    **POOL,
)
def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of every window: input (n, c, h, w) or (c, h, w).

    Windows lie ``stride`` (``kernel_size``) apart.

    ``padding`` surrounds the image with zeros, which count unless ``count_include_pad=False``;
    ``ceil_mode`` admits a last window that begins inside and ends outside; ``divisor_override`` divides
    every sum by that number instead.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.avg_pool2d(accelgrad.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@op(
    primitive=SumWindows,
    reference=functools.partial(_average, dims=3),
    samples=[
        sample(arg(1, 2, 4, 4, 2), 2),
        sample(arg(2, 3, 4, 5), (2, 3, 2), 1, (1, 1, 0), False, False),
    ],
    **POOL,
)
def avg_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of every window of volumes: input (n, c, d, h, w) or (c, d, h, w).  See :func:`avg_pool2d`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.avg_pool3d(accelgrad.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])
    """
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# --- adaptive pools


def _bounds(extent: int, parts: int) -> list[tuple[int, int]]:
    """Return where each of ``parts`` windows begins and ends.

    They cover the side, and overlap where it cannot be divided.
    """
    return [(i * extent // parts, -(-(i + 1) * extent // parts)) for i in range(parts)]


class AverageParts(Primitive):
    """y[..., i, ...] = the average of x over part i of one axis"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int, parts: int) -> Any:
        xp = ctx.xp
        extent, before = x.shape[axis], (slice(None),) * axis
        ctx.axis, ctx.extent = axis, extent
        if parts == 1:
            return xp.mean(x, axis=axis, keepdims=True)
        if extent % parts == 0:
            split = xp.reshape(x, (*x.shape[:axis], parts, extent // parts, *x.shape[axis + 1 :]))
            return xp.mean(split, axis=axis + 1)
        return xp.stack(
            [xp.mean(x[(*before, slice(*one))], axis=axis) for one in _bounds(extent, parts)], axis=axis
        )

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(SpreadParts, grad, axis=ctx.axis, extent=ctx.extent)


class SpreadParts(Primitive):
    """The adjoint: y[..., i, ...] divided evenly among the pixels of part i"""

    @staticmethod
    def forward(ctx: Any, y: Any, *, axis: int, extent: int) -> Any:
        xp = ctx.xp
        parts, before = y.shape[axis], (slice(None),) * axis
        ctx.axis, ctx.parts = axis, parts
        if parts and extent % parts == 0:
            return xp.repeat(y * (parts / extent), extent // parts, axis=axis)
        x = xp.zeros((*y.shape[:axis], extent, *y.shape[axis + 1 :]), dtype=y.dtype)
        for part, (start, stop) in enumerate(_bounds(extent, parts)):
            x[(*before, slice(start, stop))] += y[(*before, slice(part, part + 1))] / (stop - start)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(AverageParts, grad, axis=ctx.axis, parts=ctx.parts)


def target_extents(name: str, dims: int, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """The wanted extents, None standing for the input's own."""
    if input.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"{name}: Expected {dims + 1}D or {dims + 2}D tensor, but got input of shape {tuple(input.shape)}"
        )
    own = input.array.shape[-dims:]
    given = [output_size] * dims if output_size is None or isinstance(output_size, int) else list(output_size)
    if len(given) != dims:
        raise RuntimeError(f"{name}: output_size must be {dims} numbers, got {output_size!r}")
    wanted = tuple(extent if one is None else int(one) for one, extent in zip(given, own, strict=True))
    if min(wanted) < 0 or 0 in own:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions and output_size >= 0,"
            f" but input has sizes {list(input.shape)} and output_size is {list(wanted)}"
        )
    return wanted


def adaptive_average(name: str, dims: int, input: Tensor, output_size: Any) -> Tensor:
    """The averages over windows chosen so that ``output_size`` come out, along one axis after the other."""
    wanted = target_extents(name, dims, input, output_size)
    for axis, parts in enumerate(wanted, start=input.ndim - dims):
        if parts != input.array.shape[axis]:
            input = AverageParts.apply(input, axis=axis, parts=parts)
    return input


def by_parts(x, size, dims, reduce):
    sizes = [size] * dims if size is None or isinstance(size, int) else size
    for axis, parts in zip(range(x.ndim - dims, x.ndim), sizes, strict=True):
        bounds = _bounds(x.shape[axis], x.shape[axis] if parts is None else parts)
        x = np.stack([reduce(np.take(x, range(*one), axis), axis) for one in bounds], axis)
    return x


def _averages(dims: int) -> Callable[..., np.ndarray]:
    return lambda x, size: by_parts(x, size, dims, np.mean)


@op(
    primitive=AverageParts,
    reference=_averages(1),
    samples=[sample(arg(2, 3, 7), 3), sample(arg(3, 8), 4), sample(arg(2, 3, 5), 1), sample(arg(2, 3, 2), 5)],
    **POOL,
    also=("adaptive_avg_pool1d",),
)
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """Averages over windows chosen so that ``output_size`` come out: input (n, c, length) or (c, length).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_avg_pool1d(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[2., 7.]])
    """
    return adaptive_average("adaptive_avg_pool1d", 1, input, output_size)


@op(
    primitive=AverageParts,
    reference=_averages(2),
    samples=[
        sample(arg(2, 3, 5, 7), (3, 2)),
        sample(arg(2, 3, 4, 6), 2),
        sample(arg(3, 4, 5), 1),
        sample(arg(2, 3, 4, 5), (None, 2)),
    ],
    errors=[(sample(arg(4), 2), RuntimeError, "Expected 3D or 4D tensor")],
    **POOL,
)
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """Averages over windows chosen so that ``output_size`` (height, width; None: as it is) come out.

    Window i of m over a side of n begins at floor(i n / m) and ends before ceil((i + 1) n / m).
    input (n, c, h, w) or (c, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_avg_pool2d(accelgrad.arange(16.0).reshape(1, 4, 4), 1)
    tensor([[[7.5000]]])
    """
    return adaptive_average("adaptive_avg_pool2d", 2, input, output_size)


@op(primitive=AverageParts, reference=_averages(3), samples=[sample(arg(2, 3, 4, 3, 5), (2, 3, 2))], **POOL)
def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """:func:`adaptive_avg_pool2d` for volumes: input (n, c, d, h, w) or (c, d, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_avg_pool3d(accelgrad.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    return adaptive_average("adaptive_avg_pool3d", 3, input, output_size)


class AdaptiveMax(Primitive):
    """The largest value of every adaptive window of (n, c, h, w)"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, found: list[Any], sizes: tuple[int, int]) -> Any:
        xp = ctx.xp
        values, places = [], []
        width = x.shape[3]
        for top, bottom in _bounds(x.shape[2], sizes[0]):
            for left, right in _bounds(width, sizes[1]):
                window = xp.reshape(
                    x[:, :, top:bottom, left:right], (*x.shape[:2], (bottom - top) * (right - left))
                )
                tap = xp.argmax(window, axis=2)
                values.append(xp.squeeze(xp.take_along_axis(window, xp.expand_dims(tap, 2), axis=2), axis=2))
                places.append((top + tap // (right - left)) * width + left + tap % (right - left))
        shape = (*x.shape[:2], *sizes)
        found.append(xp.reshape(xp.stack(places, axis=2), shape))
        ctx.indices, ctx.shape = found[0], x.shape
        return xp.reshape(xp.stack(values, axis=2), shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(AddAtPlaces, grad, indices=ctx.indices, shape=ctx.shape)


def adaptive_maximum(name: str, dims: int, input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    wanted = target_extents(name, dims, input, output_size)
    batched = input.ndim == dims + 2
    x = input if batched else input.unsqueeze(0)
    if dims == 1:
        x = x.unsqueeze(2)
    found: list[Any] = []
    sizes = (1,) * (2 - dims) + wanted
    space = x.array.shape[2:]
    if all(extent % size == 0 for extent, size in zip(space, sizes, strict=True)):
        kernel = tuple(extent // size for extent, size in zip(space, sizes, strict=True))
        y = MaxPool.apply(x, found=found, kernel=kernel, stride=kernel)
    else:
        y = AdaptiveMax.apply(x, found=found, sizes=sizes)
    indices = wrap(found[0], input.xp)
    if dims == 1:
        y, indices = y.squeeze(2), indices.squeeze(2)
    return (y, indices) if batched else (y.squeeze(0), indices.squeeze(0))


@op(
    primitive=AdaptiveMax,
    samples=[
        sample(arg(2, 3, 7, distinct=True), 3),
        sample(arg(3, 8, distinct=True), 4, return_indices=True),
    ],
    **POOL,
    also=("adaptive_max_pool1d",),
)
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """Maxima over windows chosen so that ``output_size`` come out: input (n, c, length) or (c, length).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_max_pool1d(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[3., 9.]])
    """
    result = adaptive_maximum("adaptive_max_pool1d", 1, input, output_size)
    return result if return_indices else result[0]


@op(
    primitive=AdaptiveMax,
    reference=lambda x, size, return_indices=False: by_parts(x, size, 2, np.max),
    samples=[
        sample(arg(2, 3, 5, 7, distinct=True), (3, 2)),
        sample(arg(2, 4, 6, distinct=True), 2),
        sample(arg(1, 2, 4, 5, distinct=True), (None, 2)),
    ],
    **POOL,
)
def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Any:
    """Maxima over windows chosen as in :func:`adaptive_avg_pool2d`.

    With ``return_indices`` also their flat places.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_max_pool2d(accelgrad.arange(16.0).reshape(1, 4, 4), (1, 2))
    tensor([[[13., 15.]]])
    """
    result = adaptive_maximum("adaptive_max_pool2d", 2, input, output_size)
    return result if return_indices else result[0]


# --- power averages


def power_pooled(
    name: str, dims: int, input: Tensor, power: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    kernel = tuple_of(kernel_size, dims, "kernel_size", name)
    mean = _avg_pool(name, dims, input**power, kernel, stride, 0, ceil_mode, True, None)
    return (mean * product(kernel)) ** (1 / power)


def lp_reference(dims: int) -> Callable[..., np.ndarray]:
    def pool(x, power, kernel, stride=None, ceil_mode=False):
        mean = _average(x**power, kernel, stride, 0, ceil_mode, dims=dims)
        return (mean * np.prod(np.broadcast_to(kernel, dims))) ** (1 / power)

    return pool


@op(
    primitive=SumWindows,
    reference=lp_reference(1),
    samples=[sample(arg(2, 3, 6, low=0.5), 2, 3), sample(arg(2, 7, low=0.5), 3.0, 2, 2, True)],
    **POOL,
)
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """``(sum of x ** p) ** (1 / p)`` over every window of sequences: input (n, c, length) or (c, length).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.lp_pool1d(accelgrad.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return power_pooled("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


@op(
    primitive=SumWindows,
    reference=lp_reference(2),
    samples=[sample(arg(2, 3, 4, 4, low=0.5), 2, 2), sample(arg(2, 5, 4, low=0.5), 3.0, (2, 3), 1)],
    **POOL,
)
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """``(sum of x ** p) ** (1 / p)`` over every window: input (n, c, h, w) or (c, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.lp_pool2d(accelgrad.ones(1, 2, 2), 2, 2)
    tensor([[[2.]]])
    """
    return power_pooled("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)
