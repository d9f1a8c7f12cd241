"""Spread and order statistics: var, std, var_mean, std_mean, median, mode, quantile and others."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.reductions.extrema import at_place, share
from accelgrad.ops.reductions.reduce import OUT_OF_RANGE, Mean, count_of, spread
from accelgrad.ops.reductions.scan import CumExtreme
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import Dims, axes_of, reducing, wrap_dim
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.gather import gather
from accelgrad.ops.shapes.shape import movedim, reshape


def _variance(ctx: Any, x: Any, axis: Any, correction: float, keepdims: bool) -> Any:
    """Return the sum of squared distances from the mean / (n - correction).

    It is NaN or inf where n - correction is not positive.
    """
    xp = ctx.xp
    ctx.axis, ctx.count, ctx.correction = axis, count_of(x.shape, axis), correction
    if ctx.count == 0:
        return xp.sum(x, axis=axis, keepdims=keepdims) * float("nan")
    if ctx.count > correction:
        return xp.var(x, axis=axis, ddof=correction, keepdims=keepdims)
    return xp.var(x, axis=axis, keepdims=keepdims) * float("inf")  # 0 inf is nan


def _deviation(ctx: Any, x: Any) -> Any:
    """The derivative of the variance: 2 (x - mean) / (n - correction)."""
    freedom = ctx.count - ctx.correction
    centred = x - ctx.xp.mean(x, axis=ctx.axis, keepdims=True)
    return centred * (2 / freedom if freedom > 0 else math.inf)


class Var(Primitive):
    """y = sum of (x - mean)² / (n - correction),  dL/dx = dL/dy 2 (x - mean) / (n - correction)"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any, correction: float, keepdims: bool) -> Any:
        ctx.save_for_backward(x)
        return _variance(ctx, x, axis, correction, keepdims)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return spread(ctx.xp, grad, x.shape, ctx.axis) * _deviation(ctx, x)


class Std(Primitive):
    """y = √var,  dL/dx = dL/dy (x - mean) / (y (n - correction)), 0 where y is 0"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any, correction: float, keepdims: bool) -> Any:
        y = ctx.xp.sqrt(_variance(ctx, x, axis, correction, keepdims))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        still = y == 0
        share = xp.where(still, 0.0, grad / (2 * xp.where(still, 1.0, y)))
        return spread(xp, share, x.shape, ctx.axis) * _deviation(ctx, x)


def _spread_of(
    name: str,
    primitive: Any,
    input: Tensor,
    dim: Any,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
) -> Tensor:
    """Bring the overloads of var and std to one.

    They are (x, unbiased), (x, dim, unbiased, keepdim) and (x, dim, correction=).
    """
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(
            f"{name}() takes either unbiased or correction, not both: unbiased=True is correction=1"
        )
    if not input.is_floating_point():
        raise RuntimeError(
            f"{name} and var only support floating point and complex dtypes"
            if name == "std"
            else "std and var only support floating point and complex dtypes; convert with .float() first"
        )
    free: float = (1 if unbiased is None else int(unbiased)) if correction is None else correction
    axis = axes_of(dim, input)
    count = count_of(input.array.shape, axis)
    if input.array.size and count <= free:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0: {count} elements fall together"
            f" and the correction is {free}; the result is nan."
            " Use correction=0 for single elements.",
            UserWarning,
            stacklevel=4,
        )
    return primitive.apply(input, axis=axis, correction=free, keepdims=keepdim)


def _numpy_spread(function: Any) -> Any:
    def reference(
        x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = (1 if unbiased is None else int(unbiased)) if correction is None else correction
        return reducing(function)(x, dim, keepdim, ddof=ddof)

    return reference


SPREADS = [
    sample(arg(2, 3)),
    sample(arg(2, 3), 1),
    sample(arg(2, 3, 4), (0, -1)),
    sample(arg(2, 3), False),
    sample(arg(2, 3), 0, False, True),
    sample(arg(2, 5), dim=1, correction=2, keepdim=True),
    sample(arg(1, 3), 0, correction=0),
]
INTEGERS = (sample(arg(2, dtype="int64")), RuntimeError, "std and var only support floating point")


@op(
    primitive=Var,
    reference=_numpy_spread(np.var),
    samples=SPREADS,
    errors=[
        OUT_OF_RANGE,
        INTEGERS,
        (sample(arg(2), 0, True, correction=1), TypeError, "either unbiased or correction"),
    ],
)
def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance over all or over ``dim``: the sum of ``(x - mean)²`` divided by ``n - correction``.

    ``correction`` is 1 by default (Bessel's); ``unbiased=False`` is another spelling of 0.  Of a single
    element it is NaN. RuntimeError for integers.

    >>> import accelgrad
    >>> accelgrad.var(accelgrad.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _spread_of("var", Var, input, dim, unbiased, keepdim, correction)


@op(primitive=Std, reference=_numpy_spread(np.std), samples=SPREADS[:-1], errors=[OUT_OF_RANGE, INTEGERS])
def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over all or over ``dim``: the root of :func:`var`, with the same arguments.

    Its gradient is 0 where it is 0.

    >>> import accelgrad
    >>> accelgrad.std(accelgrad.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _spread_of("std", Std, input, dim, unbiased, keepdim, correction)


def _with_mean(function: Any) -> Any:
    spread_reference = _numpy_spread(function)

    def reference(
        x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **options: Any
    ) -> Any:
        axis = None if isinstance(dim, bool) else dim
        return spread_reference(x, dim, unbiased, keepdim, **options), reducing(np.mean)(x, axis, keepdim)

    return reference


@op(primitive=Var, reference=_with_mean(np.var), samples=SPREADS)
def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean, over all or over ``dim``; see :func:`var`.

    >>> import accelgrad
    >>> accelgrad.var_mean(accelgrad.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    axis = axes_of(None if isinstance(dim, bool) else dim, input)
    spread = _spread_of("var", Var, input, dim, unbiased, keepdim, correction)
    return spread, Mean.apply(input, axis=axis, keepdims=keepdim)


@op(primitive=Std, reference=_with_mean(np.std), samples=SPREADS[:-1])
def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean, over all or over ``dim``; see :func:`var`.

    >>> import accelgrad
    >>> accelgrad.std_mean(accelgrad.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    axis = axes_of(None if isinstance(dim, bool) else dim, input)
    spread = _spread_of("std", Std, input, dim, unbiased, keepdim, correction)
    return spread, Mean.apply(input, axis=axis, keepdims=keepdim)


# --- order


class Ranked(Primitive):
    """y = the element in the middle (or the most frequent one) along an axis, and its place.

    dL/dy goes there.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int, keepdims: bool, what: str) -> Any:
        xp = ctx.xp
        if x.ndim == 0:
            ctx.place = None
            return xp.copy(x), xp.zeros((), dtype="int64")
        index = xp.expand_dims(_RANK[what](xp, xp.moveaxis(x, axis, -1)), axis)
        ctx.place, ctx.axis, ctx.extent, ctx.keepdims = index, axis, x.shape[axis], keepdims
        y = xp.take_along_axis(x, index, axis=axis)
        if not keepdims:
            y, index = xp.squeeze(y, axis), xp.squeeze(index, axis)
        return y, index.astype("int64", copy=False)

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        if ctx.place is None:
            return grad
        return at_place(ctx, grad if ctx.keepdims else ctx.xp.expand_dims(grad, ctx.axis))


