"""Grids and products of several tensors: meshgrid, cartesian_prod, block_diag, atleast_1d and others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.create import made
from accelgrad.ops.pointwise.power import pow
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.expand import Expand
from accelgrad.ops.shapes.gather import IndexSelect
from accelgrad.ops.shapes.join import at_least, cat, stack
from accelgrad.ops.shapes.pad import ConstantPadNd
from accelgrad.ops.shapes.shape import View

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "cartesian_prod",
    "combinations",
    "meshgrid",
]


def _given(tensors: Sequence[Any]) -> list[Tensor]:
    """Return tensors given as ``f(a, b)`` or as ``f([a, b])`` as a list; TypeError for what is no Tensor."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    for one in tensors:
        if not isinstance(one, Tensor):
            raise TypeError(f"expected Tensors, got {type(one).__name__}")
    return list(tensors)


@op(
    primitive=Expand,
    reference=lambda *tensors, indexing="ij": tuple(np.meshgrid(*tensors, indexing=indexing)),
    samples=[
        sample(arg(2), arg(3), indexing="ij"),
        sample(arg(2), arg(3), indexing="xy"),
        sample(arg(2), arg(3), arg(1), indexing="xy"),
        sample(arg(2), arg(), indexing="ij"),
    ],
    errors=[
        (sample(arg(2, 2)), RuntimeError, "torch.meshgrid: Expected 0D or 1D tensor"),
        (sample(arg(2), indexing="ab"), RuntimeError, "indexing must be one of"),
    ],
    method=False,
    out=False,
)
def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of all points of the grid that vectors span, one tensor for each vector.

    Vectors of n1, n2, ... elements give tensors of shape (n1, n2, ...), expanded without using memory.  With
    ``indexing="xy"`` the first two dimensions are exchanged, as plots have them.  RuntimeError for more than
    one dimension.

    >>> import accelgrad
    >>> accelgrad.meshgrid(accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4]))
    (tensor([[1, 1],
            [2, 2]]), tensor([[3, 4],
            [3, 4]]))
    """
    given = _given(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for one in given:
        if one.array.ndim > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list"
                f" but got shape {tuple(one.shape)}"
            )
    exchanged = indexing == "xy" and len(given) > 1
    order = [1, 0, *range(2, len(given))] if exchanged else list(range(len(given)))
    shape = tuple([given[place].array.size for place in order])
    result = []
    for place, one in enumerate(given):
        axis = order.index(place)
        line = View.apply(one, shape=tuple([-1 if dim == axis else 1 for dim in range(len(given))]))
        result.append(Expand.apply(line, shape=shape))
    return tuple(result)


@op(
    samples=[sample(arg(2), arg(3)), sample(arg(2)), sample(arg(2), arg(1), arg(2))],
    errors=[(sample(arg(2, 2)), RuntimeError, r"Expect a 1D vector")],
    method=False,
    out=False,
)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return all ways to take one element of every vector, one in each row; a single vector as it is.

    k vectors of n1, n2, ... elements give (n1 n2 ..., k).  RuntimeError for tensors that are not vectors.

    >>> import accelgrad
    >>> accelgrad.cartesian_prod(accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    given = _given(tensors)
    for one in given:
        if one.array.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(one.shape)}")
    if len(given) == 1:
        return given[0]
    return stack([View.apply(one, shape=(-1,)) for one in meshgrid(*given)], 1)


@op(
    primitive=IndexSelect,
    samples=[
        sample(arg(4)),
        sample(arg(3), 3),
        sample(arg(3), 2, with_replacement=True),
        sample(arg(3), 1),
        sample(arg(2), 3),
    ],
    errors=[
        (sample(arg(2, 2)), RuntimeError, "Expect a 1D vector, but got shape"),
        (sample(arg(2), -1), RuntimeError, "Expect a non-negative number"),
    ],
    out=False,
)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all choices of ``r`` elements of a vector, one in each row.

    With ``with_replacement`` an element may be taken several times.  RuntimeError unless the input is a
    vector and ``r`` is not negative.

    >>> import accelgrad
    >>> accelgrad.combinations(accelgrad.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if input.array.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return IndexSelect.apply(input, dim=0, index=input.xp.zeros(0, dtype=np.int64))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.array.size), r)), dtype=np.int64).reshape(-1, r)  # (count, r)
    picked = IndexSelect.apply(input, dim=0, index=input.xp.from_host(rows.reshape(-1)))
    return View.apply(picked, shape=rows.shape)


@op(
    primitive=ConstantPadNd,
    samples=[sample(arg(2, 3), arg(1, 2)), sample(arg(2), arg(), arg(2, 1)), sample(arg(2, 2))],
    errors=[(sample(arg(1, 2, 3)), RuntimeError, "Input tensors must have 2 or fewer dimensions")],
    method=False,
    out=False,
)
def block_diag(*tensors: Tensor) -> Tensor:
    """Put matrices one after the other on the diagonal of a matrix that is zero elsewhere.

    Vectors count as rows, and 0-d tensors as 1 x 1.  RuntimeError for more than two dimensions.

    >>> import accelgrad
    >>> accelgrad.block_diag(accelgrad.tensor([[1, 2]]), accelgrad.tensor([3]))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    given = []
    for place, one in enumerate(_given(tensors)):
        if one.array.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions."
                f" Input {place} has {one.array.ndim} dimensions"
            )
        given.append(at_least(one, 2))
    width, before, rows = sum([one.array.shape[1] for one in given]), 0, []
    for one in given:
        after = width - before - one.array.shape[1]
        rows.append(ConstantPadNd.apply(one, widths=((0, 0), (before, after))))
        before += one.array.shape[1]
    return cat(rows, 0)


