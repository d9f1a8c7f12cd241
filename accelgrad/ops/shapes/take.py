"""Elements by mask or by flat position: take, masked_select, unravel_index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import boolean, no_broadcast
from accelgrad.ops.registry.dims import sizes
from accelgrad.ops.shapes.expand import expand
from accelgrad.ops.shapes.index import Index
from accelgrad.ops.shapes.scatter import flat_index
from accelgrad.ops.shapes.shape import View

__all__ = ["masked_select", "take", "unravel_index"]


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
    """Return the elements at flat positions ``index``, in the shape of ``index``.

    The positions are int64 and count all elements in index order, negative ones from the end.  IndexError if
    one is out of range, RuntimeError for another dtype.

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
    """Return the elements where ``mask`` holds, as a vector; the mask is bool, and the two broadcast.

    RuntimeError for a mask of another dtype, and for shapes that do not broadcast.

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
        input = expand(input, *shape)
    if not shape:
        input, shape = View.apply(input, shape=(1,)), (1,)
    return Index.apply(input, index=(input.xp.broadcast_to(array, shape),))


@op(
    reference=lambda indices, shape: tuple(np.unravel_index(indices, shape)),
    samples=[
        sample(arg(3, dtype="int64", values=[0, 3, 11]), (3, 4)),
        sample(arg(2, 2, dtype="int64", values=[[0, 5], [7, 23]]), (2, 3, 4)),
        sample(arg(dtype="int64", values=5), 6),
    ],
    errors=[
        (sample(arg(2), (2, 2)), ValueError, "expected 'indices' to be integer dtype"),
        (
            sample(arg(1, dtype="int64", values=[1]), (2, -1)),
            ValueError,
            "'shape' cannot have negative values",
        ),
    ],
    differentiable=False,
    method=False,
    out=False,
)
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Return the coordinates of flat ``indices`` in an array of ``shape``, a tensor for each dimension.

    The coordinates are int64.  ValueError for indices that are not integers and for negative extents.

    >>> import accelgrad
    >>> accelgrad.unravel_index(accelgrad.tensor([3, 11]), (3, 4))
    (tensor([0, 2]), tensor([3, 3]))
    """
    if indices.array.dtype.kind not in "iu":
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    extents = sizes((shape,))
    if any(extent < 0 for extent in extents):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(extents)}")
    raw, rest = indices.xp, indices.array.astype("int64")
    places = []
    for extent in reversed(extents):
        places.append(wrap(raw.asarray(rest % extent), raw))
        rest = rest // extent
    return tuple(reversed(places))
