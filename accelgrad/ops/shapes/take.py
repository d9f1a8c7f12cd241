"""Elements by value or by flat position: take, masked_select, nonzero, argwhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS, arg, op, sample
from accelgrad.ops.shapes.fill import boolean, no_broadcast
from accelgrad.ops.shapes.index import Index
from accelgrad.ops.shapes.scatter import flat_index
from accelgrad.ops.shapes.shape import View

__all__ = ["argwhere", "masked_select", "nonzero", "take"]


@op(
    primitive=Index,
    reference=np.take,
    samples=[
        sample(arg(2, 3), arg(2, 2, dtype="int64", values=[[0, 5], [5, -1]])),
        sample(arg(3), arg(dtype="int64", values=1)),
        sample(arg(3), arg(0, dtype="int64")),
    ],
    errors=[
        (
            sample(arg(2, 3), arg(1, dtype="int64", values=[7])),
            IndexError,
            "out of range: tried to access index 7",
        ),
        (sample(arg(2, 3), arg(1)), RuntimeError, r"take\(\): Expected a long tensor for index"),
    ],
)
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at flat positions ``index`` (int64, any shape, negative from the end), in the shape of
    ``index``.

    >>> import accelgrad
    >>> accelgrad.take(accelgrad.tensor([[1, 2], [3, 4]]), accelgrad.tensor([0, -1]))
    tensor([1, 4])
    """
    array = flat_index("take", input, index)
    return Index.apply(View.apply(input, shape=(-1,)), index=(array,))


@op(
    primitive=Index,
    reference=lambda x, mask: np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape))[
        np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape))
    ],
    samples=[
        sample(arg(2, 3), arg(2, 3, dtype="bool")),
        sample(arg(2, 3), arg(3, dtype="bool")),
        sample(arg(3), arg(2, 1, dtype="bool", values=[[True], [False]])),
        sample(arg(), arg(dtype="bool", values=True)),
    ],
    errors=[
        (sample(arg(2), arg(2)), RuntimeError, "masked_select: expected BoolTensor for mask"),
        (sample(arg(2), arg(3, dtype="bool")), RuntimeError, "must match the size of tensor"),
    ],
)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool) holds, as a vector; the two broadcast.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1, 2, 3])
    >>> accelgrad.masked_select(x, x > 1)
    tensor([2, 3])
    """
    array = boolean("masked_select", input, mask, "mask")
    if array.dtype.kind != "b":
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, but got {mask.dtype}")
    try:
        shape = np.broadcast_shapes(input.array.shape, array.shape)
    except ValueError:
        raise no_broadcast(input, array) from None
    if input.array.shape != shape:
        input = OPS["expand"].call(input, *shape)
    if not shape:
        input, shape = View.apply(input, shape=(1,)), (1,)
    return Index.apply(input, index=(input.xp.broadcast_to(array, shape),))


@op(
    samples=[
        sample(arg(2, 3, dtype="int64", low=0, high=2)),
        sample(arg(4, dtype="bool"), as_tuple=True),
        sample(arg(dtype="int64", values=3)),
        sample(arg(dtype="int64", values=3), as_tuple=True),
        sample(arg(0, 2)),
    ],
    differentiable=False,
)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: a row each, (n, ndim), or a tuple with one vector per
    dimension.

    >>> import accelgrad
    >>> accelgrad.nonzero(accelgrad.tensor([0, 5, 6]))
    tensor([[1],
            [2]])
    >>> accelgrad.nonzero(accelgrad.tensor([0, 5, 6]), as_tuple=True)
    (tensor([1, 2]),)
    """
    array, xp = input.array, input.xp
    if as_tuple:
        found = xp.nonzero(array if array.ndim else array.reshape(1))
        return tuple([wrap(one, xp) for one in found])
    if not array.ndim:
        return wrap(xp.zeros((int(bool(array)), 0), dtype=np.int64), xp)
    return wrap(xp.stack(xp.nonzero(array), axis=1), xp)


@op(
    reference=np.argwhere,
    samples=[sample(arg(2, 3, dtype="int64", low=0, high=2)), sample(arg(dtype="int64", values=0))],
    differentiable=False,
    out=False,
)
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, a row each.

    >>> import accelgrad
    >>> accelgrad.argwhere(accelgrad.tensor([[0, 1]]))
    tensor([[0, 1]])
    """
    return nonzero(input)
