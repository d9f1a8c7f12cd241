"""Values counted, and their places among boundaries: unique, bincount, histc, searchsorted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.reduced import widened
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.registry.return_types import named

__all__ = ["bincount", "bucketize", "histc", "searchsorted", "unique", "unique_consecutive"]


_HISTOGRAM = named("histogram", "hist", "bin_edges")


_REPEATING = arg(2, 4, dtype="int64", low=0, high=4)


def _several(xp: Any, parts: list[Any], wanted: list[bool]) -> Any:
    """The first result alone, or a tuple with the others that are wanted."""
    kept = [wrap(part, xp) for part, one in zip(parts, [True, *wanted], strict=True) if one]
    return kept[0] if len(kept) == 1 else tuple(kept)


@op(
    samples=[
        sample(_REPEATING),
        sample(_REPEATING, return_inverse=True, return_counts=True),
        sample(arg(4, 2, dtype="int64", low=0, high=2), return_inverse=True, return_counts=True, dim=0),
        sample(arg(2, 4, dtype="int64", low=0, high=2), return_inverse=True, dim=-1),
        sample(arg(0, dtype="int64")),
    ],
    differentiable=False,
    out=False,
)
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in order (always sorted), or the different slices of ``dim``.

    ``return_inverse`` adds where in the result each element went, ``return_counts`` how often each came.
    Every NaN counts as different.

    >>> import accelgrad
    >>> accelgrad.unique(accelgrad.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    xp, array = input.xp, input.array
    wanted = [return_inverse, return_counts]
    if dim is None:
        values, inverse, counts = xp.unique(
            array.reshape(-1), return_inverse=True, return_counts=True, equal_nan=False
        )
        return _several(xp, [values, inverse.reshape(array.shape), counts], wanted)
    dim = wrap_dim(dim, array.ndim)
    rows = xp.moveaxis(array, dim, 0)
    values, inverse, counts = xp.unique(
        rows.reshape(rows.shape[0], -1), return_inverse=True, return_counts=True, axis=0
    )
    values = xp.moveaxis(values.reshape((-1, *rows.shape[1:])), 0, dim)
    return _several(xp, [values, inverse.reshape(-1), counts], wanted)


@op(
    samples=[
        sample(arg(6, dtype="int64", values=[1, 1, 2, 2, 2, 1])),
        sample(arg(6, dtype="int64", values=[1, 1, 2, 2, 2, 1]), return_inverse=True, return_counts=True),
        sample(arg(3, 2, dtype="int64", values=[[1, 1], [1, 1], [2, 2]]), return_counts=True, dim=0),
        sample(arg(2, 2, dtype="int64", values=[[1, 1], [1, 2]]), return_inverse=True),
    ],
    differentiable=False,
    out=False,
)
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal elements (or of equal slices of ``dim``) reduced to one each.

    >>> import accelgrad
    >>> accelgrad.unique_consecutive(accelgrad.tensor([1, 1, 2, 1]), return_counts=True)
    (tensor([1, 2, 1]), tensor([2, 1, 1]))
    """
    xp, array = input.xp, input.array
    shape, place = (array.shape, 0) if dim is None else ((array.shape[dim],), wrap_dim(dim, array.ndim))
    rows = array.reshape(-1, 1) if dim is None else xp.moveaxis(array, place, 0)
    flat = rows.reshape(rows.shape[0], -1)
    first = xp.ones(flat.shape[0], dtype=bool)
    first[1:] = xp.any(flat[1:] != flat[:-1], axis=1)
    starts = xp.nonzero(first)[0]
    values = xp.moveaxis(rows[starts], 0, place) if dim is not None else array.reshape(-1)[starts]
    inverse = (xp.cumsum(first) - 1).reshape(shape)
    ends = xp.concatenate([starts[1:], xp.full(min(1, starts.size), flat.shape[0], dtype=starts.dtype)])
    return _several(xp, [values, inverse, ends - starts], [return_inverse, return_counts])


