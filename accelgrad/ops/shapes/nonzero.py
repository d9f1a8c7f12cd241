"""Indices of the elements that are not zero: nonzero, nonzero_static, argwhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample

__all__ = ["argwhere", "nonzero", "nonzero_static"]


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
    """Return the indices of the elements that are not zero, one in each row: (n, ndim), in int64.

    With ``as_tuple`` it is a tuple with one vector (n,) for each dimension.

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
    return wrap(xp.stack(xp.nonzero(array), axis=1), xp)  # (n, ndim)


@op(
    samples=[
        sample(arg(3, values=[1.0, 0.0, 2.0], requires_grad=False), size=4),
        sample(arg(2, 2, values=[[1.0, 0.0], [0.0, 2.0]], requires_grad=False), size=1),
        sample(arg(2, values=[0.0, 0.0], requires_grad=False), size=2, fill_value=7),
    ],
    errors=[(sample(arg(2), size=-1), RuntimeError, "nonzero_static: 'size' must be an non-negative")],
    differentiable=False,
    out=False,
)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return :func:`accelgrad.nonzero` in exactly ``size`` rows: cut off, or filled up with ``fill_value``.

    RuntimeError for a negative ``size``.

    >>> import accelgrad
    >>> accelgrad.nonzero_static(accelgrad.tensor([1, 0, 2]), size=3).tolist()
    [[0], [2], [-1]]
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = nonzero(input).array[:size]
    raw = input.xp
    rest = raw.full((size - found.shape[0], input.array.ndim), fill_value, dtype="int64")
    return wrap(raw.concatenate([found, rest], axis=0), raw)


@op(
    reference=np.argwhere,
    samples=[sample(arg(2, 3, dtype="int64", low=0, high=2)), sample(arg(dtype="int64", values=0))],
    differentiable=False,
    out=False,
)
def argwhere(input: Tensor) -> Tensor:
    """Return the indices of the elements that are not zero, one in each row: (n, ndim), in int64.

    >>> import accelgrad
    >>> accelgrad.argwhere(accelgrad.tensor([[0, 1]]))
    tensor([[0, 1]])
    """
    return nonzero(input)
