"""Running sums, products and extremes along a dimension: cumsum, cumprod, cummax, logcumsumexp, diff."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import dtype as Dtype
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.convert import clone
from accelgrad.ops.reductions.reduce import as_kind
from accelgrad.ops.registry import arg, checks, op, sample
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.join import cat

RUNS = [
    sample(arg(2, 3), 1),
    sample(arg(2, 3, 2), -3),
    sample(arg(4), 0),
    sample(arg(), 0),
    sample(arg(2, 0), 1),
]
OUT_OF_RANGE = (
    sample(arg(2, 3), 2),
    IndexError,
    r"Dimension out of range \(expected to be in range of \[-2, 1\]",
)


def _along(function: Any) -> Any:
    """NumPy's running function with ``dim``, of 0-d arrays too."""
    return lambda x, dim, **options: (
        function(x.reshape(-1), axis=0).reshape(()) if x.ndim == 0 else function(x, axis=dim)
    )


def _backwards(xp: Any, grad: Any, axis: int) -> Any:
    """The sums of all from each place on: what a running sum takes back."""
    return xp.flip(xp.cumsum(xp.flip(grad, axis), axis), axis)


class CumSum(Primitive):
    """y_i = x_0 + ... + x_i,  dL/dx_i = dL/dy_i + ... + dL/dy_n"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int) -> Any:
        ctx.axis = axis
        if x.ndim == 0:
            return x if x.dtype.kind == "f" else x.astype("int64")
        return (
            ctx.xp.cumsum(x, axis=axis) if x.dtype.kind == "f" else ctx.xp.cumsum(x, axis=axis, dtype="int64")
        )

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return _backwards(ctx.xp, grad, ctx.axis) if grad.ndim else grad


class CumProd(Primitive):
    """y_i = x_0 ... x_i,  dL/dx_j = sum over i >= j of dL/dy_i times the product of the others.

    Where no x is 0 the products are y_i / x_j.  Else the sums r_j = dL/dy_j + x_(j+1) r_(j+1) are taken from
    the end, and dL/dx_j = y_(j-1) r_j: no division.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int) -> Any:
        ctx.axis = axis
        ctx.save_for_backward(x)
        if x.ndim == 0:
            return ctx.xp.copy(x) if x.dtype.kind == "f" else x.astype("int64")
        return (
            ctx.xp.cumprod(x, axis=axis)
            if x.dtype.kind == "f"
            else ctx.xp.cumprod(x, axis=axis, dtype="int64")
        )

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (x,) = ctx.saved_tensors
        if x.ndim == 0 or x.shape[ctx.axis] == 0:
            return grad
        raw = getattr(ctx, "context", ctx).xp
        axis = ctx.axis
        array = getattr(x, "array", x)
        if not bool(raw.any(array == 0)):
            return _backwards(xp, grad * xp.cumprod(x, axis), axis) / x
        before = (slice(None),) * axis
        rest: list[Any] = [grad[(*before, slice(-1, None))]]
        for place in range(x.shape[axis] - 2, -1, -1):
            here, behind = (*before, slice(place, place + 1)), (*before, slice(place + 1, place + 2))
            rest.append(grad[here] + x[behind] * rest[-1])
        rest.reverse()
        first = x[(*before, slice(0, 1))]
        others = xp.concatenate(
            (xp.ones_like(first), xp.cumprod(x[(*before, slice(None, -1))], axis)), axis=axis
        )
        return others * xp.concatenate(tuple(rest), axis=axis)


