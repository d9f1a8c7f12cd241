"""Images and volumes at any points: grid_sample, affine_grid."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.reduced import one_step
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.layers.resample import F_OP
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.fill import where


@op(
    samples=[
        sample(arg(2, 2, 3), [2, 1, 3, 4]),
        sample(arg(1, 2, 3), (1, 2, 2, 2), align_corners=True),
        sample(arg(2, 3, 4), [2, 1, 2, 3, 2], align_corners=False),
    ],
    errors=[
        (sample(arg(2, 3, 4), [2, 1, 3, 4]), ValueError, "Expected a batch of 2D affine matrices"),
        (sample(arg(2, 2, 3), [2, 1, 3, 4, 5]), ValueError, "Expected a batch of 3D affine matrices"),
        (sample(arg(2, 2, 3), [2, 1]), NotImplementedError, "affine_grid only supports 4D and 5D sizes"),
    ],
    **F_OP,
)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return where the pixels of an image ``size`` come from under the affine maps theta.

    For (n, c, h, w) and maps (n, 2, 3) it is (n, h, w, 2) of (x, y); for volumes (n, c, d, h, w) and maps
    (n, 3, 4) it is (n, d, h, w, 3) of (x, y, z).

    Coordinates run from -1 to 1: between the centres of the corner pixels with ``align_corners``, else their
    outer edges.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> identity = accelgrad.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> F.affine_grid(identity, (1, 1, 1, 2), align_corners=True)
    tensor([[[[-1.,  0.],
              [ 1.,  0.]]]])
    """
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively."
            f" Got size {list(size)}"
        )
    n, _, *space = size
    count = len(space)
    if tuple(theta.shape) != (n, count, count + 1):
        raise ValueError(
            f"Expected a batch of {count}D affine matrices of shape Nx{count}x{count + 1} for size"
            f" {list(size)}."
            f" Got {theta.shape}."
        )
    xp = theta.xp

    def line(extent: int) -> np.ndarray:
        if align_corners:
            return np.linspace(-1, 1, extent) if extent > 1 else np.zeros(1)
        return (2 * np.arange(extent) + 1) / extent - 1

    axes = np.meshgrid(*[line(extent) for extent in space], indexing="ij")
    base = np.stack([*reversed(axes), np.ones(space)], axis=-1).reshape(math.prod(space), count + 1)
    points = wrap(xp.from_host(base.astype(theta.dtype.name)), xp)
    return (points @ theta.transpose(1, 2)).reshape(n, *space, count)


class _Places:
    """From coordinates to pixel numbers: what padding and the place of the corners mean."""

    def __init__(self, padding: str, align_corners: bool) -> None:
        self.padding, self.align_corners = padding, align_corners

    def numbers(self, values: Any, extent: int) -> Any:
        """-1 ... 1 as pixel numbers, not yet brought into the image."""
        if self.align_corners:
            return (values + 1) * ((extent - 1) / 2)
        return ((values + 1) * extent - 1) / 2

    def folded(self, xp: Any, raw: Any, extent: int) -> tuple[Any, Any]:
        """(sign, start): sign raw + start is raw reflected at the edges until it lies within."""
        low, high = (0.0, extent - 1.0) if self.align_corners else (-0.5, extent - 0.5)
        span = high - low
        if span == 0:
            return xp.zeros_like(raw), xp.zeros_like(raw)
        turns = xp.floor(xp.abs(raw - low) / span)
        odd = turns % 2 == 1  # walks backwards
        sign = xp.where(raw < low, -1.0, 1.0) * xp.where(odd, -1.0, 1.0)
        start = xp.where(odd, (turns + 1) * span, -turns * span)
        return sign, start + low - low * sign

    def within(self, place: Tensor, extent: int) -> Tensor:
        """Pixel numbers with the padding applied; gradients pass."""
        if self.padding == "zeros":
            return place
        if self.padding == "reflection":
            sign, start = self.folded(place.xp, place.array, extent)
            place = place * _constant(place.xp, sign, place) + _constant(place.xp, start, place)
        inside = (place.array > 0) & (place.array < extent - 1)
        place = place.clamp(0, extent - 1)
        # At the edge itself PyTorch's gradient is 0, that of its clamp is not.
        return where(wrap(inside, place.xp), place, place.detach())

    def pixels(self, xp: Any, raw: Any, extent: int) -> Any:
        """Whole pixel numbers with the padding applied."""
        if self.padding == "reflection":
            sign, start = self.folded(xp, raw, extent)
            raw = raw * sign + start
        return raw if self.padding == "zeros" else xp.clip(raw, 0, extent - 1)


def _constant(xp: Any, array: Any, like: Tensor) -> Tensor:
    return wrap(array.astype(like.array.dtype), xp)


