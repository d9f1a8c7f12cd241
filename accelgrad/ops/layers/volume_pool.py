"""Pools of volumes that are composed of others: adaptive_max_pool3d, lp_pool3d, max_unpool3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.ops.layers.avg_pool import (
    POOL,
    AdaptiveMax,
    SumWindows,
    adaptive_maximum,
    by_parts,
    lp_reference,
    power_pooled,
    target_extents,
)
from accelgrad.ops.layers.pool import PutAtPlaces, unpooled
from accelgrad.ops.pointwise.arithmetic import div
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.gather import gather

__all__ = ["adaptive_max_pool3d", "lp_pool3d", "max_unpool3d"]


@op(
    primitive=AdaptiveMax,
    reference=lambda x, size, return_indices=False: by_parts(x, size, 3, np.max),
    samples=[
        sample(arg(2, 2, 4, 5, 3, distinct=True), (3, 2, 2)),
        sample(arg(2, 4, 4, 2, distinct=True), 2),
        sample(arg(1, 2, 3, 4, 5, distinct=True), (None, 2, 1)),
    ],
    errors=[(sample(arg(2, 3), 2), RuntimeError, "adaptive_max_pool3d: Expected 4D or 5D tensor")],
    **POOL,
)
def adaptive_max_pool3d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Any:
    """Maxima over windows chosen so that ``output_size`` come out: input (n, c, d, h, w) or (c, d, h, w).

    The largest value of a box is that of its slices' largest values; with ``return_indices`` also the flat
    places in the volume.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.adaptive_max_pool3d(accelgrad.arange(8.0).reshape(1, 2, 2, 2), (2, 1, 1)).reshape(-1)
    tensor([3., 7.])
    """
    name = "adaptive_max_pool3d"
    od, oh, ow = target_extents(name, 3, input, output_size)
    x: Any = input if input.ndim == 5 else input.unsqueeze(0)
    n, c, d, h, w = x.array.shape
    slices, within = adaptive_maximum(name, 2, x.reshape(n, c * d, h, w), (oh, ow))
    y, chosen = adaptive_maximum(name, 2, slices.reshape(n, c, d, oh * ow), (od, oh * ow))
    y = y.reshape(n, c, od, oh, ow)
    if not return_indices:
        return y if input.ndim == 5 else y.squeeze(0)
    chosen = chosen.reshape(n, c, od * oh * ow)
    within = gather(within.reshape(n, c, d * oh * ow), 2, chosen)
    depth = div(chosen, max(oh * ow, 1), rounding_mode="floor")
    places = (depth * (h * w) + within).reshape(n, c, od, oh, ow)
    return (y, places) if input.ndim == 5 else (y.squeeze(0), places.squeeze(0))


@op(
    primitive=SumWindows,
    reference=lp_reference(3),
    samples=[
        sample(arg(1, 2, 4, 4, 2, low=0.5), 2, 2),
        sample(arg(2, 3, 5, 4, low=0.5), 3.0, (2, 3, 1), 1),
    ],
    **POOL,
)
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """``(sum of x ** p) ** (1 / p)`` over every window: input (n, c, d, h, w) or (c, d, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.lp_pool3d(accelgrad.ones(1, 1, 2, 2), 2, (1, 2, 2))
    tensor([[[[2.]]]])
    """
    return power_pooled("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


@op(
    primitive=PutAtPlaces,
    samples=[
        sample(arg(1, 1, 1, 1, 2), arg(values=[[[[[0, 7]]]]], dtype="int64"), 2),
        sample(arg(1, 1, 2, 1), arg(values=[[[[3], [8]]]], dtype="int64"), 2, output_size=(2, 5, 3)),
    ],
    errors=[
        (sample(arg(1, 1, 1, 1, 2), arg(1, 1, 1, 1, 1, dtype="int64"), 2), RuntimeError, "Expected shape")
    ],
    **POOL,
)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the maxima of :func:`max_pool3d` back to where its ``indices`` say they were; 0 elsewhere.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> x = accelgrad.arange(8.0).reshape(1, 2, 2, 2)
    >>> F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), 2).sum()
    tensor(7.)
    """
    return unpooled("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
