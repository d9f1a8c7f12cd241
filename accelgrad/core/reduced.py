"""How a formula reads float16 and bfloat16: in float32, rounded once at its end.

PyTorch computes so: every operation takes numbers of 16 bits in, works in float32, and rounds what comes out;
sums and products of matrices add up in float32.  Here that is done once, around the formulas, instead of in
each of them.  :func:`forward` widens the inputs (which is exact) and rounds the results; what the formula
saved stays in the graph with its 16 bits, half the memory, and is widened again for ``backward``, whose
gradients are rounded as they leave the node.  So no formula knows these types, constants in it cannot change
them, and BLAS and the kernels get float32.  What a card does by itself in the same way, in one step, it gets
as it is (:meth:`accelgrad.core.primitive.Primitive.direct`): products of matrices go to cuBLAS with their 16
bits.

Formulas that only move elements (views, copies, casts) read such numbers as they are.  Their backward may
add, as that of ``expand`` does, and is read in float32 all the same unless the primitive is ``exact``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import REDUCED
from accelgrad.core.tensor import Tensor

__all__ = [
    "cublas_takes_layer",
    "cublas_takes_product",
    "forward",
    "is_reduced",
    "of_one_type",
    "one_step",
    "widened",
]


def is_reduced(array: Any) -> bool:
    """Tell whether a raw array holds floating point numbers of 16 bits."""
    return array.dtype.char in REDUCED


def widened(value: Any) -> Any:
    """Return 16-bit arrays and Tensors as float32 (Tensors by a recorded cast), all else as it is."""
    if isinstance(value, Tensor):
        return value.to(dtypes.float32) if is_reduced(value.array) else value
    return value.astype(np.float32) if hasattr(value, "dtype") and is_reduced(value) else value


def of_one_type(arrays: list[Any]) -> bool:
    """Tell whether all are arrays of one type, which a card then takes as they are."""
    kind = getattr(arrays[0], "dtype", None)
    return kind is not None and all(getattr(one, "dtype", None) == kind for one in arrays)


def cublas_takes_product(arrays: list[Any]) -> bool:
    """Tell whether CuPy can give their product to cuBLAS: one type, and no stacks of bfloat16 matrices."""
    given = [one for one in arrays if one is not None]
    return of_one_type(given) and (given[0].dtype == np.float16 or all(one.ndim <= 2 for one in given))


def cublas_takes_layer(arrays: list[Any]) -> bool:
    """Tell whether cuBLAS takes x, weight and bias of a linear layer, whose x becomes one matrix."""
    given = [one for one in arrays if one is not None]
    return of_one_type(given) and given[1].ndim <= 2


def one_step(*, mixes: bool = False) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorate a function of several operations that PyTorch computes as one, so that it rounds once.

    If the first tensor among its arguments has 16 bits, all are widened and the result is rounded at the end;
    not if another one has another floating point type, unless ``mixes`` allows that.
    """

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def whole(*args: Any, **kwargs: Any) -> Tensor:
            given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
            if not given or not is_reduced(given[0].array):
                return function(*args, **kwargs)
            kind = given[0].dtype
            if not mixes and any(one.dtype is not kind and one.is_floating_point() for one in given):
                return function(*args, **kwargs)
            wide = {name: widened(one) for name, one in kwargs.items()}
            return function(*map(widened, args), **wide).to(kind)

        return whole

    return decorate


def forward(primitive: Any, ctx: Any, *inputs: Any, **options: Any) -> Any:
    """Compute ``primitive.forward`` of arrays some of which have 16 bits.

    Results get the type of the first floating point input; so an image of 16 bits with float32 statistics
    stays what it is.  Inputs of mixed types that the primitive does not know how to mix are left to its own
    check, and to the array module.
    """
    kinds = [one.dtype for one in inputs if hasattr(one, "dtype") and dtypes.is_floating(one.dtype)]
    if not primitive.mixes and any(kind != kinds[0] for kind in kinds):
        return primitive.forward(ctx, *inputs, **options)
    wide = [widened(one) for one in inputs]
    narrow = {id(after): before for after, before in zip(wide, inputs, strict=True)}
    ctx.reduced = True
    out = primitive.forward(ctx, *wide, **options)
    if kinds[0].char in REDUCED:
        results = out if type(out) is tuple else (out,)
        for one in results:
            if id(one) not in narrow and getattr(one, "dtype", None) == np.float32:
                array = np.asarray(one) if isinstance(one, np.generic) else one
                narrow[id(one)] = ctx.xp.rounded(array, kinds[0])
        results = tuple([narrow.get(id(one), one) for one in results])
        ctx.saved_as(narrow)
        return results if type(out) is tuple else results[0]
    ctx.saved_as(narrow)
    return out
