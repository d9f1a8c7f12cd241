"""Order: sort, argsort, msort, topk, kthvalue.

NaN counts as larger than every number.  Gradients go back to the places where the values came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.gather import Gather
from accelgrad.ops.shapes.shape import View

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]


class Sort(Gather):
    """y = x in order along a dimension;  dL/dx = dL/dy, each element where it came from."""


class Topk(Gather):
    """y = the largest or smallest elements of x along a dimension.

    dL/dx = zeros with dL/dy where they came from.
    """


class Kthvalue(Gather):
    """y = the kth smallest element of x along a dimension;  dL/dx = zeros with dL/dy where it came from."""


def _order(xp: Any, array: Any, dim: int, descending: bool) -> Any:
    """The indices that sort along ``dim``; equal elements keep their order."""
    if not array.ndim:
        return xp.zeros((), dtype=np.int64)
    if not descending:
        return xp.argsort(array, axis=dim, kind="stable")
    # Reversed twice: ascending order of the reversed elements, read backwards, keeps equal elements in order.
    backwards = (slice(None),) * dim + (slice(None, None, -1),)
    return array.shape[dim] - 1 - xp.argsort(array[backwards], axis=dim, kind="stable")[backwards]


def _picked(primitive: type[Gather], input: Tensor, dim: int, index: Any) -> Tensor:
    return primitive.apply(input, dim=dim, index=index)


_SORTED = named("sort", "values", "indices")
_TOPK = named("topk", "values", "indices")
_KTHVALUE = named("kthvalue", "values", "indices")
_TIES = arg(5, dtype="int64", values=[2, 1, 2, 1, 2])


@op(
    primitive=Sort,
    reference=lambda x, dim=-1, descending=False: (
        -np.sort(-x, axis=dim) if descending else np.sort(x, axis=dim),
        np.argsort(-x if descending else x, axis=dim, kind="stable"),
    ),
    samples=[
        sample(arg(2, 4, distinct=True)),
        sample(arg(4, 2, distinct=True), 0),
        sample(arg(2, 4, distinct=True), 1, True),
        sample(arg(0, 3)),
        sample(_TIES, descending=True),
    ],
    errors=[(sample(arg(2), 3), IndexError, "Dimension out of range")],
)
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements in order along ``dim``, as ``values``, and where they were, as ``indices``.

    Equal elements always keep their order, whatever ``stable`` says.

    >>> import accelgrad
    >>> accelgrad.sort(accelgrad.tensor([3, 1, 2])).indices
    tensor([1, 2, 0])
    """
    dim = wrap_dim(dim, input.array.ndim)
    index = _order(input.xp, input.array, dim, descending)
    return _SORTED(_picked(Sort, input, dim, index), wrap(index, input.xp))


@op(
    reference=lambda x, dim=-1, descending=False: np.argsort(
        -x if descending else x, axis=dim, kind="stable"
    ),
    samples=[sample(arg(2, 4)), sample(arg(2, 4), 0, True), sample(_TIES, descending=True)],
    differentiable=False,
)
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort ``dim``; equal elements keep their order.

    >>> import accelgrad
    >>> accelgrad.argsort(accelgrad.tensor([3, 1, 2]), descending=True)
    tensor([0, 2, 1])
    """
    return wrap(_order(input.xp, input.array, wrap_dim(dim, input.array.ndim), descending), input.xp)


@op(
    primitive=Sort,
    reference=lambda x: np.sort(x, axis=0),
    samples=[sample(arg(4, 2, distinct=True)), sample(arg(3, distinct=True))],
)
def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension.

    >>> import accelgrad
    >>> accelgrad.msort(accelgrad.tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    return sort(input, 0).values


@op(
    primitive=Topk,
    samples=[
        sample(arg(2, 5, distinct=True), 2),
        sample(arg(5, 2, distinct=True), 3, 0),
        sample(arg(6, distinct=True), 2, largest=False),
        sample(arg(), 1),
        sample(arg(3, distinct=True), 0),
    ],
    errors=[
        (sample(arg(3), 9), RuntimeError, "selected index k out of range"),
        (sample(arg(3), -1), RuntimeError, "selected index k out of range"),
    ],
)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Return the ``k`` largest elements along ``dim``, in order, and where they were.

    Without ``largest`` they are the smallest.

    >>> import accelgrad
    >>> accelgrad.topk(accelgrad.tensor([1, 5, 3]), 2).values
    tensor([5, 3])
    """
    array, xp = input.array, input.xp
    dim = wrap_dim(dim, array.ndim)
    extent = array.shape[dim] if array.ndim else 1
    if not 0 <= k <= extent:
        raise RuntimeError(f"selected index k out of range: k = {k}, dimension {dim} has {extent} elements")
    if not array.ndim:
        index = xp.zeros((), dtype=np.int64)
    else:
        before = (slice(None),) * dim
        if 0 < k < extent // 8:  # only these few need to be sorted
            split = extent - k if largest else k - 1
            part = slice(split, None) if largest else slice(0, k)
            candidates = xp.sort(xp.argpartition(array, split, axis=dim)[(*before, part)], axis=dim)
            order = _order(xp, xp.take_along_axis(array, candidates, axis=dim), dim, largest)
            index = xp.take_along_axis(candidates, order, axis=dim)
        else:
            index = _order(xp, array, dim, largest)[(*before, slice(0, k))]
    return _TOPK(_picked(Topk, input, dim, index), wrap(index, xp))


@op(
    primitive=Kthvalue,
    samples=[
        sample(arg(2, 5, distinct=True), 2),
        sample(arg(5, 2, distinct=True), 1, 0, keepdim=True),
        sample(arg(), 1),
    ],
    errors=[
        (sample(arg(3), 0), RuntimeError, r"kthvalue\(\): selected number k out of range for dimension 0")
    ],
)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The ``k``-th smallest element along ``dim`` (counted from 1), and where it was.

    >>> import accelgrad
    >>> accelgrad.kthvalue(accelgrad.tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    array = input.array
    dim = wrap_dim(dim, array.ndim)
    if not 1 <= k <= (array.shape[dim] if array.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}: {k}")
    index = _order(input.xp, array, dim, False)
    if array.ndim:
        index = index[(slice(None),) * dim + (slice(k - 1, k),)]
    values = _picked(Kthvalue, input, dim, index)
    if array.ndim and not keepdim:
        shape = index.shape[:dim] + index.shape[dim + 1 :]
        values, index = View.apply(values, shape=shape), index.reshape(shape)
    return _KTHVALUE(values, wrap(index, input.xp))
