"""Joining tensors and taking them apart: cat, stack, split, chunk, unbind and others."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.shapes.index import Select, Slice
from accelgrad.ops.shapes.shape import View

__all__ = [
    "cat", "chunk", "column_stack", "dsplit", "dstack", "hsplit", "hstack", "split", "split_with_sizes",
    "stack", "tensor_split", "unbind", "vsplit", "vstack",
]  # fmt: skip

_ALL = slice(None)


class Cat(Primitive):
    """y = x1, x2, ... one after the other along ``dim``;  dL/dx1 = the part of dL/dy where x1 went."""

    promotion = "common"

    @staticmethod
    def forward(ctx, *arrays, dim: int):
        ctx.dim, ctx.extents = dim, [x.shape[dim] for x in arrays]
        return ctx.xp.concatenate(arrays, axis=dim)

    @staticmethod
    def backward(ctx, grad):
        before, ends = (_ALL,) * ctx.dim, [0, *itertools.accumulate(ctx.extents)]
        return tuple(
            [
                grad[(*before, slice(start, end))] if needed else None
                for (start, end), needed in zip(itertools.pairwise(ends), ctx.needs_input_grad, strict=True)
            ]
        )


class Stack(Primitive):
    """y = x1, x2, ... along a new dimension;  dL/dxi = the slice i of dL/dy."""

    promotion = "common"

    @staticmethod
    def forward(ctx, *arrays, dim: int):
        ctx.dim = dim
        return ctx.xp.stack(arrays, axis=dim)

    @staticmethod
    def backward(ctx, grad):
        before = (_ALL,) * ctx.dim
        return tuple(
            [grad[(*before, place)] if needed else None for place, needed in enumerate(ctx.needs_input_grad)]
        )


def _several(name: str, tensors: Any) -> list[Tensor]:
    """Return tensors as a list; TypeError for a single Tensor and for elements that are none."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    given = list(tensors)
    for place, one in enumerate(given):
        if not isinstance(one, Tensor):
            raise TypeError(
                f"expected Tensor as element {place} in argument 0 of {name}(), but got {type(one).__name__}"
            )
    return given


# --- joining


