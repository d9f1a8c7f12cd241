"""Reductions over any dimensions: sum, mean, prod, logsumexp, count_nonzero and the sums that skip NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import dtype as Dtype
from accelgrad.core import context
from accelgrad.core.context import unbroadcast
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import Dims, axes_of, reducing, sizes
from accelgrad.ops.shapes.diagonal import Diagonal

REDUCED = [
    sample(arg(2, 3)),
    sample(arg(2, 3), 1),
    sample(arg(2, 3, 4), (0, -1)),
    sample(arg(2, 3, 4), [1], keepdim=True),
    sample(arg(2, 3), ()),
    sample(arg()),
    sample(arg(), 0),
    sample(arg(3, 0), 1),
]
OUT_OF_RANGE = (
    sample(arg(2, 3), 2),
    IndexError,
    r"Dimension out of range \(expected to be in range of \[-2, 1\]",
)
TWICE = (sample(arg(2, 3), (0, -2)), RuntimeError, "dim 0 appears multiple times in the list of dims")


def kept_shape(shape: tuple[int, ...], axis: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a reduction with ``keepdims``: 1 where it was reduced."""
    if axis is None:
        return (1,) * len(shape)
    return tuple([1 if place in axis else extent for place, extent in enumerate(shape)])


def spread(xp: Any, value: Any, shape: tuple[int, ...], axis: tuple[int, ...] | None) -> Any:
    """A reduced ``value`` stretched over the shape that it was reduced from, without a copy."""
    if axis is None and value.ndim == 0:
        return xp.broadcast_to(value, shape)
    return xp.broadcast_to(xp.reshape(value, kept_shape(shape, axis)), shape)


def count_of(shape: tuple[int, ...], axis: tuple[int, ...] | None) -> int:
    """How many elements fall together into one."""
    count = 1
    for place, extent in enumerate(shape):
        if axis is None or place in axis:
            count *= extent
    return count