def _middle(xp: Any, x: Any) -> Any:
    """The place of the lower median of each row; of the first NaN where there is one."""
    chosen = xp.argsort(x, axis=-1)[..., (x.shape[-1] - 1) // 2]
    hole = x != x
    return xp.where(xp.any(hole, axis=-1), xp.argmax(hole, axis=-1), chosen)


def _middle_without_nan(xp: Any, x: Any) -> Any:
    """The place of the lower median of those that are not NaN: sorting puts NaN last."""
    count = xp.sum(x == x, axis=-1, keepdims=True)
    rank = xp.maximum(count - 1, 0) // 2
    return xp.take_along_axis(xp.argsort(x, axis=-1), rank, axis=-1)[..., 0]


def _most_frequent(xp: Any, x: Any) -> Any:
    """The last place of the most frequent value of each row, of several such values the smallest."""
    order = xp.argsort(x, axis=-1, kind="stable")
    row = xp.take_along_axis(x, order, axis=-1)
    steps = xp.broadcast_to(xp.arange(x.shape[-1]), x.shape)
    new = xp.concatenate((xp.ones_like(row[..., :1], dtype=bool), row[..., 1:] != row[..., :-1]), axis=-1)
    start, _ = CumExtreme.run(xp, xp.where(new, steps, 0), axis=x.ndim - 1, largest=True)
    best = xp.expand_dims(xp.argmax(steps - start, axis=-1), -1)
    return xp.take_along_axis(order, best, axis=-1)[..., 0]


_RANK = {"median": _middle, "nanmedian": _middle_without_nan, "mode": _most_frequent}


class Median(Primitive):
    """y = the lower median of all;  dL/dy goes in equal parts to all elements that equal y"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, skip: bool) -> Any:
        xp = ctx.xp
        flat = xp.reshape(x, (-1,))
        if not x.size:
            y = (
                xp.asarray(float("nan"), dtype=x.dtype)
                if x.dtype.kind == "f"
                else xp.zeros((), dtype=x.dtype)
            )
        else:
            y = flat[(_middle_without_nan if skip else _middle)(xp, flat)]
        y = xp.copy(xp.asarray(y))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return share(ctx.xp, grad, x, y, None)


def _ranked(name: str, input: Tensor, dim: int, keepdim: bool, kind: Any) -> Any:
    axis = wrap_dim(dim, input.array.ndim)
    if input.array.ndim and input.array.shape[axis] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")
    return kind(*Ranked.apply(input, axis=axis, keepdims=keepdim, what=name))


def _ranked_reference(pick: Any) -> Any:
    def reference(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return np.array(x.reshape(-1)[pick(x.reshape(-1))])
        place = np.apply_along_axis(pick, dim, x) if x.ndim else np.array(0)
        place = np.expand_dims(place, dim) if x.ndim else place
        value = np.take_along_axis(x, place, dim) if x.ndim else x
        return (value, place) if keepdim or not x.ndim else (value.squeeze(dim), place.squeeze(dim))

    return reference


def _pick_median(row: Any) -> int:
    holes = np.flatnonzero(row != row)
    return int(holes[0]) if len(holes) else int(np.argsort(row)[(len(row) - 1) // 2])


def _pick_nanmedian(row: Any) -> int:
    count = int(np.sum(row == row))
    return int(np.argsort(row)[max(count - 1, 0) // 2])


MEDIANS = [
    sample(arg(2, 3, distinct=True)),
    sample(arg(2, 4, distinct=True)),
    sample(arg(2, 4, distinct=True), 1),
    sample(arg(5, 2, distinct=True), 0, True),
    sample(arg(values=[[1.0, float("nan"), 0.0], [3.0, 2.0, 5.0]], requires_grad=False), 1),
    sample(arg(5, dtype="int64", distinct=True), 0),
    sample(arg(), 0),
]
EMPTY = (sample(arg(2, 0), 1), IndexError, "Expected reduction dim 1 to have non-zero size")
_MEDIAN, _NANMEDIAN, _MODE = (named(name, "values", "indices") for name in ("median", "nanmedian", "mode"))


@op(
    primitive=Ranked, reference=_ranked_reference(_pick_median), samples=MEDIANS, errors=[OUT_OF_RANGE, EMPTY]
)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median: of all as one value, or along ``dim`` as a named tuple (values, indices).

    Of an even number the lower of the two in the middle.  NaN where there is one.

    >>> import accelgrad
    >>> accelgrad.median(accelgrad.tensor([3.0, 1.0, 2.0, 4.0]))
    tensor(2.)
    """
    return Median.apply(input, skip=False) if dim is None else _ranked("median", input, dim, keepdim, _MEDIAN)


@op(
    primitive=Ranked,
    reference=_ranked_reference(_pick_nanmedian),
    samples=MEDIANS,
    errors=[OUT_OF_RANGE, EMPTY],
)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of the elements that are not NaN; see :func:`median`.

    >>> import accelgrad
    >>> accelgrad.nanmedian(accelgrad.tensor([3.0, float("nan"), 2.0]))
    tensor(2.)
    """
    return (
        Median.apply(input, skip=True)
        if dim is None
        else _ranked("nanmedian", input, dim, keepdim, _NANMEDIAN)
    )


def _pick_mode(row: Any) -> int:
    values, counts = np.unique(row, return_counts=True)
    return int(np.flatnonzero(row == values[np.argmax(counts)])[-1])


@op(
    primitive=Ranked,
    reference=lambda x, dim=-1, keepdim=False: _ranked_reference(_pick_mode)(x, dim, keepdim),
    samples=[
        sample(arg(2, 6, dtype="int64")),
        sample(arg(6, 2, dtype="int64"), 0, True),
        sample(arg(2, 3, distinct=True), 1),
        sample(arg()),
    ],
    errors=[OUT_OF_RANGE, EMPTY],
)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along ``dim`` and its last index, as a named tuple.

    Of equally frequent ones the smallest.

    >>> import accelgrad
    >>> accelgrad.mode(accelgrad.tensor([1, 2, 2, 3]))[0]
    tensor(2)
    """
    return _ranked("mode", input, dim, keepdim, _MODE)


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    """Sorts once (indices only), takes the two neighbours of every rank and mixes them."""
    if not input.is_floating_point() or input.array.itemsize == 2:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {input.dtype}")
    if not input.array.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if interpolation not in _METHODS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest,"
            f" but got {interpolation}"
        )
    if isinstance(q, Tensor) and q.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor: {q.dtype} and {input.dtype}"
        )
    xp = input.xp
    shares = q.array if isinstance(q, Tensor) else xp.asarray(q, dtype=input.array.dtype)
    if shares.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got shape {tuple(shares.shape)}")
    if not bool(xp.all((shares >= 0) & (shares <= 1))):
        raise RuntimeError(f"{name}() q must be in the range [0, 1], got {q}")
    shape = [1] * input.array.ndim
    if dim is not None:
        axis = wrap_dim(dim, input.array.ndim)
        shape = list(input.array.shape)
        if shape:
            shape[axis] = 1
    x = reshape(input, (-1,)) if dim is None or not input.array.ndim else movedim(input, axis, -1)
    order = xp.argsort(x.array, axis=-1)  # NaN last
    extent = x.array.shape[-1]
    hole = x.array != x.array
    count = xp.sum(~hole, axis=-1, keepdims=True) if skip else xp.full((*x.array.shape[:-1], 1), extent)
    rank = xp.reshape(shares, (-1,)) * xp.maximum(count - 1, 0)  # (..., q)
    if interpolation == "nearest":
        rank = xp.rint(rank)
    low = xp.floor(rank)
    high = xp.ceil(rank)
    if interpolation in ("lower", "higher"):
        low = high = low if interpolation == "lower" else high
    first = _at_rank(x, order, low)
    result = first
    if interpolation in ("linear", "midpoint"):
        second = _at_rank(x, order, high)
        weight: Any = wrap(xp.where(high > low, 0.5, 0.0).astype(x.array.dtype), xp)
        if interpolation == "linear":  # the rank depends on q, so q has a gradient too
            steps = wrap(xp.maximum(count - 1, 0).astype(x.array.dtype), xp)
            share = reshape(q, (-1,)) if isinstance(q, Tensor) else wrap(xp.reshape(shares, (-1,)), xp)
            weight = share * steps - wrap(low.astype(x.array.dtype), xp)
        result = first + (second - first) * weight
    bad = (count == 0) if skip else xp.any(hole, axis=-1, keepdims=True)
    if bool(xp.any(bad)):
        result = result + wrap(xp.where(bad, xp.nan, 0.0).astype(x.array.dtype), xp)
    result = movedim(result, -1, 0)  # (q, ...)
    if keepdim:
        result = reshape(result, (result.shape[0], *shape))
    return result if shares.ndim else result[0]