@op(
    primitive=Cat,
    reference=lambda tensors, dim=0: np.concatenate(tensors, axis=dim),
    samples=[
        sample([arg(2, 3), arg(1, 3)]),
        sample([arg(2, 3), arg(2, 1)], -1),
        sample((arg(2), arg(0), arg(3)), dim=0),
        sample([arg(2, 3)]),
    ],
    errors=[
        (
            sample([arg(2, 3), arg(2, 2)]),
            RuntimeError,
            "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2",
        ),
        (sample([]), ValueError, r"cat\(\): expected a non-empty list of Tensors"),
        (sample([arg(2, 3), arg(3)]), RuntimeError, "Tensors must have same number of dimensions"),
        (sample([arg()]), RuntimeError, r"zero-dimensional tensor \(at position 0\) cannot be concatenated"),
        (sample([arg(2), 1]), TypeError, "expected Tensor as element 1 in argument 0"),
        (sample(arg(2)), TypeError, "must be tuple of Tensors, not Tensor"),
    ],
    method=False,
    aliases=("concat", "concatenate"),
)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors one after the other along ``dim``; their other extents must be equal.

    Dtypes are promoted by PyTorch's rules, and tensors of shape (0,) are passed over.  ValueError for no
    tensors, RuntimeError if the shapes do not fit.

    >>> import accelgrad
    >>> accelgrad.cat([accelgrad.tensor([1, 2]), accelgrad.tensor([3])])
    tensor([1, 2, 3])
    """
    given = _several("cat", tensors)
    if not given:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    kept = [one for one in given if one.array.shape != (0,)]
    model = (kept or given)[0].array
    for place, one in enumerate(given):
        if not one.array.ndim:
            raise RuntimeError(
                f"zero-dimensional tensor (at position {place}) cannot be concatenated; use stack"
            )
    dim = wrap_dim(dim, model.ndim)
    for place, one in enumerate(kept):
        if one.array.shape != model.shape:
            _check_joins(model.shape, one.array.shape, dim, place)
    return Cat.apply(*(kept or given), dim=dim)


def _check_joins(first: tuple[int, ...], shape: tuple[int, ...], dim: int, place: int) -> None:
    """Raise RuntimeError unless two shapes are equal in every dimension but ``dim``."""
    if len(shape) != len(first):
        raise RuntimeError(
            "Tensors must have same number of dimensions:"
            f" got {len(first)} and {len(shape)} (shapes {list(first)} and {list(shape)})"
        )
    for axis, (expected, got) in enumerate(zip(first, shape, strict=True)):
        if axis != dim and expected != got:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {dim}."
                f" Expected size {expected} but got size {got} for tensor number {place} in the list:"
                f" dimension {axis} of {list(shape)} against {list(first)}."
            )


@op(
    primitive=Stack,
    reference=lambda tensors, dim=0: np.stack(tensors, axis=dim),
    samples=[
        sample([arg(2, 3), arg(2, 3)]),
        sample([arg(2, 3), arg(2, 3)], -1),
        sample((arg(), arg(), arg())),
        sample([arg(0, 2)], 1),
    ],
    errors=[
        (sample([arg(2, 3), arg(3)]), RuntimeError, "stack expects each tensor to be equal size"),
        (sample([]), RuntimeError, "stack expects a non-empty TensorList"),
        (sample([arg(2)], 3), IndexError, "Dimension out of range"),
    ],
    method=False,
)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new dimension ``dim``; RuntimeError if the shapes differ.

    >>> import accelgrad
    >>> accelgrad.stack([accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    given = _several("stack", tensors)
    if not given:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = given[0].array.shape
    for place, one in enumerate(given):
        if one.array.shape != shape:
            raise RuntimeError(
                "stack expects each tensor to be equal size,"
                f" but got {list(shape)} at entry 0 and {list(one.array.shape)} at entry {place}"
            )
    return Stack.apply(*given, dim=wrap_dim(dim, len(shape) + 1))


def _at_least(tensors: Any, ndim: int, name: str) -> list[Tensor]:
    """Return tensors with at least ``ndim`` dimensions, as a list."""
    return [at_least(one, ndim) for one in _several(name, tensors)]


def at_least(x: Tensor, ndim: int) -> Tensor:
    """Return ``x`` with at least ``ndim`` (1, 2 or 3) dimensions, placed as by NumPy's atleast_1d, 2d, 3d."""
    shape = x.array.shape
    if len(shape) >= ndim:
        return x
    wanted = {
        1: (1,),
        2: (1, *shape) if shape else (1, 1),
        3: (*shape, 1) if len(shape) == 2 else (1, *(shape or (1,)), 1),
    }[ndim]
    return View.apply(x, shape=wanted)


