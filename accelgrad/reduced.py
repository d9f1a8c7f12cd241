"""How a formula reads bfloat16: in float32, rounded once at its end.

PyTorch computes so: every operation takes bfloat16 in, works in float32, and rounds what comes out; sums and
products of matrices add up in float32.  Here that is done once, around the formulas, instead of within each of
them.  :func:`forward` widens the inputs (which is exact) and rounds the results; what the formula saved stays
in the graph as bfloat16, half the memory, and is widened again for ``backward``, whose gradients are rounded
as they leave the node.  So no formula knows the type, constants in it cannot change it, and BLAS and the
kernels get float32.

Formulas that only move elements (views, copies, casts) read bfloat16 as it is.  Their backward may add, as
that of ``expand`` does, and is read in float32 all the same unless the primitive is ``exact``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad import dtypes
from accelgrad.tensor import Tensor

__all__ = ["forward", "is_bfloat16", "one_step", "rounded", "widened"]


def is_bfloat16(value: Any) -> bool:
    """Whether a raw array (or anything else) holds bfloat16."""
    kind = getattr(value, "dtype", None)
    return kind is not None and not isinstance(kind, dtypes.dtype) and kind.kind == "V"


def widened(value: Any) -> Any:
    """bfloat16 as float32, arrays and Tensors (by a recorded operation); everything else as it is."""
    if isinstance(value, Tensor):
        return value.to(dtypes.float32) if value.array.dtype.kind == "V" else value
    return value.astype(np.float32) if is_bfloat16(value) else value


def rounded(xp: Any, value: Any) -> Any:
    """A float32 array rounded to the nearest bfloat16 (the even one of two); everything else as it is."""
    if getattr(value, "dtype", None) == np.float32:
        return xp.rounded(np.asarray(value) if isinstance(value, np.generic) else value, dtypes.bfloat16.numpy)
    return value


def one_step(*, mixes: bool = False) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """For a function of several operations that PyTorch computes as one: it is rounded once, at its end.

    bfloat16 tensors among its arguments are widened and the result is rounded, where the first tensor is
    bfloat16 and no other has another floating point type, or ``mixes`` allows that.
    """

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def whole(*args: Any, **kwargs: Any) -> Tensor:
            given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
            if not given or given[0].array.dtype.kind != "V":
                return function(*args, **kwargs)
            if not mixes and any(one.array.dtype.kind == "f" for one in given):
                return function(*args, **kwargs)
            wide = {name: widened(one) for name, one in kwargs.items()}
            return function(*map(widened, args), **wide).to(dtypes.bfloat16)

        return whole

    return decorate


def forward(primitive: Any, ctx: Any, *inputs: Any, **options: Any) -> Any:
    """``primitive.forward`` of arrays some of which hold bfloat16.

    Results are bfloat16 where the first floating point input is; so a bfloat16 image with float32 statistics
    stays what it is.  Inputs of mixed types that the primitive does not know how to mix are left to its own
    check, and to the array module.
    """
    floats = [one.dtype for one in inputs if hasattr(one, "dtype") and dtypes.floating(one.dtype)]
    if not primitive.mixes and any(kind != floats[0] for kind in floats):
        return primitive.forward(ctx, *inputs, **options)
    wide = [widened(one) for one in inputs]
    narrow = {id(after): before for after, before in zip(wide, inputs, strict=True)}
    ctx.reduced = True
    out = primitive.forward(ctx, *wide, **options)
    if floats[0].kind == "V":
        results = out if type(out) is tuple else (out,)
        for one in results:
            if id(one) not in narrow:
                narrow[id(one)] = rounded(ctx.xp, one)
        results = tuple([narrow[id(one)] for one in results])
        ctx.saved_as(narrow)
        return results if type(out) is tuple else results[0]
    ctx.saved_as(narrow)
    return out