@op(
    samples=[
        sample(arg(6, dtype="int64", low=0, high=4)),
        sample(arg(6, dtype="int64", low=0, high=4), minlength=7),
        sample(arg(6, dtype="int64", low=0, high=4), arg(6, requires_grad=False)),
        sample(arg(0, dtype="int64")),
    ],
    errors=[
        (
            sample(arg(2, dtype="int64", values=[1, -1])),
            RuntimeError,
            "bincount only supports 1-d non-negative integral",
        ),
        (
            sample(arg(2, 2, dtype="int64", values=[[1, 1]] * 2)),
            RuntimeError,
            "bincount only supports 1-d non-negative",
        ),
        (sample(arg(2)), NotImplementedError, "not implemented for 'Float'"),
        (
            sample(arg(2, dtype="int64", values=[1, 1]), arg(3)),
            RuntimeError,
            "weights should be 1-d and have the same length as input",
        ),
    ],
    differentiable=False,
    out=False,
)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Count how often each number from 0 on comes in a vector of non-negative integers.

    With ``weights`` the result is the sum of the weights of each number.

    >>> import accelgrad
    >>> accelgrad.bincount(accelgrad.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    array, xp = input.array, input.xp
    if array.dtype.kind not in "iu":
        title = input.dtype.title.removesuffix("Tensor")
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{title}'")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if array.ndim != 1 or (array.size and int(array.min()) < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return wrap(xp.bincount(array, minlength=minlength).astype(np.int64, copy=False), xp)
    if weights.array.shape != array.shape:
        raise RuntimeError(
            "weights should be 1-d and have the same length as input:"
            f" {tuple(weights.shape)} against {tuple(input.shape)}"
        )
    sums = xp.bincount(array, weights=weights.array, minlength=minlength)
    return wrap(sums.astype(np.float32 if weights.array.dtype == np.float32 else np.float64), xp)


@op(
    samples=[
        sample(arg(2, 5), 4),
        sample(arg(20), 5, -1, 1.5),
        sample(arg(3, values=[1, 1, 1]), 3),
    ],
    errors=[
        (sample(arg(3), 0), RuntimeError, r"bins must be > 0"),
        (sample(arg(3), 3, 2, 1), RuntimeError, "max must be larger than min"),
        (sample(arg(3, dtype="int64", high=3), 3), NotImplementedError, "not implemented for 'Long'"),
    ],
    differentiable=False,
)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Count the elements in each of ``bins`` equal parts of [``min``, ``max``].

    If those agree, their own range is taken.

    >>> import accelgrad
    >>> accelgrad.histc(accelgrad.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    array, xp = input.array, input.xp
    if not input.is_floating_point():
        title = input.dtype.title.removesuffix("Tensor")
        raise NotImplementedError(
            f"\"histogram_cpu\" not implemented for '{title}'; convert it with .float()"
        )
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    low, high = float(min), float(max)
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = xp.histogram(widened(array).reshape(-1), bins=bins, range=(low, high))
    return wrap(counts.astype(array.dtype), xp)


@op(
    samples=[
        sample(arg(20), 5),
        sample(arg(20), bins=4, range=(-1.0, 1.0)),
        sample(arg(2, 5), bins=4, range=(-1.0, 1.0), density=True),
        sample(arg(20), bins=arg(4, values=[-2.0, -0.5, 0.5, 2.0], requires_grad=False)),
        sample(arg(6), bins=3, weight=arg(6, low=0, high=1)),
    ],
    errors=[
        (sample(arg(3), 0), RuntimeError, "bins must be > 0, but got 0"),
        (sample(arg(3, dtype="int64"), 2), NotImplementedError, "not implemented for 'Long'"),
    ],
    differentiable=False,
    out=False,
)
def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """How many elements (or how much ``weight``) fall between the edges: a named tuple (hist, bin_edges).

    ``bins`` is their number, over ``range`` or the range of the input, or the edges.  With ``density`` the
    areas sum to 1.  The last bin includes its right edge.

    >>> import accelgrad
    >>> accelgrad.histogram(accelgrad.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    tensor([0., 2., 1., 0.])
    """
    array, raw = input.array, input.xp
    if array.dtype.kind != "f":
        raise NotImplementedError(
            f"\"histogram_cpu\" not implemented for '{title(array)}'; convert it with .float()"
        )
    if isinstance(bins, Tensor):
        edges = bins.array
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = range if range is not None else (0.0, 1.0)
        if range is None and array.size:
            low, high = float(array.min()), float(array.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = raw.linspace(low, high, bins + 1, dtype=array.dtype)
    values = raw.reshape(array, (-1,))
    amounts = None if weight is None else raw.reshape(weight.array, (-1,)).astype(array.dtype)
    counts, _ = raw.histogram(values, bins=edges, weights=amounts)
    counts = counts.astype(array.dtype)
    if density:
        counts = counts / (raw.sum(counts) * (edges[1:] - edges[:-1]))
    return _HISTOGRAM(wrap(counts.astype(array.dtype), raw), wrap(raw.copy(edges), raw))


@op(
    samples=[
        sample(arg(2, 3), arg(4, values=[-1, 0, 0.5, 1])),
        sample(arg(3, values=[1, 3, 4]), arg(3, values=[1, 3, 5]), right=True),
        sample(3, arg(3, dtype="int64", values=[1, 3, 5]), out_int32=True),
    ],
    errors=[(sample(arg(2), arg(2, 2)), RuntimeError, "boundaries tensor must be 1 dimension, but got dim")],
    differentiable=False,
)
def bucketize(
    input: Tensor | int | float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """For every value the number of the interval between sorted ``boundaries`` that it lies in.

    ``boundaries[i - 1] < value <= boundaries[i]`` gives i; with ``right`` the left bound belongs to the
    interval.

    >>> import accelgrad
    >>> accelgrad.bucketize(accelgrad.tensor([0, 3, 9]), accelgrad.tensor([1, 3, 5]))
    tensor([0, 1, 3])
    """
    if boundaries.array.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.array.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@op(
    samples=[
        sample(arg(4, values=[-1, 0, 0.5, 1]), arg(2, 3)),
        sample(arg(2, 3, values=[[1, 3, 5], [2, 4, 6]]), arg(2, 2, values=[[3, 9], [4, 1]]), right=True),
        sample(arg(3, dtype="int64", values=[1, 3, 5]), 3, side="right"),
        sample(
            arg(3, values=[5, 1, 3]),
            arg(2, values=[4, 1]),
            sorter=arg(3, dtype="int64", values=[1, 2, 0]),
        ),
    ],
    errors=[
        (
            sample(arg(2, 3), arg(1)),
            RuntimeError,
            "boundaries tensor should be 1 dimension or the first N-1 dimensions",
        ),
        (sample(arg(3), arg(1), side="up"), RuntimeError, "side can only be 'left' or 'right' but got up"),
        (
            sample(arg(3), arg(1), side="left", right=True),
            RuntimeError,
            "side and right can't be set to opposites",
        ),
    ],
    differentiable=False,
    method=False,
)
def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | int | float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """For every value the place at which it would have to be inserted to keep the last dimension sorted.

    Before equal elements, or behind them with ``right`` (or ``side="right"``).  The sequence is a vector, or
    its first dimensions are those of ``input``; ``sorter`` are the indices that sort it.

    >>> import accelgrad
    >>> accelgrad.searchsorted(accelgrad.tensor([1, 3, 5]), accelgrad.tensor([3, 4]), right=True)
    tensor([2, 2])
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left and right"
        )
    xp, sequence = sorted_sequence.xp, sorted_sequence.array
    values = input.array if isinstance(input, Tensor) else xp.asarray(input)
    if sorter is not None:
        sequence = xp.take_along_axis(sequence, sorter.array, axis=-1)
    if not isinstance(input, Tensor):
        values = values.astype(np.result_type(sequence.dtype, input))
    common = np.promote_types(sequence.dtype, values.dtype)
    sequence, values = sequence.astype(common, copy=False), values.astype(common, copy=False)
    where = "right" if right or side == "right" else "left"
    if not values.size:
        places = xp.zeros(values.shape, dtype=np.int64)
    elif sequence.ndim == 1:
        places = xp.asarray(xp.searchsorted(sequence, values, side=where))
    else:
        if sequence.shape[:-1] != values.shape[:-1]:
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should be 1 dimension"
                " or the first N-1 dimensions of boundaries tensor and input value tensor must match,"
                f" but we got boundaries tensor {list(sequence.shape)}"
                f" and input value tensor {list(values.shape)}"
            )
        rows = zip(
            sequence.reshape(-1, sequence.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True
        )
        found = [xp.searchsorted(row, wanted, side=where) for row, wanted in rows]
        places = xp.stack(found).reshape(values.shape)
    return wrap(places.astype(np.int32 if out_int32 else np.int64, copy=False), xp)