def _at_least(ndim: int, tensors: Sequence[Any]) -> Any:
    """Return tensors with at least ``ndim`` dimensions: one for one Tensor, otherwise a tuple."""
    given = _given(tensors)
    result = tuple([at_least(one, ndim) for one in given])
    return result[0] if len(tensors) == 1 and isinstance(tensors[0], Tensor) else result


@op(
    primitive=View,
    reference=np.atleast_1d,
    samples=[sample(arg()), sample(arg(2)), sample(arg(), arg(2))],
    method=False,
    out=False,
)
def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Return tensors with at least one dimension: a 0-d one becomes (1,).

    >>> import accelgrad
    >>> accelgrad.atleast_1d(accelgrad.tensor(3))
    tensor([3])
    """
    return _at_least(1, tensors)


@op(
    primitive=View,
    reference=np.atleast_2d,
    samples=[sample(arg()), sample(arg(2)), sample(arg(2, 1))],
    method=False,
    out=False,
)
def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Return tensors with at least two dimensions: a vector (n,) becomes a row (1, n).

    >>> import accelgrad
    >>> accelgrad.atleast_2d(accelgrad.tensor([3, 4]))
    tensor([[3, 4]])
    """
    return _at_least(2, tensors)


@op(
    primitive=View,
    reference=np.atleast_3d,
    samples=[sample(arg()), sample(arg(2)), sample(arg(2, 3))],
    method=False,
    out=False,
)
def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Return tensors with at least three dimensions: (n,) becomes (1, n, 1), (n, m) becomes (n, m, 1).

    >>> import accelgrad
    >>> accelgrad.atleast_3d(accelgrad.tensor([3, 4])).shape
    accelgrad.Size([1, 2, 1])
    """
    return _at_least(3, tensors)


@op(
    reference=lambda x, N=None, increasing=False: np.vander(x, N, increasing),
    samples=[sample(arg(3)), sample(arg(3), 2), sample(arg(3), 4, True)],
    errors=[(sample(arg(2, 2)), RuntimeError, "x must be a one-dimensional tensor")],
    torch="none",  # PyTorch's gradient fails at its own step in place
    method=False,
    out=False,
)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the Vandermonde matrix: the powers N - 1, ..., 1, 0 of ``x`` as columns.

    With ``increasing`` they begin with 0.  A vector of n elements gives (n, N), and N is n if not given;
    RuntimeError for other shapes.

    >>> import accelgrad
    >>> accelgrad.vander(accelgrad.tensor([2, 3]), 3)
    tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    if x.array.ndim != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, but has shape {tuple(x.shape)}")
    columns = x.array.shape[0] if N is None else N
    powers = np.arange(columns) if increasing else np.arange(columns)[::-1]
    exponents = made(x.xp.from_host(powers.astype(np.int64)), x.xp, False)
    return pow(x.unsqueeze(1), exponents)
