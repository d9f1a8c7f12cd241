"""Images of another size: interpolate, upsample, pixel_shuffle, grid_sample, affine_grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.ops.avg_pool import adaptive_average
from accelgrad.ops.checks import floating
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.windows import product
from accelgrad.primitive import Primitive
from accelgrad.tensor import Tensor, wrap

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
]

F_OP: dict[str, Any] = {"namespace": "nn.functional", "method": False, "out": False}


class Mix(Primitive):
    """y[..., i, ...] = the sum over k of weight[k, i] x[..., place[k, i], ...] along one axis"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int, places: Any, weights: Any) -> Any:
        ctx.axis, ctx.places, ctx.weights, ctx.extent = axis, places, weights, x.shape[axis]
        xp = ctx.xp
        y = None
        for place, weight in zip(places, weights, strict=True):
            term = xp.take(x, place, axis=axis)
            if weight is not None:
                term = term * xp.reshape(weight, (-1,) + (1,) * (x.ndim - 1 - axis))
            y = term if y is None else y + term
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(
            Unmix, grad, axis=ctx.axis, places=ctx.places, weights=ctx.weights, extent=ctx.extent
        )


class Unmix(Primitive):
    """The adjoint: weight[k, i] y[..., i, ...] added to x[..., place[k, i], ...]"""

    @staticmethod
    def forward(ctx: Any, y: Any, *, axis: int, places: Any, weights: Any, extent: int) -> Any:
        ctx.axis, ctx.places, ctx.weights = axis, places, weights
        xp = ctx.xp
        x = xp.zeros((*y.shape[:axis], extent, *y.shape[axis + 1 :]), dtype=y.dtype)
        for place, weight in zip(places, weights, strict=True):
            term = y if weight is None else y * xp.reshape(weight, (-1,) + (1,) * (y.ndim - 1 - axis))
            x = xp.index_add(x, axis, place, term)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(Mix, grad, axis=ctx.axis, places=ctx.places, weights=ctx.weights)


def _source(count: int, extent: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """Where the centres of ``count`` new pixels lie among ``extent`` old ones."""
    i = np.arange(count, dtype=np.float64)
    if align_corners:
        return i * ((extent - 1) / (count - 1) if count > 1 else 0.0)
    return (i + 0.5) * (1 / scale if scale else extent / count) - 0.5


def _nearest(count: int, extent: int, scale: float | None, exact: bool) -> np.ndarray:
    if not exact and count == 2 * extent:
        return np.arange(count) // 2
    step = np.float32(1 / scale if scale else extent / count)  # float32, so that ties fall as in PyTorch
    places = np.floor((np.arange(count, dtype=np.float32) + np.float32(0.5 if exact else 0)) * step)
    return np.clip(places.astype(np.int64), 0, extent - 1)


def _linear(count: int, extent: int, scale: float | None, align_corners: bool) -> tuple[Any, Any]:
    source = np.maximum(_source(count, extent, scale, align_corners), 0)
    low = np.minimum(source.astype(np.int64), extent - 1)
    share = source - low
    return (low, np.minimum(low + 1, extent - 1)), (1 - share, share)


def _cubic(count: int, extent: int, scale: float | None, align_corners: bool) -> tuple[Any, Any]:
    """Keys 1981, with a = -0.75."""
    source = _source(count, extent, scale, align_corners)
    low = np.floor(source).astype(np.int64)
    t, a = source - low, -0.75
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
    places = [np.clip(low + k, 0, extent - 1) for k in (-1, 0, 1, 2)]
    return places, (far[0], near[0], near[1], far[1])


LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def _sizes(input: Tensor, size: Any, scale_factor: Any) -> tuple[list[int], list[float | None]]:
    """The wanted extents, and the scales that were given for them."""
    space = input.array.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "only one of size or scale_factor should be defined"
            if size is not None
            else "either size or scale_factor should be defined"
        )
    given = size if size is not None else scale_factor
    values = list(given) if isinstance(given, Sequence) else [given] * len(space)
    if len(values) != len(space):
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with spatial"
            " dimensions of"
            f" {list(space)} and {'size' if size is not None else 'scale_factor'} of {values}. Please"
            " provide input"
            " tensor in (N, C, d1, d2, ...,dK) format"
        )
    if size is not None:
        return [int(one) for one in values], [None] * len(values)
    return [math.floor(extent * float(one)) for extent, one in zip(space, values, strict=True)], [
        float(one) for one in values
    ]