class CumExtreme(Primitive):
    """y_i = the largest (smallest) of all x up to x_i, and its place.

    dL/dx_j = the sum of the dL/dy_i that were taken from j.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int, largest: bool) -> Any:
        xp = ctx.xp
        ctx.axis = axis
        if x.ndim == 0 or x.size == 0:
            ctx.places = None
            return xp.copy(x), xp.zeros(x.shape, dtype="int64")
        rows = xp.moveaxis(x, axis, 0)
        best, place = rows[0], xp.zeros(rows.shape[1:], dtype="int64")
        values, places = [best], [place]
        for step in range(1, rows.shape[0]):  # the last of equal ones counts, and NaN stays
            row = rows[step]
            better = (row >= best) | (row != row) if largest else (row <= best) | (row != row)
            best, place = xp.where(better, row, best), xp.where(better, step, place)
            values.append(best)
            places.append(place)
        ctx.places = xp.stack(places, axis=axis)
        return xp.stack(values, axis=axis), ctx.places

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        if ctx.places is None:
            return grad
        return ctx.xp.scatter_add(ctx.xp.zeros_like(grad), ctx.axis, ctx.places, grad)


class LogCumSumExp(Primitive):
    """y_i = log(e^x_0 + ... + e^x_i),  dL/dx_j = e^x_j times the sum over i >= j of dL/dy_i e^-y_i"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int) -> Any:
        ctx.axis = axis
        xp = ctx.xp
        checks.must_be_floating(x, "logcumsumexp_out_cpu")
        if x.ndim == 0 or x.shape[axis] == 0:
            y = xp.copy(x)
        else:
            rows = xp.moveaxis(x, axis, 0)
            running = [rows[0]]
            for step in range(1, rows.shape[0]):
                running.append(xp.logaddexp(running[-1], rows[step]))
            y = xp.stack(running, axis=axis)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        if x.ndim == 0 or x.shape[ctx.axis] == 0:
            return grad
        # e^(x_j - y_i) is at most 1, but its two factors may overflow: both are taken against the largest x.
        top = (
            xp.max(x, axis=ctx.axis, keepdims=True) if not hasattr(x, "array") else _constant_max(x, ctx.axis)
        )
        return xp.exp(x - top) * _backwards(xp, grad * xp.exp(-(y - top)), ctx.axis)


def _constant_max(x: Tensor, axis: int) -> Any:
    return x.xp.max(x.array, axis=axis, keepdims=True)


@op(
    primitive=CumSum,
    reference=_along(np.cumsum),
    samples=[
        *RUNS,
        sample(arg(2, 3, dtype="int32"), 0),
        sample(arg(3, dtype="bool"), 0),
        sample(arg(3), 0, dtype=dtypes.float64),
    ],
    errors=[OUT_OF_RANGE],
    inplace=True,
)
def cumsum(input: Tensor, dim: int, *, dtype: Dtype | None = None) -> Tensor:
    """The running sum along ``dim``, of the same shape; integers are summed as int64.

    >>> import accelgrad
    >>> accelgrad.cumsum(accelgrad.tensor([1.0, 2.0, 3.0]), 0)
    tensor([1., 3., 6.])
    """
    axis = wrap_dim(dim, input.array.ndim)
    return as_kind(CumSum.apply(as_kind(input, dtype), axis=axis), dtype)


@op(
    primitive=CumProd,
    reference=_along(np.cumprod),
    samples=[
        *RUNS,
        sample(arg(values=[[2.0, 0.0, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0]]), 1),
        sample(arg(3, dtype="int32"), 0),
    ],
    errors=[OUT_OF_RANGE],
    inplace=True,
)
def cumprod(input: Tensor, dim: int, *, dtype: Dtype | None = None) -> Tensor:
    """The running product along ``dim``, of the same shape; integers are multiplied as int64.

    The gradient is right where elements are 0.

    >>> import accelgrad
    >>> accelgrad.cumprod(accelgrad.tensor([1.0, 2.0, 3.0]), 0)
    tensor([1., 2., 6.])
    """
    axis = wrap_dim(dim, input.array.ndim)
    return as_kind(CumProd.apply(as_kind(input, dtype), axis=axis), dtype)


def _running_place(extreme: Any, x: Any) -> Any:
    running = extreme.accumulate(x, axis=0)
    here = np.where(x == running, np.arange(len(x)).reshape((-1,) + (1,) * (x.ndim - 1)), 0)
    return running, np.maximum.accumulate(here, axis=0)


