"""Images of another size: interpolate, upsample, pixel_shuffle, channel_shuffle."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import product
from accelgrad.ops.layers.avg_pool import adaptive_average
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating

__all__ = [
    "channel_shuffle",
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


def _smooth(
    count: int, extent: int, scale: float | None, align_corners: bool, cubic: bool
) -> tuple[Any, Any]:
    """Weights that reach over all old pixels that a new one covers: where images shrink, none is left out.

    The triangle, or Keys' cubic with a = -0.5, as wide as a new pixel.
    """
    if align_corners:
        step = (extent - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / scale if scale else extent / count
    width = max(step, 1.0)
    reach = (2.0 if cubic else 1.0) * width
    centres = step * (np.arange(count) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), extent)
    places, weights = [], []
    for tap in range(int((last - first).max())):
        d = np.abs((first + tap - centres + 0.5) / width)
        if cubic:
            a = -0.5
            weight = np.where(
                d < 1,
                ((a + 2) * d - (a + 3)) * d * d + 1,
                np.where(d < 2, (((d - 5) * d + 8) * d - 4) * a, 0),
            )
        else:
            weight = np.maximum(1 - d, 0)
        weights.append(np.where(first + tap < last, weight, 0.0))
        places.append(np.minimum(first + tap, extent - 1))
    total = np.sum(weights, axis=0)
    return places, tuple(weight / np.where(total == 0, 1, total) for weight in weights)


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
            "Input and output must have the same number of spatial dimensions,"
            f" but got input with spatial dimensions of {list(space)}"
            f" and {'size' if size is not None else 'scale_factor'} of {values}."
            " Please provide input tensor in (N, C, d1, d2, ...,dK) format"
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
        sample(arg(1, 2, 7, 6), size=(3, 8), mode="bilinear", antialias=True),
        sample(arg(1, 2, 7, 6), size=(3, 8), mode="bilinear", align_corners=True, antialias=True),
        sample(arg(1, 2, 7, 6), scale_factor=(0.4, 1.5), mode="bicubic", antialias=True),
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
    """Resize images to the wanted ``size``, or by a factor.

    input (n, c, length), (n, c, h, w) or (n, c, d, h, w).

    ``mode``: "nearest", "nearest-exact", "linear" (3-D input), "bilinear" (4-D), "trilinear" (5-D),
    "bicubic" (4-D), "area" (averages).  With ``align_corners`` the centres of the corner pixels meet,
    otherwise their outer edges. Every axis is resampled by itself.  ``antialias`` ("bilinear", "bicubic")
    lets every old pixel count where images shrink.  ValueError or NotImplementedError for options that do not
    fit.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.interpolate(accelgrad.tensor([[[0.0, 1.0]]]), size=4, mode="linear")
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes:"
                " linear | bilinear | bicubic | trilinear"
            )
    elif mode not in ("linear", "bilinear", "trilinear", "bicubic"):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes:"
            f" nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    elif input.ndim != (wanted := {"linear": 3, "trilinear": 5}.get(mode, 4)):
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {wanted}D input")
    if input.ndim not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D)"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    counts, scales = _sizes(input, size, scale_factor)
    if recompute_scale_factor:
        scales = [None] * len(scales)
    if min(counts) <= 0 or input.array.size == 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input (H:"
            f" {list(input.shape[2:])}) output (H: {counts})"
        )
    if mode == "area":
        return adaptive_average("interpolate", input.ndim - 2, input, counts)
    xp, kind = input.xp, input.array.dtype
    if not mode.startswith("nearest"):
        must_be_floating(input.array, mode)
    for axis, (count, scale) in enumerate(zip(counts, scales, strict=True), start=2):
        extent = input.array.shape[axis]
        if count == extent and mode not in ("bicubic", "nearest-exact") and not antialias:
            continue  # whatever scale was given: as PyTorch has it
        if mode.startswith("nearest"):
            places, weights = (_nearest(count, extent, scale, mode == "nearest-exact"),), (None,)
        else:
            rule: Any = _cubic if mode == "bicubic" else _linear
            if antialias:
                rule = functools.partial(_smooth, cubic=mode == "bicubic")
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


@op(primitive=Mix, samples=[sample(arg(1, 2, 3), size=5), sample(arg(1, 2, 3, 3), scale_factor=2)], **F_OP)
def upsample_nearest(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """:func:`interpolate` by the nearest pixel, under an older name.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.upsample_nearest(accelgrad.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, mode="nearest")


@op(primitive=Mix, samples=[sample(arg(1, 2, 3, 3), scale_factor=2)], **F_OP)
def upsample_bilinear(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """:func:`interpolate` of images, bilinear with ``align_corners=True``, under an older name.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.upsample_bilinear(accelgrad.tensor([[[[1.0, 2.0]]]]), size=(1, 3))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


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
    also=("nn.functional.pixel_shuffle",),
)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels to pixels: (..., c r², h, w) to (..., c, h r, w r), r being ``upscale_factor``.

    Shi et al. 2016.

    >>> import accelgrad
    >>> accelgrad.pixel_shuffle(accelgrad.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions,"
            f" but got input with {input.ndim} dimension(s)"
        )
    *batch, c, h, w = input.array.shape
    if r <= 0 or c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible"
            f" by the square of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
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
    also=("nn.functional.pixel_unshuffle",),
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
            "pixel_unshuffle expects input to have at least 3 dimensions,"
            f" but got input with {input.ndim} dimension(s)"
        )
    *batch, c, h, w = input.array.shape
    for name, extent in (("height", h), ("width", w)):
        if r <= 0 or extent % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor,"
                f" but input.size is {extent} and downscale_factor={r}"
            )
    x: Any = input.reshape(product(batch), c, h // r, r, w // r, r)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(*batch, c * r * r, h // r, w // r)


@op(
    reference=lambda x, g: x.reshape(len(x), g, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape),
    samples=[sample(arg(2, 6, 3), 3), sample(arg(1, 4, 2, 2), 2)],
    errors=[(sample(arg(1, 4, 2), 3), RuntimeError, "Number of channels must be divisible by groups")],
    method=False,
    also=("nn.functional.channel_shuffle",),
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