@op(
    primitive=Mix,
    samples=[
        sample(arg(2, 3, 4), size=7),
        sample(arg(1, 2, 4, 5), scale_factor=2),
        sample(arg(1, 2, 4, 5), scale_factor=(1.5, 0.6), mode="bilinear"),
        sample(arg(1, 2, 4, 5), size=(7, 3), mode="bilinear", align_corners=True),
        sample(arg(1, 2, 3, 3), scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        sample(arg(2, 3, 4), size=6, mode="linear", align_corners=False),
        sample(arg(1, 1, 3, 4, 2), scale_factor=2.0, mode="trilinear"),
        sample(arg(1, 2, 4, 5), size=(6, 9), mode="bicubic"),
        sample(arg(1, 2, 4, 5), size=(3, 8), mode="bicubic", align_corners=True),
        sample(arg(1, 2, 5, 5), size=(3, 7), mode="nearest-exact"),
        sample(arg(1, 2, 5, 6), size=(2, 4), mode="area"),
    ],
    errors=[
        (sample(arg(1, 2, 4, 4)), ValueError, "either size or scale_factor should be defined"),
        (
            sample(arg(1, 2, 4, 4), size=2, scale_factor=2),
            ValueError,
            "only one of size or scale_factor should be",
        ),
        (
            sample(arg(1, 2, 4, 4), size=2, mode="linear"),
            NotImplementedError,
            "Got 4D input, but linear mode needs 3D",
        ),
        (
            sample(arg(1, 2, 4, 4), size=2, align_corners=True),
            ValueError,
            "align_corners option can only be set with",
        ),
        (sample(arg(1, 2, 4, 4), size=0), RuntimeError, "Input and output sizes should be greater than 0"),
    ],
    **F_OP,
)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images of another size: input (n, c, length), (n, c, h, w) or (n, c, d, h, w), the wanted ``size`` or
    its factor.

    ``mode``: "nearest", "nearest-exact", "linear" (3-D input), "bilinear" (4-D), "trilinear" (5-D),
    "bicubic" (4-D), "area" (averages).  With ``align_corners`` the centres of the corner pixels meet,
    otherwise their outer edges. Every axis is resampled by itself.  ValueError or NotImplementedError for
    options that do not fit.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.interpolate(accelgrad.tensor([[[0.0, 1.0]]]), size=4, mode="linear")
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear |"
                " bicubic |"
                " trilinear"
            )
    elif mode not in ("linear", "bilinear", "trilinear", "bicubic"):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes:"
            " nearest | linear"
            f" | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    elif input.ndim != (wanted := {"linear": 3, "trilinear": 5}.get(mode, 4)):
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {wanted}D input")
    if input.ndim not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D)"
        )
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not available; blur the image first")
    counts, scales = _sizes(input, size, scale_factor)
    if recompute_scale_factor:
        scales = [None] * len(scales)
    if min(counts) <= 0 or input.array.size == 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input (H: {list(input.shape[2:])})"
            " output (H:"
            f" {counts})"
        )
    if mode == "area":
        return adaptive_average("interpolate", input.ndim - 2, input, counts)
    xp, kind = input.xp, input.array.dtype
    if not mode.startswith("nearest"):
        floating(input.array, mode)
    for axis, (count, scale) in enumerate(zip(counts, scales, strict=True), start=2):
        extent = input.array.shape[axis]
        if count == extent and mode not in ("bicubic", "nearest-exact"):
            continue  # whatever scale was given: as PyTorch has it
        if mode.startswith("nearest"):
            places, weights = (_nearest(count, extent, scale, mode == "nearest-exact"),), (None,)
        else:
            rule = _cubic if mode == "bicubic" else _linear
            places, weights = rule(count, extent, scale, bool(align_corners))
        input = Mix.apply(
            input,
            axis=axis,
            places=tuple(xp.from_host(place) for place in places),
            weights=tuple(
                None if weight is None else xp.from_host(weight.astype(kind)) for weight in weights
            ),
        )
    return input


