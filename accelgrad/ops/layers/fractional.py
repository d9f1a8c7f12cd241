"""Pooling windows at random places: fractional_max_pool2d, fractional_max_pool3d.  Graham 2014."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.creation.sampling import rand
from accelgrad.ops.reductions.extrema import max
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import tuple_of
from accelgrad.ops.shapes.gather import gather
from accelgrad.ops.shapes.shape import reshape, squeeze, unsqueeze


def _starts(xp: Any, draws: Any, size: int, outputs: int, kernel: int) -> Any:
    """Where each window begins, (..., outputs): floor((i + u) a) - floor(u a), and the last one at the end.

    Graham 2014, the "pseudorandom" sequences of section 2.1, as PyTorch counts them.
    """
    if outputs == 1:
        return xp.full((*draws.shape, 1), size - kernel, dtype="int64")
    ratio = (size - kernel) / (outputs - 1)
    u = xp.expand_dims(draws, -1).astype("float64")
    places = xp.floor((xp.arange(outputs - 1) + u) * ratio) - xp.floor(u * ratio)
    last = xp.full((*draws.shape, 1), size - kernel, dtype="int64")
    return xp.concatenate([places.astype("int64"), last], axis=-1)


def _pooled(
    name: str,
    count: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"{name} requires specifying either an output_size or an output_ratio, and not both of them"
        )
    if input.array.ndim not in (count + 1, count + 2):
        raise RuntimeError(
            f"{name}(): Expected {count + 1}D or {count + 2}D tensor, but got: {input.array.ndim}D"
        )
    kernel = tuple_of(kernel_size, count, "kernel_size", name)
    extents = input.array.shape[-count:]
    if output_size is not None:
        outputs = tuple_of(output_size, count, "output_size", name)
    else:
        ratios = output_ratio if isinstance(output_ratio, list | tuple) else (output_ratio,) * count
        outputs = tuple(int(size * ratio) for size, ratio in zip(extents, ratios, strict=True))
    for size, one, width in zip(extents, outputs, kernel, strict=True):
        if one + width - 1 > size or one < 1:
            raise RuntimeError(
                f"{name}(): pool of size {width} with {one} outputs is too large relative to the input size"
                f" {size}"
            )
    single = input.array.ndim == count + 1
    x = unsqueeze(input, 0) if single else input
    xp, (n, c) = x.xp, x.array.shape[:2]
    if samples is None:
        samples = rand(n, c, count, dtype=input.dtype, device=input.device)
    if samples.array.shape != (n, c, count):
        raise RuntimeError(
            f"{name}(): expected _random_samples of shape {(n, c, count)}, got {tuple(samples.array.shape)}"
        )
    # As in PyTorch, the draws of an image stand in the order (w, h), those of a volume in (d, h, w).
    places: Any = 0
    line = (n, c)
    for axis in range(count):
        draws = samples.array[..., 1 - axis if count == 2 else axis]
        start = _starts(xp, draws, extents[axis], outputs[axis], kernel[axis])  # (n, c, outputs)
        within = xp.expand_dims(start, -1) + xp.arange(kernel[axis])  # (n, c, outputs, kernel)
        shape = (*line, *_only(outputs, axis), *_only(kernel, axis))
        places = places * extents[axis] + xp.reshape(within, shape)
    grid = xp.broadcast_to(places, (n, c, *outputs, *kernel))
    length, shares = math.prod(outputs), math.prod(kernel)
    flat_index = xp.reshape(grid, (n, c, length * shares))
    flat = reshape(x, (n, c, math.prod(extents)))
    found = gather(flat, 2, wrap(xp.ascontiguousarray(flat_index), xp))
    values, chosen = max(reshape(found, (n, c, *outputs, shares)), -1)
    indices = xp.take_along_axis(
        xp.reshape(grid, (n, c, *outputs, shares)), xp.expand_dims(chosen.array, -1), axis=-1
    )[..., 0]
    results = (values, wrap(indices, xp))
    if single:
        results = (squeeze(results[0], 0), squeeze(results[1], 0))
    return results if return_indices else results[0]


def _only(sizes: Sequence[int], axis: int) -> tuple[int, ...]:
    """One extent, and 1 for the others."""
    return tuple(size if place == axis else 1 for place, size in enumerate(sizes))


_DRAWS = arg(2, 3, 2, low=0.0, high=1.0, requires_grad=False)


@op(
    samples=[
        sample(arg(2, 3, 7, 6, distinct=True), 2, (4, 3), None, False, _DRAWS),
        sample(arg(2, 3, 7, 6, distinct=True), (3, 2), None, (0.5, 0.6), True, _DRAWS),
        sample(
            arg(3, 6, 6, distinct=True), 2, 1, None, False, arg(1, 3, 2, low=0, high=1, requires_grad=False)
        ),
    ],
    errors=[
        (sample(arg(1, 1, 4, 4), 2), ValueError, "requires specifying either an output_size or"),
        (sample(arg(1, 1, 4, 4), 3, 4), RuntimeError, "is too large relative to the input size"),
        (sample(arg(4, 4), 2, 2), RuntimeError, "Expected 3D or 4D tensor"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maximum of windows whose steps are drawn such that ``output_size`` of them fill the image.

    (n, c, h, w) or (c, h, w); ``output_ratio`` gives the output as a share of the input instead.  The draws
    are new in every call, for every channel.  Graham 2014.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.fractional_max_pool2d(accelgrad.ones(1, 1, 9, 9), 3, output_size=(5, 4)).shape
    accelgrad.Size([1, 1, 5, 4])
    """
    return _pooled(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


@op(
    samples=[
        sample(
            arg(1, 2, 5, 4, 6, distinct=True), 2, (2, 2, 4), None, True,
            arg(1, 2, 3, low=0.0, high=1.0, requires_grad=False),
        ),
    ],
    errors=[(sample(arg(4, 4, 4), 2, 2), RuntimeError, "Expected 4D or 5D tensor")],
    namespace="nn.functional",
    method=False,
    out=False,
)  # fmt: skip
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """:func:`fractional_max_pool2d` of volumes (n, c, d, h, w) or (c, d, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.fractional_max_pool3d(accelgrad.ones(1, 5, 5, 5), 2, output_ratio=0.5).shape
    accelgrad.Size([1, 2, 2, 2])
    """
    return _pooled(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip
