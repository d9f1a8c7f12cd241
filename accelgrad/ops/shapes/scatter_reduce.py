"""Reductions of the elements that an index sends to one place: scatter_reduce and index_reduce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.gather import (
    Gather,
    Scatter,
    ScatterAdd,
    check_source,
    elements,
    gathered,
    same_type,
    slices,
)

__all__ = ["scatter_reduce"]


def combined(xp: Any, x: Any, dim: int, index: Any, y: Any, combine: Callable[..., Any]) -> Any:
    """Return a copy of ``x`` with every element of ``y`` combined into the place that its index names.

    Elements with one place are brought together by sorting; then neighbours are combined in pairs, pairs of
    pairs and so on, which takes as many steps as the logarithm of the longest run and works on every device.
    """
    z = x.copy()
    flat = z.reshape(-1)  # (all elements,)
    y = y[tuple([slice(0, n) for n in index.shape])].reshape(-1) if y.ndim else y.reshape(-1)
    if not y.size:
        return z

    # --- elements with one place stand next to each other
    places = _places(xp, x.shape, dim, index)
    order = xp.argsort(places, kind="stable")
    places, values = places[order], y[order]
    rank = xp.arange(places.size) - xp.searchsorted(places, places, side="left")  # 0, 1, ... within each run

    # --- each run is combined into its first element, and that into x
    longest, step = int(rank.max()) + 1, 1
    while step < longest:
        joined = xp.nonzero(rank[step:] % (2 * step) == step)[0]  # they take in those ``step`` places on
        values[joined] = combine(values[joined], values[joined + step])
        step *= 2
    first = rank == 0
    flat[places[first]] = combine(flat[places[first]], values[first])
    return flat.reshape(x.shape)


def _places(xp: Any, shape: tuple[int, ...], dim: int, index: Any) -> Any:
    """Return the flat position in an array of ``shape`` that each entry of ``index`` names."""
    if not shape:
        return index.reshape(-1)
    stride, places = 1, xp.zeros(index.shape, dtype=np.int64)
    for axis in range(len(shape) - 1, -1, -1):
        if axis == dim:
            places = places + index * stride
        else:
            line = (index.shape[axis],) + (1,) * (index.ndim - 1 - axis)  # (n, 1, 1, ...)
            places = places + xp.arange(index.shape[axis]).reshape(line) * stride
        stride *= shape[axis]
    return places.reshape(-1)


class ScatterExtremum(Primitive):
    """z = the largest (or smallest) of x and the y sent there.

    dL/dz is shared evenly among those that attain it.
    """

    @staticmethod
    def forward(ctx, x, y, *, dim: int, index, largest: bool):
        xp = ctx.xp
        z = combined(xp, x, dim, index, y, xp.maximum if largest else xp.minimum)
        ctx.dim, ctx.index, ctx.shape = dim, index, y.shape
        ctx.from_x = (x == z).astype(x.dtype)
        used = tuple([slice(0, n) for n in index.shape])
        ctx.from_y = xp.zeros(y.shape, dtype=x.dtype)
        ctx.from_y[used] = y[used] == Gather.run(xp, z, dim=dim, index=index)
        shares = ScatterAdd.run(xp, ctx.from_x, ctx.from_y, dim=dim, index=index)
        ctx.shares = xp.maximum(shares, xp.ones_like(shares))
        return z

    @staticmethod
    def backward(ctx, grad):
        need_x, need_y = ctx.needs_input_grad
        each = grad / ctx.shares
        return each * ctx.from_x if need_x else None, gathered(ctx, each) * ctx.from_y if need_y else None


class ScatterProduct(Primitive):
    """z = the product of x and the y sent there.

    dL/dx = dL/dz times the product of the others, likewise dL/dy.
    """

    @staticmethod
    def forward(ctx, x, y, *, dim: int, index):
        xp = ctx.xp
        z = combined(xp, x, dim, index, y, xp.multiply)
        ctx.dim, ctx.index, ctx.shape = dim, index, y.shape
        ctx.save_for_backward(x, y, z)
        # The product of all others is z / y, except for a single zero: then it is that of the other factors.
        zeros = ScatterAdd.run(xp, (x == 0).astype(x.dtype), (y == 0).astype(x.dtype), dim=dim, index=index)
        rest = combined(
            xp,
            xp.where(x == 0, 1, x).astype(x.dtype),
            dim,
            index,
            xp.where(y == 0, 1, y).astype(x.dtype),
            xp.multiply,
        )
        ctx.rest = xp.where(zeros == 1, rest, 0).astype(x.dtype)
        ctx.x_is_zero, ctx.y_is_zero = x == 0, y == 0
        return z

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y, z = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = grad_y = None
        if need_x:
            grad_x = grad * xp.where(ctx.x_is_zero, ctx.rest, z / xp.where(ctx.x_is_zero, 1.0, x))
        if need_y:
            to_y = gathered(ctx, grad * z) / xp.where(ctx.y_is_zero, 1.0, y)
            grad_y = xp.where(ctx.y_is_zero, gathered(ctx, grad * ctx.rest), to_y)
        return grad_x, grad_y


_INDEX = arg(2, 3, dtype="int64", values=[[0, 2, 0], [1, 1, 1]])
_CALL = (arg(2, 3, low=0.5), 1, _INDEX, arg(2, 3, low=0.5))
_TIED = (arg(2, 3, distinct=True), 1, _INDEX, arg(2, 3, distinct=True))


@op(
    primitive=ScatterProduct,
    samples=[
        sample(*_CALL, "sum"),
        sample(*_CALL, "mean"),
        sample(*_CALL, "prod"),
        sample(*_TIED, "amax", include_self=False),
        sample(*_TIED, "amin", include_self=False),
        sample(*_CALL, "sum", include_self=False),
        sample(*_CALL, "mean", include_self=False),
        sample(*_CALL, "prod", include_self=False),
        sample(
            arg(3, dtype="int64", high=9, low=0),
            0,
            arg(3, dtype="int64", values=[1, 1, 2]),
            arg(3, dtype="int64", high=9, low=0),
            "mean",
        ),
        sample(
            arg(3, dtype="int64", high=9, low=0),
            0,
            arg(3, dtype="int64", values=[1, 1, 1]),
            arg(3, dtype="int64", high=9, low=0),
            "amin",
            include_self=False,
        ),
    ],
    errors=[
        (
            sample(*_CALL, "median"),
            RuntimeError,
            "reduce argument must be either sum, prod, mean, amax or amin",
        ),
        (
            sample(arg(2), 0, arg(1, dtype="int64", values=[4]), arg(1), "sum"),
            RuntimeError,
            "index 4 is out of bounds for dimension 0 with size 2",
        ),
    ],
    inplace=True,
)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return ``input`` with the reduction of all ``src[i, j]`` that are sent to ``[i, index[i, j]]``.

    This is for ``dim=1``, and likewise for other dimensions.  ``reduce`` is "sum", "prod", "mean", "amax" or
    "amin"; the element of ``input`` takes part if ``include_self``.  Where several elements attain an
    extremum they share its gradient.  RuntimeError if dtypes differ, shapes do not fit or an index is out of
    range.

    >>> import accelgrad
    >>> i = accelgrad.tensor([0, 0, 1])
    >>> accelgrad.scatter_reduce(accelgrad.zeros(2), 0, i, accelgrad.tensor([1.0, 5.0, 2.0]), "amax")
    tensor([5., 2.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    same_type("scatter", input, src)
    dim, array = elements("scatter", input, dim, index, src)
    start, xp = input, input.xp
    if not include_self:
        start = Scatter.apply(input, _neutral(reduce, input), dim=dim, index=array)
    if reduce in ("sum", "mean"):
        total = ScatterAdd.apply(start, src, dim=dim, index=array)
        if reduce == "sum":
            return total
        ones = xp.ones(array.shape, dtype=input.array.dtype)
        before = xp.full_like(input.array, 1 if include_self else 0)
        count = ScatterAdd.run(xp, before, ones, dim=dim, index=array)
        count = xp.maximum(count, xp.ones_like(count))
        if not input.is_floating_point():
            return wrap(total.array // count, xp)
        return total / count
    if reduce == "prod":
        return ScatterProduct.apply(start, src, dim=dim, index=array)
    return ScatterExtremum.apply(start, src, dim=dim, index=array, largest=reduce == "amax")


def _neutral(reduce: str, input: Tensor) -> Any:
    """Return the value that changes nothing when it takes part in a reduction."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    kind = input.array.dtype
    if input.is_floating_point():
        return -np.inf if reduce == "amax" else np.inf
    if kind.kind == "b":
        return reduce == "amin"
    limits = np.iinfo(kind)
    return int(limits.min if reduce == "amax" else limits.max)