@op(
    primitive=Cat,
    reference=np.hstack,
    samples=[sample([arg(2), arg(3)]), sample([arg(2, 1), arg(2, 3)]), sample((arg(), arg()))],
    method=False,
)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors side by side: along dimension 1, or 0 for vectors.

    >>> import accelgrad
    >>> accelgrad.hstack([accelgrad.tensor([1, 2]), accelgrad.tensor([3])])
    tensor([1, 2, 3])
    """
    given = _at_least(tensors, 1, "hstack")
    return cat(given, 0 if given and given[0].array.ndim == 1 else 1)


@op(
    primitive=Cat,
    reference=np.vstack,
    samples=[sample([arg(3), arg(3)]), sample([arg(1, 3), arg(2, 3)]), sample((arg(), arg()))],
    method=False,
    aliases=("row_stack",),
)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors one below the other: along dimension 0, vectors as rows.

    >>> import accelgrad
    >>> accelgrad.vstack([accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    return cat(_at_least(tensors, 2, "vstack"), 0)


@op(
    primitive=Cat,
    reference=np.dstack,
    samples=[sample([arg(3), arg(3)]), sample([arg(2, 3), arg(2, 3)]), sample([arg(2, 3, 1), arg(2, 3, 2)])],
    method=False,
)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors one behind the other: along dimension 2, vectors and matrices with extent 1 there.

    >>> import accelgrad
    >>> accelgrad.dstack([accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat(_at_least(tensors, 3, "dstack"), 2)


@op(
    primitive=Cat,
    reference=np.column_stack,
    samples=[sample([arg(3), arg(3)]), sample([arg(3), arg(3, 2)]), sample((arg(), arg()))],
    method=False,
)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors side by side as :func:`hstack` does, with vectors as columns.

    >>> import accelgrad
    >>> accelgrad.column_stack([accelgrad.tensor([1, 2]), accelgrad.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    given = _several("column_stack", tensors)
    return hstack([View.apply(one, shape=(-1, 1)) if one.array.ndim <= 1 else one for one in given])


# --- taking apart


@op(
    primitive=Slice,
    samples=[
        sample(arg(5, 2), 2),
        sample(arg(5, 2), [2, 3]),
        sample(arg(2, 4), 3, -1),
        sample(arg(2, 4), (1, 0, 3), dim=1),
        sample(arg(0, 2), 2),
    ],
    errors=[
        (sample(arg(5), [2, 2]), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 5"),
        (sample(arg(5), -1), RuntimeError, "split expects split_size be non-negative"),
        (sample(arg(), 1), RuntimeError, "split expects at least a 1-dimensional tensor"),
    ],
    out=False,
)
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Split into views along ``dim``, of ``split_size`` slices each or of the given numbers of slices.

    The last view may be smaller.  RuntimeError for a negative size, or unless given numbers sum to the
    extent.

    >>> import accelgrad
    >>> accelgrad.arange(5).split(2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    shape = tensor.array.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = wrap_dim(dim, len(shape))
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size, extent = split_size_or_sections, shape[dim]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if not size and extent:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {extent}"
        )
    starts = range(0, extent, size) if extent else (0,)
    return tuple([_part(tensor, dim, start, min(start + size, extent)) for start in starts])


def _part(x: Tensor, dim: int, start: int | None, end: int | None) -> Tensor:
    """Return the slices of dimension ``dim`` from ``start`` up to ``end``, as a view."""
    return Slice.apply(x, index=(_ALL,) * dim + (slice(start, end),))


@op(
    primitive=Slice,
    samples=[sample(arg(5, 2), [2, 3]), sample(arg(2, 4), (1, 3), -1)],
    errors=[
        (sample(arg(5), [6, -1]), RuntimeError, "split_with_sizes expects split_sizes have only non-negative")
    ],
    out=False,
)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Split into views along ``dim`` that have the given numbers of slices.

    RuntimeError unless the numbers sum to the extent of ``dim``.

    >>> import accelgrad
    >>> accelgrad.arange(5).split_with_sizes([4, 1])
    (tensor([0, 1, 2, 3]), tensor([4]))
    """
    shape, parts = input.array.shape, [operator.index(one) for one in split_sizes]
    dim = wrap_dim(dim, len(shape))
    if any(part < 0 for part in parts):
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries,"
            f" but got split_sizes={parts}"
        )
    if sum(parts) != shape[dim]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {shape[dim]}"
            f" (input tensor's size at dimension {dim}), but got split_sizes={parts}"
        )
    ends = [0, *itertools.accumulate(parts)]
    return tuple([_part(input, dim, start, end) for start, end in itertools.pairwise(ends)])


@op(
    primitive=Slice,
    samples=[sample(arg(5, 2), 3), sample(arg(2, 4), 2, -1), sample(arg(2), 5), sample(arg(0, 2), 2)],
    errors=[
        (sample(arg(5), 0), RuntimeError, "chunk expects `chunks` to be greater than 0"),
        (sample(arg(), 1), RuntimeError, "chunk expects at least a 1-dimensional tensor"),
    ],
    out=False,
)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Split into at most ``chunks`` views of equal extent along ``dim``; the last may be smaller.

    >>> import accelgrad
    >>> accelgrad.arange(5).chunk(2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if not input.array.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    dim = wrap_dim(dim, input.array.ndim)
    extent = input.array.shape[dim]
    if not extent:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, math.ceil(extent / chunks), dim)