class Sum(Primitive):
    """y = sum of x over the axes,  dL/dx = dL/dy, stretched"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.shape, ctx.axis = x.shape, axis
        if x.dtype.kind != "f":
            return ctx.xp.sum(x, axis=axis, keepdims=keepdims, dtype="int64")
        return ctx.xp.sum(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return spread(ctx.xp, grad, ctx.shape, ctx.axis)


class Mean(Primitive):
    """y = sum of x over the axes / n,  dL/dx = dL/dy / n, stretched"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.shape, ctx.axis = x.shape, axis
        if x.size == 0 and count_of(x.shape, axis) == 0:
            return ctx.xp.sum(x, axis=axis, keepdims=keepdims) * float("nan")  # NumPy would warn
        return ctx.xp.mean(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return spread(ctx.xp, grad / max(count_of(ctx.shape, ctx.axis), 1), ctx.shape, ctx.axis)


class Prod(Primitive):
    """y = product of x along one axis (or of all),  dL/dx_i = dL/dy times the product of the others.

    Where no x is 0 that is y / x_i.  Else the products of all before and of all behind i are multiplied: no
    division.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.axis = axis
        if x.dtype.kind != "f":
            return ctx.xp.prod(x, axis=axis, keepdims=keepdims, dtype="int64")
        y = ctx.xp.prod(x, axis=axis, keepdims=keepdims)
        ctx.save_for_backward(x, y)
        ctx.zeros = x.size > 0 and bool(ctx.xp.any(x == 0))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        if not ctx.zeros and not getattr(xp, "differentiable", False):
            return spread(xp, grad * y, x.shape, ctx.axis) / x
        shape = x.shape
        if ctx.axis is None:
            row, axis = xp.reshape(x, (-1,)), 0
        else:
            row, axis = x, ctx.axis[0]
        if row.shape[axis] < 2:
            return spread(xp, grad, shape, ctx.axis)
        first = (slice(None),) * axis
        ones = xp.ones_like(row[(*first, slice(0, 1))])
        before = xp.concatenate((ones, row[(*first, slice(None, -1))]), axis=axis)
        behind = xp.concatenate((ones, xp.flip(row[(*first, slice(1, None))], axis)), axis=axis)
        others = xp.cumprod(before, axis) * xp.flip(xp.cumprod(behind, axis), axis)
        return spread(xp, grad, shape, ctx.axis) * xp.reshape(others, shape)


def as_kind(input: Tensor, dtype: Dtype | None) -> Tensor:
    """The input cast to ``dtype`` before it is reduced; itself for None."""
    if dtype is None or input.array.dtype == dtypes.as_numpy(dtype):
        return input
    return input.to(dtypes.as_dtype(dtype))


def _numpy_sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=None if dtype is None else dtype.numpy)


@op(
    primitive=Sum,
    reference=reducing(_numpy_sum),
    samples=[
        *REDUCED,
        sample(arg(2, 3, dtype="int32")),
        sample(arg(2, 3, dtype="uint8", low=100, high=200), 1),
        sample(arg(2, 3, dtype="bool"), 0),
        sample(arg(2, 3), 1, dtype=dtypes.float64),
    ],
    errors=[OUT_OF_RANGE, TWICE],
)
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype | None = None) -> Tensor:
    """Sum all elements, or over the dimensions ``dim``.

    ``keepdim`` leaves these in place with extent 1.

    Integers and bools are summed as int64.  ``dtype`` casts first.  The sum of nothing is 0.
    IndexError for a dimension that does not exist, RuntimeError for one given twice.

    >>> import accelgrad
    >>> accelgrad.sum(accelgrad.tensor([[1, 2], [3, 4]]), dim=0)
    tensor([4, 6])
    """
    if dtype is not None:
        result = Sum.apply(as_kind(input, dtype), axis=axes_of(dim, input), keepdims=keepdim)
        return as_kind(result, dtype)
    return Sum.apply(input, axis=None if dim is None else axes_of(dim, input), keepdims=keepdim)


def needs_floats(name: str, input: Tensor, dtype: Dtype | None = None) -> None:
    """RuntimeError where an average of integers is asked for."""
    kind = input.dtype if dtype is None else dtypes.as_dtype(dtype)
    if not kind.is_floating_point:
        what = "Input" if dtype is None else "Optional"
        raise RuntimeError(
            f"{name}(): could not infer output dtype."
            f" {what} dtype must be either a floating point or complex dtype."
            f" Got: {kind.title.removesuffix('Tensor')}; convert with .float() first"
        )


@op(
    primitive=Mean,
    reference=reducing(np.mean),
    samples=REDUCED[:-1],
    errors=[
        OUT_OF_RANGE,
        (sample(arg(2, dtype="int64")), RuntimeError, r"mean\(\): could not infer output dtype"),
    ],
)
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype | None = None) -> Tensor:
    """The arithmetic mean of all elements, or over the dimensions ``dim``; NaN over nothing.

    RuntimeError for integers, unless a floating point ``dtype`` is given.

    >>> import accelgrad
    >>> accelgrad.mean(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([1.5000, 3.5000])
    """
    if dtype is not None or not input.is_floating_point():
        needs_floats("mean", input, dtype)
        input = as_kind(input, dtype)
    return Mean.apply(input, axis=None if dim is None else axes_of(dim, input), keepdims=keepdim)


@op(
    primitive=Prod,
    reference=reducing(np.prod),
    samples=[
        sample(arg(2, 3)),
        sample(arg(2, 3), 1),
        sample(arg(2, 3, 2), -2, keepdim=True),
        sample(arg(values=[[2.0, 0.0, 3.0], [0.0, 0.0, 2.0]]), 1),
        sample(arg(values=[[2.0, 0.0], [1.0, 3.0]])),
        sample(arg()),
        sample(arg(0)),
        sample(arg(3, 1), 1),
        sample(arg(4, dtype="int32")),
    ],
    errors=[OUT_OF_RANGE],
)
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Dtype | None = None
) -> Tensor:
    """The product of all elements, or along the dimension ``dim``; integers are multiplied as int64.

    The gradient is right where elements are 0.

    >>> import accelgrad
    >>> accelgrad.prod(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([ 2., 12.])
    """
    if input.array.ndim == 0 and dim is not None:
        axes_of(dim, input)
        dim = None
    result = Prod.apply(as_kind(input, dtype), axis=axes_of(dim, input), keepdims=keepdim)
    return as_kind(result, dtype)


class LogSumExp(Primitive):
    """y = log(sum of e^x),  dL/dx = dL/dy e^(x - y)"""

    promotion = "float"

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.axis = axis
        y = ctx.xp.logsumexp(x, axis=axis, keepdims=keepdims)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        share = x - spread(xp, y, x.shape, ctx.axis)
        share = xp.exp(xp.where(share == share, share, -xp.inf))  # inf - inf: the others have no share
        return spread(xp, grad, x.shape, ctx.axis) * share


def _numpy_logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else axis
    return np.logaddexp.reduce(x, axis=axes, keepdims=keepdims)  # type: ignore[call-overload]


@op(
    primitive=LogSumExp,
    reference=reducing(_numpy_logsumexp),
    samples=[
        sample(arg(2, 3), 1),
        sample(arg(2, 3, 2), (0, -1), keepdim=True),
        sample(arg(2, 3, low=900, high=1000), 0),
        sample(arg(values=[float("-inf"), float("-inf")], requires_grad=False), 0),
        sample(arg(values=[float("inf"), 1.0], requires_grad=False), 0),
        sample(arg(), 0),
    ],
    errors=[OUT_OF_RANGE],
    also=("special.logsumexp",),
)
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(input)))`` over the dimensions ``dim``, without overflow.

    >>> import accelgrad
    >>> accelgrad.logsumexp(accelgrad.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    return LogSumExp.apply(input, axis=axes_of(dim, input), keepdims=keepdim)


class CountNonzero(Primitive):
    """y = how many x are not 0"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None) -> Any:
        return ctx.xp.sum(ctx.xp.not_equal(x, 0), axis=axis, dtype="int64")


@op(
    primitive=CountNonzero,
    reference=lambda x, dim=None: np.count_nonzero(x, axis=dim),
    samples=[
        sample(arg(2, 3, dtype="int64")),
        sample(arg(2, 3, dtype="bool"), 1),
        sample(arg(2, 3, 2, dtype="int64", low=0), (0, 2)),
        sample(arg(values=[0.0, 1.0, float("nan")], requires_grad=False)),
        sample(arg(0, 2, dtype="int64"), 0),
    ],
    errors=[OUT_OF_RANGE],
    differentiable=False,
)
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not 0 (NaN is not), over all or over ``dim``, as int64.

    >>> import accelgrad
    >>> accelgrad.count_nonzero(accelgrad.tensor([[0, 1], [2, 3]]), dim=0)
    tensor([1, 2])
    """
    return CountNonzero.apply(input, axis=axes_of(dim, input))


class WithoutNan(Primitive):
    """y = x with 0 for NaN,  dL/dx = dL/dy, 0 for NaN"""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.hole = x != x
        return ctx.xp.where(ctx.hole, ctx.xp.zeros((), dtype=x.dtype), x)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.where(ctx.hole, 0.0, grad)


HOLES = [
    sample(arg(2, 3)),
    sample(arg(values=[[1.0, float("nan"), 2.0], [3.0, 4.0, 5.0]], requires_grad=False), 1),
    sample(arg(values=[[1.0, float("nan"), 2.0], [3.0, 4.0, 5.0]], requires_grad=False)),
    sample(arg(2, 3, 2), (0, -1), keepdim=True),
]


@op(
    primitive=WithoutNan, reference=reducing(np.nansum), samples=[*HOLES, sample(arg(2, 3, dtype="int32"), 0)]
)
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype | None = None) -> Tensor:
    """The sum of all elements that are not NaN, over all or over ``dim``.

    >>> import accelgrad
    >>> accelgrad.nansum(accelgrad.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    return sum(WithoutNan.apply(as_kind(input, dtype)), dim, keepdim)


@op(primitive=WithoutNan, reference=reducing(np.nanmean), samples=HOLES)
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype | None = None) -> Tensor:
    """The mean of all elements that are not NaN, over all or over ``dim``; NaN where there is none.

    >>> import accelgrad
    >>> accelgrad.nanmean(accelgrad.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    needs_floats("nanmean", input, dtype)
    input = as_kind(input, dtype)
    count = (input == input).sum(dim, keepdim)  # NaN does not equal itself
    return nansum(input, dim, keepdim) / count


@op(
    samples=[
        sample(arg(2, 3), 1, 3),
        sample(arg(2, 3), (3,)),
        sample(arg(4, 2, 3), (2, 1)),
        sample(arg(2, 3), 2, 3),
    ],
    errors=[(sample(arg(2, 3), 2, 2), RuntimeError, "is not expandable to size")],
    out=False,
    torch="Tensor.sum_to_size",
)
def sum_to_size(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """The sum over the dimensions that an expansion from ``size`` to the input's shape stretches.

    >>> import accelgrad
    >>> accelgrad.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    wanted = sizes(size)
    if not wanted:
        return sum(input)
    try:
        return unbroadcast(context.reading, input, wanted)
    except (RuntimeError, IndexError):
        raise RuntimeError(
            f"size {{{list(wanted)}}} is not expandable to size {{{list(input.array.shape)}}}."
        ) from None


@op(
    primitive=Diagonal,
    reference=np.trace,
    samples=[sample(arg(3, 3)), sample(arg(2, 4)), sample(arg(0, 3))],
    errors=[(sample(arg(3)), RuntimeError, "trace: expected a matrix, but got tensor with dim 1")],
)
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    >>> import accelgrad
    >>> accelgrad.trace(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input.array.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.array.ndim}")
    return Diagonal.apply(input, offset=0, dim1=0, dim2=1).sum()