def _at_rank(x: Tensor, order: Any, rank: Any) -> Tensor:
    places = x.xp.take_along_axis(order, rank.astype("int64"), axis=-1)
    return gather(x, -1, wrap(places, x.xp))


def _quantile_reference(function: Any) -> Any:
    def reference(
        x: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Any:
        return function(x, q, axis=dim, keepdims=keepdim, method=interpolation)

    return reference


QUANTILES = [
    sample(arg(7, distinct=True), 0.3),
    sample(arg(2, 5, distinct=True), arg(values=[0.1, 0.5, 1.0], requires_grad=False), 1),
    sample(arg(5, 2, distinct=True), 0.25, 0, True),
    sample(arg(2, 4, distinct=True), 0.4, dim=-1, interpolation="lower"),
    sample(arg(2, 4, distinct=True), 0.4, dim=-1, interpolation="higher"),
    sample(arg(2, 4, distinct=True), 0.4, dim=-1, interpolation="nearest"),
    sample(arg(2, 4, distinct=True), 0.4, dim=-1, interpolation="midpoint"),
    sample(arg(values=[[1.0, float("nan"), 2.0], [3.0, 4.0, 6.0]], requires_grad=False), 0.5, 1),
]
UNFIT = [
    (sample(arg(3), 1.5), RuntimeError, r"q must be in the range \[0, 1\]"),
    (sample(arg(0), 0.5), RuntimeError, "input tensor must be non-empty"),
    (sample(arg(3, dtype="int64"), 0.5), RuntimeError, "input tensor must be either float or double dtype"),
    (sample(arg(3), 0.5, interpolation="cubic"), RuntimeError, "interpolation must be one of linear"),
]


@op(reference=_quantile_reference(np.quantile), samples=QUANTILES, errors=UNFIT)
def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The value below which the share ``q`` of the elements lies, of all or along ``dim``.

    Several ``q`` come first.

    ``interpolation`` between two neighbours: linear, lower, higher, midpoint or nearest.  NaN where there is
    one. RuntimeError for a q outside of [0, 1], for integers, and over nothing.

    >>> import accelgrad
    >>> accelgrad.quantile(accelgrad.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    tensor(2.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, skip=False)


@op(reference=_quantile_reference(np.nanquantile), samples=QUANTILES, errors=UNFIT)
def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The :func:`quantile` of the elements that are not NaN.

    >>> import accelgrad
    >>> accelgrad.nanquantile(accelgrad.tensor([1.0, float("nan"), 3.0]), 0.5)
    tensor(2.)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, skip=True)