@op(
    primitive=Slice,
    reference=lambda x, where, dim=0: tuple(np.array_split(x, where, axis=dim)),
    samples=[
        sample(arg(5, 2), 3),
        sample(arg(2, 5), [1, 3], 1),
        sample(arg(4), (1, 9)),
        sample(arg(4), (3, 1)),
        sample(arg(2), 3),
    ],
    errors=[
        (sample(arg(5), 0), RuntimeError, "number of sections must be larger than 0"),
        (sample(arg(), 1), RuntimeError, "tensor_split expected at least a 1-dimensional tensor"),
    ],
    out=False,
)
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """Split into views along ``dim`` at the given indices, or into a given number of views.

    A number gives views whose extents differ by at most 1, the larger ones first.

    >>> import accelgrad
    >>> accelgrad.arange(5).tensor_split(2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    >>> accelgrad.arange(5).tensor_split((1, 3))
    (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    shape = input.array.shape
    if not shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    dim = wrap_dim(dim, len(shape))
    where = indices_or_sections
    if isinstance(where, Tensor):
        where = where.tolist()
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {where}")
        small, larger = divmod(shape[dim], where)
        parts = [small + 1] * larger + [small] * (where - larger)
        return split_with_sizes(input, parts, dim)
    cuts = [None, *where, None]
    return tuple([_part(input, dim, start, end) for start, end in itertools.pairwise(cuts)])


def _split_along(name: str, input: Tensor, where: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    """Split along a dimension for hsplit, vsplit and dsplit, where a number must divide the extent."""
    if input.array.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension{'s' * (least > 1)},"
            f" but got a tensor with {input.array.ndim} dimensions!"
        )
    if isinstance(where, int) and (where <= 0 or input.array.shape[dim] % where):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {dim},"
            f" but the size of the dimension {input.array.shape[dim]} is not divisible"
            f" by the split_size {where}!"
        )
    return tensor_split(input, where, dim)


@op(
    primitive=Slice,
    reference=lambda x, where: tuple(np.hsplit(x, where)),
    samples=[sample(arg(2, 4), 2), sample(arg(4), [1, 3])],
    errors=[(sample(arg(2, 3), 2), RuntimeError, "is not divisible by the split_size 2")],
    out=False,
)
def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Split along dimension 1, or 0 of a vector, as :func:`tensor_split` does.

    RuntimeError if a number does not divide the extent.

    >>> import accelgrad
    >>> accelgrad.arange(4).hsplit(2)
    (tensor([0, 1]), tensor([2, 3]))
    """
    return _split_along("hsplit", input, indices_or_sections, 0 if input.array.ndim == 1 else 1, 1)


@op(
    primitive=Slice,
    reference=lambda x, where: tuple(np.vsplit(x, where)),
    samples=[sample(arg(4, 2), 2), sample(arg(4, 2), [1, 3])],
    errors=[(sample(arg(3), 3), RuntimeError, "vsplit requires a tensor with at least 2 dimensions")],
    out=False,
)
def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Split along dimension 0 of a tensor with two dimensions or more, as :func:`tensor_split` does.

    RuntimeError if a number does not divide the extent.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]]).vsplit(2)
    (tensor([[1, 2]]), tensor([[3, 4]]))
    """
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


@op(
    primitive=Slice,
    reference=lambda x, where: tuple(np.dsplit(x, where)),
    samples=[sample(arg(1, 2, 4), 2), sample(arg(1, 2, 4), [1, 3])],
    errors=[(sample(arg(3), 3), RuntimeError, "dsplit requires a tensor with at least 3 dimensions")],
    out=False,
)
def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Split along dimension 2 of a tensor with three dimensions or more, as :func:`tensor_split` does.

    RuntimeError if a number does not divide the extent.

    >>> import accelgrad
    >>> accelgrad.tensor([[[1, 2]]]).dsplit(2)
    (tensor([[[1]]]), tensor([[[2]]]))
    """
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


@op(
    primitive=Select,
    samples=[sample(arg(3, 2)), sample(arg(2, 3), -1), sample(arg(2, 0))],
    errors=[(sample(arg()), RuntimeError, "Dimension specified as 0 but tensor has no dimensions")],
    out=False,
)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the slices of dimension ``dim`` as a tuple of views; RuntimeError for a 0-d tensor.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]]).unbind()
    (tensor([1, 2]), tensor([3, 4]))
    """
    shape = input.array.shape
    if not shape:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    dim = wrap_dim(dim, len(shape))
    return tuple([Select.apply(input, index=place, dim=dim) for place in range(shape[dim])])