def _looker(input: Tensor, shape: tuple[int, ...]) -> Any:
    """A function of whole pixel numbers, an array for each axis, that gives the pixels there, 0 outside."""
    n, c, *space = input.array.shape
    xp = input.xp
    flat: Any = input.reshape(n, c, math.prod(space))
    points = math.prod(shape)

    def look(places: Sequence[Any]) -> Any:
        inside, index = True, 0
        for place, extent in zip(places, space, strict=True):
            inside = inside & (place >= 0) & (place < extent)
            index = index * extent + xp.clip(place, 0, extent - 1).astype(np.int64)
        index = xp.where(inside, index, 0)  # a number that is NaN is nowhere
        index = xp.broadcast_to(xp.reshape(index, (n, 1, points)), (n, c, points))
        seen = flat.gather(2, wrap(index, xp)).reshape(n, c, *shape)
        return seen * _constant(xp, xp.expand_dims(inside, 1), seen)

    return look


def _cubic_weights(t: Any) -> list[Any]:
    """Keys 1981, with a = -0.75, for the pixels at -1, 0, 1 and 2 when the point lies t after 0."""
    a = -0.75
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
    return [far[0], near[0], near[1], far[1]]


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
        sample(arg(1, 2, 4, 5), arg(1, 2, 3, 2), mode="bicubic", align_corners=False),
        sample(arg(1, 1, 4, 5), arg(1, 2, 3, 2), mode="bicubic", padding_mode="border", align_corners=True),
        sample(
            arg(1, 1, 4, 5), arg(1, 2, 3, 2), mode="bicubic", padding_mode="reflection", align_corners=False
        ),
        sample(arg(2, 2, 3, 4, 5), arg(2, 2, 1, 3, 3, low=-1.2, high=1.2), align_corners=False),
        sample(
            arg(1, 1, 3, 4, 5),
            arg(1, 2, 2, 2, 3, requires_grad=False),
            mode="nearest",
            padding_mode="border",
            align_corners=True,
        ),
    ],
    errors=[
        (
            sample(arg(1, 1, 2, 2), arg(1, 2, 2, 2), mode="cubic"),
            ValueError,
            "expected mode to be 'bilinear', 'nearest' or 'bicubic'",
        ),
        (
            sample(arg(2, 1, 2, 2), arg(1, 2, 2, 2)),
            RuntimeError,
            "expected grid and input to have same batch size",
        ),
        (
            sample(arg(1, 1, 2, 2, 2), arg(1, 1, 2, 2, 3), mode="bicubic", align_corners=True),
            RuntimeError,
            "bicubic interpolation only supports 4D input",
        ),
        (
            sample(arg(1, 1, 2, 2), arg(1, 2, 2, 3)),
            RuntimeError,
            "expected grid to have size 2 in last dimension",
        ),
        (sample(arg(1, 2, 2), arg(1, 2, 2)), RuntimeError, "expected 4D or 5D input and grid"),
    ],
    **F_OP,
)
@one_step()
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The image input (n, c, h, w) at the points grid (n, oh, ow, 2) of (x, y) from -1 to 1: (n, c, oh, ow).

    Likewise volumes (n, c, d, h, w) at points (n, od, oh, ow, 3) of (x, y, z).  ``mode`` "bilinear" (linear
    in every dimension), "nearest" or "bicubic" (images); outside the image ``padding_mode`` "zeros",
    "border" or "reflection".  Jaderberg et al. 2015, equation 5; Keys 1981.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.grid_sample(accelgrad.tensor([[[[1.0, 3.0]]]]), accelgrad.zeros(1, 1, 1, 2), align_corners=False)
    tensor([[[[2.]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got:"
            f" '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection',"
            f" but got: '{padding_mode}'"
        )
    count = input.ndim - 2
    if count not in (2, 3) or grid.ndim != input.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions,"
            f" but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.array.shape[0] != grid.array.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size,"
            f" but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.array.shape[-1] != count:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {count} in last dimension,"
            f" but got grid with sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and count != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0."
            " Please specify align_corners=True if the old behavior is desired.",
            stacklevel=3,
        )
    xp, space = input.xp, input.array.shape[2:]
    rule = _Places(padding_mode, bool(align_corners))
    look = _looker(input, grid.array.shape[1:-1])
    places = [rule.numbers(grid[..., count - 1 - axis], extent) for axis, extent in enumerate(space)]
    if mode != "bicubic":
        places = [rule.within(place, extent) for place, extent in zip(places, space, strict=True)]
    if mode == "nearest":
        return look([xp.rint(place.array) for place in places])
    lows = [xp.floor(place.array) for place in places]
    # How far each point lies after the pixel before it: (n, 1, ...).
    shares = [
        (place - _constant(xp, low, place)).unsqueeze(1) for place, low in zip(places, lows, strict=True)
    ]
    if mode == "bicubic":
        taps, weights = range(-1, 3), [_cubic_weights(share) for share in shares]
    else:
        taps, weights = range(2), [[1 - share, share] for share in shares]
    result: Any = 0.0
    for choice in itertools.product(range(len(taps)), repeat=count):
        chosen = [low + taps[k] for low, k in zip(lows, choice, strict=True)]
        if mode == "bicubic":
            chosen = [rule.pixels(xp, one, extent) for one, extent in zip(chosen, space, strict=True)]
        weight = math.prod((weights[axis][k] for axis, k in enumerate(choice)), start=1)
        result = result + look(chosen) * weight
    return result
