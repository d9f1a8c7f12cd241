"""Operations on all tensors of a list at once, in few calls: updates in place, and the total norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels.updates import Formula

__all__ = ["by_kind", "total_norm", "update_all"]


def by_kind(tensors: list[Tensor]) -> Iterator[tuple[Any, list[Tensor]]]:
    """Yield the tensors of each device and type, with the array module of the device.

    >>> import accelgrad
    >>> one, two, three = accelgrad.ones(1), accelgrad.ones(2, dtype=accelgrad.float64), accelgrad.ones(3)
    >>> [[tensor.numel() for tensor in alike] for _, alike in by_kind([one, two, three])]
    [[1, 3], [2]]
    """
    if not tensors:
        return
    xp, dtype = tensors[0].xp, tensors[0].array.dtype
    for one in tensors:
        if one.xp is not xp or one.array.dtype is not dtype:
            break
    else:
        yield xp, tensors
        return
    kinds: dict[Any, list[Tensor]] = {}
    for one in tensors:
        kinds.setdefault((id(one.xp), one.array.dtype), []).append(one)
    for alike in kinds.values():
        yield alike[0].xp, alike


def update_all(
    xp: Any, tensors: list[Tensor], formula: Formula, others: list[Any], numbers: Any, *common: float
) -> None:
    """Run ``xp.update_all`` on the arrays of tensors of one device; autograd notices that they changed.

    See :mod:`accelgrad.kernels.updates` for formulas and arguments.
    """
    arrays = [one.array for one in tensors]
    if xp.alone:
        xp.update_all(arrays, formula, others, numbers, *common)
    else:
        with xp.scope():
            xp.update_all(arrays, formula, others, numbers, *common)
    for one in tensors:
        one._version[0] += 1


def total_norm(tensors: list[Tensor], ord: float) -> tuple[Any, Any]:
    """Return the norm of all tensors as if they were one vector: a raw 0-d array, and its array module.

    The array lies on the device of the first tensor.
    """
    home = tensors[0].xp
    norms = []
    for xp, alike in by_kind(tensors):
        with xp.scope():
            norm = xp.total_norm([one.array for one in alike], ord)
        norms.append(norm if xp is home else home.from_host(xp.to_host(norm)))
    with home.scope():
        total = norms[0] if len(norms) == 1 else home.vector_norm(home.stack(norms), ord)
        return home.asarray(total), home