_ROWS = arg(4, dtype="int64", values=[0, 2, 2, 1])


_TO_ROWS = (arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5))


@op(
    samples=[
        sample(arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5), "prod"),
        sample(arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5), "mean"),
        sample(*_TO_ROWS, "amax"),
        sample(*_TO_ROWS, "amin", include_self=False),
        sample(arg(2, 3, low=0.5), 1, _ROWS, arg(2, 4, low=0.5), "mean", include_self=False),
    ],
    errors=[
        (sample(*_TO_ROWS, "sum"), RuntimeError, r"index_reduce\(\): Expected reduce to be one of"),
        (
            sample(arg(3, 2), 0, arg(2, dtype="int64", values=[0, 1]), arg(4, 2), "prod"),
            RuntimeError,
            "Number of indices",
        ),
    ],
    inplace=True,
)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return ``input`` with slice ``index[k]`` of ``dim`` reduced with slice k of ``source``.

    ``reduce`` is "prod", "mean", "amax" or "amin"; the slice of ``input`` takes part if ``include_self``.
    RuntimeError if dtypes differ, shapes do not fit or an index is out of range.

    >>> import accelgrad
    >>> i = accelgrad.tensor([0, 0])
    >>> accelgrad.index_reduce(accelgrad.ones(2), 0, i, accelgrad.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    if input.array.ndim == 0 == source.array.ndim:
        line = index_reduce(
            input.reshape(1), dim, index, source.reshape(1), reduce, include_self=include_self
        )  # fmt: skip
        return line.reshape(())
    dim, array = slices("index_reduce", input, dim, index, RuntimeError)
    check_source("index_reduce_", input, dim, array, source)
    raw = input.xp
    shape = [1] * source.array.ndim
    shape[dim] = array.size  # (1, ..., n, ..., 1)
    spread = raw.broadcast_to(raw.reshape(array, tuple(shape)), source.array.shape)
    return scatter_reduce(
        input, dim, wrap(raw.ascontiguousarray(spread), raw), source, reduce, include_self=include_self
    )