@op(primitive=Mix, samples=[sample(arg(1, 2, 3, 3), scale_factor=2)], **F_OP)
def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of :func:`interpolate`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.upsample(accelgrad.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def _shuffled(x: np.ndarray, r: int) -> np.ndarray:
    *batch, c, h, w = x.shape
    x = x.reshape(-1, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(*batch, c // r**2, h * r, w * r)


@op(
    reference=_shuffled,
    samples=[sample(arg(1, 8, 2, 3), 2), sample(arg(9, 1, 2), 3), sample(arg(2, 1, 4, 2, 2), 2)],
    errors=[
        (
            sample(arg(1, 3, 2, 2), 2),
            RuntimeError,
            "pixel_shuffle expects its input's 'channel' dimension to be",
        )
    ],
    method=False,
)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels to pixels: (..., c r², h, w) to (..., c, h r, w r), r being ``upscale_factor``.  Shi et al.
    2016.

    >>> import accelgrad
    >>> accelgrad.pixel_shuffle(accelgrad.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim}"
            " dimension(s)"
        )
    *batch, c, h, w = input.array.shape
    if r <= 0 or c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of"
            " upscale_factor, but"
            f" input.size(-3)={c} is not divisible by {r * r}"
        )
    x: Any = input.reshape(product(batch), c // (r * r), r, r, h, w)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(*batch, c // (r * r), h * r, w * r)


def _unshuffled(x: np.ndarray, r: int) -> np.ndarray:
    *batch, c, h, w = x.shape
    x = x.reshape(-1, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(*batch, c * r**2, h // r, w // r)


@op(
    reference=_unshuffled,
    samples=[sample(arg(1, 2, 4, 6), 2), sample(arg(1, 3, 6), 3)],
    errors=[(sample(arg(1, 3, 3), 2), RuntimeError, "pixel_unshuffle expects height to be divisible by")],
    method=False,
)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Pixels to channels: (..., c, h r, w r) to (..., c r², h, w): undoes :func:`pixel_shuffle`.

    >>> import accelgrad
    >>> accelgrad.pixel_unshuffle(accelgrad.arange(4).reshape(1, 2, 2), 2).reshape(-1)
    tensor([0, 1, 2, 3])
    """
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim}"
            " dimension(s)"
        )
    *batch, c, h, w = input.array.shape
    for name, extent in (("height", h), ("width", w)):
        if r <= 0 or extent % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size is"
                f" {extent} and"
                f" downscale_factor={r}"
            )
    x: Any = input.reshape(product(batch), c, h // r, r, w // r, r)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(*batch, c * r * r, h // r, w // r)


@op(
    reference=lambda x, g: x.reshape(len(x), g, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape),
    samples=[sample(arg(2, 6, 3), 3), sample(arg(1, 4, 2, 2), 2)],
    errors=[(sample(arg(1, 4, 2), 3), RuntimeError, "Number of channels must be divisible by groups")],
    method=False,
)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Deals the channels of (n, c, ...) out: channel j of group i becomes channel i of group j.

    Zhang et al. 2018.  RuntimeError where the channels cannot be divided into ``groups``.

    >>> import accelgrad
    >>> accelgrad.channel_shuffle(accelgrad.arange(4).reshape(1, 4, 1), 2).reshape(-1)
    tensor([0, 2, 1, 3])
    """
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    n, c, *space = input.array.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    return input.reshape(n, groups, c // groups, *space).transpose(1, 2).reshape(n, c, *space)


@op(
    samples=[
        sample(arg(2, 2, 3), [2, 1, 3, 4]),
        sample(arg(1, 2, 3), (1, 2, 2, 2), align_corners=True),
    ],
    **F_OP,
)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Where the pixels of an image ``size`` (n, c, h, w) come from under the maps theta (n, 2, 3): (n, h,
    w, 2) of (x, y).

    Coordinates run from -1 to 1: between the centres of the corner pixels with ``align_corners``, else
    their outer edges.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> identity = accelgrad.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> F.affine_grid(identity, (1, 1, 1, 2), align_corners=True)
    tensor([[[[-1.,  0.],
              [ 1.,  0.]]]])
    """
    n, _, h, w = size
    if tuple(theta.shape) != (n, 2, 3):
        raise ValueError(
            f"Expected a batch of 2D affine matrices of shape Nx2x3 for size {list(size)}. Got {theta.shape}."
        )
    xp = theta.xp

    def line(count: int) -> np.ndarray:
        if align_corners:
            return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
        return (2 * np.arange(count) + 1) / count - 1

    base = np.stack([*np.meshgrid(line(w), line(h)), np.ones((h, w))], axis=-1)  # (h, w, 3)
    points = wrap(xp.from_host(base.reshape(h * w, 3).astype(theta.dtype.name)), xp)
    return (points @ theta.transpose(1, 2)).reshape(n, h, w, 2)


@op(
    samples=[
        sample(arg(2, 3, 4, 5), arg(2, 3, 2, 2, low=-1.2, high=1.2), align_corners=False),
        sample(arg(1, 2, 4, 4), arg(1, 3, 3, 2), padding_mode="border", align_corners=True),
        sample(arg(1, 2, 4, 4), arg(1, 3, 3, 2, requires_grad=False), mode="nearest", align_corners=False),
        sample(
            arg(1, 2, 4, 5),
            arg(1, 3, 3, 2, low=-1.5, high=1.5),
            padding_mode="reflection",
            align_corners=False,
        ),
    ],
    errors=[
        (
            sample(arg(1, 1, 2, 2), arg(1, 2, 2, 2), mode="cubic"),
            ValueError,
            "expected mode to be 'bilinear'",
        ),
        (
            sample(arg(2, 1, 2, 2), arg(1, 2, 2, 2)),
            RuntimeError,
            "expected grid and input to have same batch size",
        ),
    ],
    **F_OP,
)
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The image input (n, c, h, w) at the points grid (n, oh, ow, 2) of (x, y) from -1 to 1: (n, c, oh, ow).

    ``mode`` "bilinear" or "nearest"; outside the image ``padding_mode`` "zeros", "border" or "reflection".
    Jaderberg et al. 2015, equation 5.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.grid_sample(accelgrad.tensor([[[[1.0, 3.0]]]]), accelgrad.zeros(1, 1, 1, 2), align_corners=False)
    tensor([[[[2.]]]])
    """
    if mode not in ("bilinear", "nearest"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear' or 'nearest', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection',"
            " but got:"
            f" '{padding_mode}'"
        )
    if input.ndim != 4 or grid.ndim != 4 or grid.array.shape[3] != 2:
        raise RuntimeError(
            "grid_sampler(): expected a 4D input (n, c, h, w) and a grid (n, oh, ow, 2), but got input with"
            " sizes"
            f" {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.array.shape[0] != grid.array.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes"
            f" {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0."
            " Please specify"
            " align_corners=True if the old behavior is desired.",
            stacklevel=3,
        )
    n, c, h, w = input.array.shape
    oh, ow = grid.array.shape[1:3]
    xp = input.xp
    flat: Any = input.reshape(n, c, h * w)

    def pixel(values: Any, extent: int) -> Any:
        """From -1 ... 1 to pixel numbers, brought into the image where the padding mode says so."""
        place = (values + 1) * ((extent - 1) / 2) if align_corners else ((values + 1) * extent - 1) / 2
        if padding_mode == "reflection":
            low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
            span = high - low
            if span == 0:
                return place * 0
            raw = place.array - low
            turns = xp.floor(xp.abs(raw) / span)
            sign = xp.where(raw < 0, -1.0, 1.0)
            odd = xp.where(turns % 2 == 1, -1.0, 1.0)
            # |raw| - turns span walks forwards on even turns and backwards on odd ones.
            start = xp.where(turns % 2 == 1, (turns + 1) * span, -turns * span)
            place = (place - low) * _constant(xp, sign * odd, place) + _constant(xp, start, place) + low
        return place if padding_mode == "zeros" else place.clamp(0, extent - 1)

    def look(rows: Any, columns: Any) -> Any:
        """The pixels at whole places (n, oh, ow), 0 outside."""
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        index = xp.clip(rows, 0, h - 1).astype(np.int64) * w + xp.clip(columns, 0, w - 1).astype(np.int64)
        index = xp.broadcast_to(xp.reshape(index, (n, 1, oh * ow)), (n, c, oh * ow))
        seen = flat.gather(2, wrap(index, xp)).reshape(n, c, oh, ow)
        return seen * _constant(xp, xp.expand_dims(inside, 1), seen)

    columns, rows = pixel(grid[..., 0], w), pixel(grid[..., 1], h)
    if mode == "nearest":
        return look(xp.rint(rows.array), xp.rint(columns.array))
    top, left = xp.floor(rows.array), xp.floor(columns.array)
    down = (rows - _constant(xp, top, rows)).unsqueeze(1)  # how far below the upper row: (n, 1, oh, ow)
    right = (columns - _constant(xp, left, columns)).unsqueeze(1)
    upper = look(top, left) * (1 - right) + look(top, left + 1) * right
    lower = look(top + 1, left) * (1 - right) + look(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def _constant(xp: Any, array: Any, like: Tensor) -> Tensor:
    return wrap(array.astype(like.array.dtype), xp)
