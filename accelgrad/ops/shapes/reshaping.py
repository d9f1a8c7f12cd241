"""Another shape in place: unsqueeze_, squeeze_, transpose_, t_, swapaxes_, as_strided_, resize_, resize_as_.

The tensor becomes a view of its old self, which lives on without a name: so gradients pass, and the views
that were taken of it before keep their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core import modes
from accelgrad.core.inplace import refuse_leaf
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes
from accelgrad.ops.shapes.diagonal import as_strided
from accelgrad.ops.shapes.shape import squeeze, t, transpose, unsqueeze


def _become(target: Tensor, operation: Callable[..., Tensor], *args: Any) -> Tensor:
    """Let ``target`` become the result of a view operation on it."""
    refuse_leaf(target)
    edge = target.edge()
    kept = edge is not None and edge[0].is_leaf  # a leaf, under no_grad: its gradient gets the new shape
    if kept:
        with modes.no_grad():
            result = operation(target, *args)
        target.array = result.array
        target._version[0] += 1
        return target
    before = target
    if target._view is None:
        before = wrap(target.array, target.xp)
        before._version, before._edge, before._cut = target._version, edge, target._cut
    with modes.enable_grad():
        result = operation(before, *args)
    target._version[0] += 1
    target.array, target._edge = result.array, result._edge
    if result._view is None:
        # An empty tensor shares nothing, and a tensor that was returned as it is is no view.
        if result is not before:
            target._view = None
    else:
        target._view = (*result._view[:2], target._version[0])
    return target


_PLAIN = arg(2, 1, 3, requires_grad=False)
_MATRIX = arg(2, 3, requires_grad=False)


@op(
    samples=[sample(_MATRIX, 0), sample(_MATRIX, -1), sample(arg(requires_grad=False), 0)],
    errors=[(sample(arg(2, requires_grad=False), 3), IndexError, "Dimension out of range")],
    differentiable=False,
    torch="Tensor.unsqueeze_",
)
def unsqueeze_(input: Tensor, dim: int) -> Tensor:
    """Insert a dimension of extent 1 at place ``dim``, in place.

    >>> import accelgrad
    >>> accelgrad.zeros(3).unsqueeze_(0).shape
    accelgrad.Size([1, 3])
    """
    return _become(input, unsqueeze, dim)


@op(
    samples=[sample(_PLAIN), sample(_PLAIN, 1), sample(_PLAIN, 0), sample(arg(requires_grad=False))],
    errors=[(sample(arg(2), 3), IndexError, "Dimension out of range")],
    differentiable=False,
    torch="Tensor.squeeze_",
)
def squeeze_(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Remove the dimensions of extent 1 (or those of them in ``dim``), in place.

    >>> import accelgrad
    >>> accelgrad.zeros(1, 3).squeeze_().shape
    accelgrad.Size([3])
    """
    return _become(input, squeeze, dim)


@op(
    samples=[sample(_MATRIX, 0, 1), sample(_PLAIN, -1, 0)],
    errors=[(sample(arg(2), 0, 1), IndexError, "Dimension out of range")],
    differentiable=False,
    aliases=("swapaxes_", "swapdims_"),
    torch="Tensor.transpose_",
)
def transpose_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two dimensions, in place.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).transpose_(0, 1).shape
    accelgrad.Size([3, 2])
    """
    return _become(input, transpose, dim0, dim1)


@op(
    samples=[sample(_MATRIX), sample(arg(2, requires_grad=False))],
    errors=[(sample(arg(2, 2, 2)), RuntimeError, r"t\(\) expects a tensor with <= 2 dimensions")],
    differentiable=False,
    torch="Tensor.t_",
)
def t_(input: Tensor) -> Tensor:
    """Transpose a matrix, in place; vectors stay as they are.  RuntimeError for more than two dimensions.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).t_().shape
    accelgrad.Size([3, 2])
    """
    return _become(input, t)


@op(
    samples=[sample(arg(6, requires_grad=False), (2, 3), (1, 1), 2)],
    errors=[(sample(arg(3), (2, 2), (2, 1)), RuntimeError, "out of bounds for storage")],
    differentiable=False,
    torch="Tensor.as_strided_",
)
def as_strided_(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Give the tensor other extents and strides, in place, as :func:`accelgrad.as_strided` does.

    >>> import accelgrad
    >>> accelgrad.arange(4).as_strided_((2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
    return _become(input, as_strided, size, stride, storage_offset)


@op(
    samples=[sample(_MATRIX, 2, 2), sample(_MATRIX, (6,)), sample(_MATRIX, (0,))],
    errors=[
        (sample(arg(2, 2), 2, -3), RuntimeError, "resize_: sizes must not be negative"),
    ],
    differentiable=False,
    torch="Tensor.resize_",
)
def resize_(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """Give the tensor other extents, in place; its elements keep their order in memory, and new ones are 0.

    With no more elements than before, the memory stays the same and is still shared with views; with more of
    them, the tensor moves to new memory.  RuntimeError for tensors that need a gradient (use reshape for
    those), and for those that are not contiguous.

    >>> import accelgrad
    >>> accelgrad.arange(5).resize_(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    if input.edge() is not None:
        raise RuntimeError("cannot resize variables that require grad; reshape() gives a new tensor")
    shape = sizes(size)
    if any(extent < 0 for extent in shape):
        raise RuntimeError(f"resize_: sizes must not be negative, got {list(shape)}")
    if not input.is_contiguous():
        raise RuntimeError(
            "resize_: this tensor is not contiguous, so the order of its memory is not that of its elements;"
            " x = x.contiguous() first"
        )
    count = math.prod(shape)
    if count <= input.array.size:
        strides = [1] * len(shape)
        for place in reversed(range(len(shape) - 1)):
            strides[place] = strides[place + 1] * max(shape[place + 1], 1)
        return _become(input, as_strided, shape, tuple(strides), 0)
    raw = input.xp
    fresh = raw.zeros((count,), dtype=input.array.dtype)
    fresh[: input.array.size] = raw.reshape(input.array, (-1,))
    input.array = raw.reshape(fresh, shape)
    input._version, input._view = [input._version[0] + 1], None
    return input


@op(
    samples=[sample(_MATRIX, arg(3, 2, requires_grad=False))],
    differentiable=False,
    torch="Tensor.resize_as_",
)
def resize_as_(input: Tensor, other: Tensor) -> Tensor:
    """Give the tensor the extents of ``other``, in place, as :func:`resize_` does.

    >>> import accelgrad
    >>> accelgrad.arange(4).resize_as_(accelgrad.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return resize_(input, tuple(other.array.shape))
