"""Tensors out of nothing or out of data: tensor, zeros, arange, rand and their kin."""

from __future__ import annotations

from typing import Any

from accelgrad import backend, dtypes
from accelgrad.dtypes import dtype
from accelgrad.ops.registry import op
from accelgrad.tensor import Tensor, as_array, wrap


@op(method=False, out=False, differentiable=False)
def tensor(
    data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of ``data``: numbers, nested sequences, arrays or tensors.

    The type is that of the data: bool, int64, the default floating point type for Python floats, an array's own; or
    ``dtype``.  ValueError for sequences of unequal length, TypeError for what is not a number.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    xp = backend.namespace(device) if device is not None or not isinstance(data, Tensor) else data.xp
    result = wrap(as_array(data, None if dtype is None else dtypes.as_numpy(dtype), xp), xp)
    return result.requires_grad_() if requires_grad else result
