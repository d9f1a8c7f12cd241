"""Views: which results share the memory of an input, and how they were taken from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor

__all__ = ["same_memory", "share"]


def share(primitive: Any, source: Any, result: Tensor, options: dict[str, Any]) -> None:
    """Make ``result`` a view of ``source`` if it shows the same memory."""
    if not isinstance(source, Tensor) or not same_memory(source.array, result.array):
        return
    result._version = source._version
    step = ((primitive, options),)
    if source._view is None:
        result._view = (source, step, source._version[0])
    else:
        base, chain, _ = source._view
        result._view = (base, chain + step, source._version[0])


def same_memory(x: Any, y: Any) -> bool:
    """Tell whether the array ``y``, made from ``x``, shows memory of ``x``."""
    if isinstance(x, np.ndarray):
        return y is x or (y.base is not None and (y.base is x or np.may_share_memory(x, y)))
    return y is x or (x.data.mem is y.data.mem)