def _running_reference(extreme: Any) -> Any:
    def reference(x: Any, dim: int) -> Any:
        if x.ndim == 0 or x.size == 0:
            return x, np.zeros(x.shape, int)
        values, places = _running_place(extreme, np.moveaxis(x, dim, 0))
        return np.moveaxis(values, 0, dim), np.moveaxis(places, 0, dim)

    return reference


RISING = [
    sample(arg(2, 5, distinct=True), 1),
    sample(arg(4, 2, distinct=True), -2),
    sample(arg(values=[1.0, 3.0, 3.0, 2.0], requires_grad=False), 0),
    sample(arg(3, dtype="int64"), 0),
    sample(arg(), 0),
    sample(arg(2, 0), 1),
]
_CUMMAX = named("cummax", "values", "indices")
_CUMMIN = named("cummin", "values", "indices")


@op(primitive=CumExtreme, reference=_running_reference(np.maximum), samples=RISING, errors=[OUT_OF_RANGE])
def cummax(input: Tensor, dim: int) -> Any:
    """The running maximum along ``dim`` and its index, as a named tuple (values, indices).

    Of equals the last.

    >>> import accelgrad
    >>> accelgrad.cummax(accelgrad.tensor([1.0, 3.0, 2.0]), 0)[0]
    tensor([1., 3., 3.])
    """
    return _CUMMAX(*CumExtreme.apply(input, axis=wrap_dim(dim, input.array.ndim), largest=True))


@op(primitive=CumExtreme, reference=_running_reference(np.minimum), samples=RISING, errors=[OUT_OF_RANGE])
def cummin(input: Tensor, dim: int) -> Any:
    """The running minimum along ``dim`` and its index, as a named tuple (values, indices).

    Of equals the last.

    >>> import accelgrad
    >>> accelgrad.cummin(accelgrad.tensor([2.0, 3.0, 1.0]), 0)[1]
    tensor([0, 0, 2])
    """
    return _CUMMIN(*CumExtreme.apply(input, axis=wrap_dim(dim, input.array.ndim), largest=False))


@op(
    primitive=LogCumSumExp,
    reference=_along(np.logaddexp.accumulate),
    samples=[*RUNS[:4], sample(arg(values=[1000.0, 1000.0, -1000.0], requires_grad=False), 0)],
    errors=[OUT_OF_RANGE],
)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(input)))`` along ``dim``, without overflow.

    >>> import accelgrad
    >>> accelgrad.logcumsumexp(accelgrad.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    return LogCumSumExp.apply(input, axis=wrap_dim(dim, input.array.ndim))


@op(
    reference=lambda x, n=1, dim=-1, prepend=None, append=None: np.diff(
        x, n, dim, **{k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    ),
    samples=[
        sample(arg(2, 4)),
        sample(arg(4, 2), 2, 0),
        sample(arg(3), 5),
        sample(arg(2, 3), dim=1, prepend=arg(2, 1), append=arg(2, 2)),
        sample(arg(4, dtype="int64")),
    ],
    errors=[(sample(arg()), RuntimeError, "diff expects input to be at least one-dimensional")],
)
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The differences of neighbours along ``dim``, taken ``n`` times; of bools, where they differ.

    >>> import accelgrad
    >>> accelgrad.diff(accelgrad.tensor([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    if input.array.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional, got a 0-d tensor")
    axis = wrap_dim(dim, input.array.ndim)
    if n == 0:
        return clone(input)
    parts = [one for one in (prepend, input, append) if one is not None]
    result: Any = cat(parts, axis) if len(parts) > 1 else input
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = result[(*before, slice(1, None))], result[(*before, slice(None, -1))]
        if result.shape[axis] == 0:
            return result
        result = later ^ earlier if result.array.dtype == "bool" else later - earlier
    return result
