"""Diagonals and other windows onto the memory of a tensor: diagonal, diag, unfold, as_strided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes, wrap_dim
from accelgrad.ops.shapes.index import Spread, add_at
from accelgrad.ops.shapes.shape import View

__all__ = ["as_strided", "diag", "diag_embed", "diagflat", "diagonal", "unfold"]


class Diagonal(Primitive):
    """y = a diagonal of x as the last dimension, a view;  dL/dx = zeros with dL/dy on that diagonal."""

    view = True

    @staticmethod
    def forward(ctx, x, *, offset: int, dim1: int, dim2: int):
        ctx.shape, ctx.options = x.shape, {"offset": offset, "dim1": dim1, "dim2": dim2}
        y = ctx.xp.diagonal(x, offset, dim1, dim2)
        if isinstance(y, np.ndarray) and x.flags.writeable:
            y.flags.writeable = True  # NumPy's diagonal is read-only, CuPy's is not
        return y

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Spread, grad, view=Diagonal, options=ctx.options, shape=ctx.shape)


class Unfold(Primitive):
    """y = the windows of x along a dimension, a view;  dL/dx = dL/dy added where each window came from."""

    view = True

    @staticmethod
    def forward(ctx, x, *, dim: int, size: int, step: int):
        ctx.shape, ctx.options = x.shape, {"dim": dim, "size": size, "step": step}
        if not x.ndim:
            return x.reshape(1)[:size]
        count = (x.shape[dim] - size) // step + 1
        stride = x.strides[dim]
        return ctx.xp.lib.stride_tricks.as_strided(
            x,
            (*x.shape[:dim], count, *x.shape[dim + 1 :], size),
            (*x.strides[:dim], stride * step, *x.strides[dim + 1 :], stride),
        )

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(SpreadAdd, grad, view=Unfold, options=ctx.options, shape=ctx.shape)


class AsStrided(Primitive):
    """y = the memory of x with other extents and strides, a view.

    dL/dx = dL/dy added where each element came from.
    """

    view = True

    @staticmethod
    def forward(ctx, x, *, shape: tuple[int, ...], strides: tuple[int, ...], offset: int):
        ctx.shape, ctx.options = x.shape, {"shape": shape, "strides": strides, "offset": offset}
        flat = ctx.xp.ascontiguousarray(x).reshape(-1)
        steps = tuple([stride * x.itemsize for stride in strides])
        return ctx.xp.lib.stride_tricks.as_strided(flat[offset:], shape, steps)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(SpreadAdd, grad, view=AsStrided, options=ctx.options, shape=ctx.shape)


class SpreadAdd(Primitive):
    """y = zeros to which x is added where a view takes its elements from: the adjoint of the view.

    Unlike with :class:`Spread`, the view may show an element several times.
    """

    @staticmethod
    def forward(ctx, x, *, view, options: dict[str, Any], shape: tuple[int, ...]):
        ctx.view, ctx.options = view, options
        xp = ctx.xp
        y = xp.zeros(shape, dtype=x.dtype)
        # Where every element that the view shows lies in y: flat positions, in the shape of x.
        places = view.run(xp, xp.arange(y.size).reshape(shape), **options)
        return add_at(xp, y.reshape(-1), 0, places.reshape(-1), x.reshape(-1)).reshape(shape)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(ctx.view, grad, **ctx.options)


@op(
    primitive=Diagonal,
    reference=np.diagonal,
    samples=[
        sample(arg(3, 3)),
        sample(arg(2, 4), 1),
        sample(arg(3, 2), -1),
        sample(arg(2, 3, 4), 0, 0, 2),
        sample(arg(2, 3), 5),
    ],
    errors=[
        (sample(arg(2, 2), 0, 1, 1), RuntimeError, "diagonal dimensions cannot be identical 1, 1"),
        (sample(arg(2)), IndexError, "Dimension out of range"),
    ],
    out=False,
)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the elements with equal index in ``dim1`` and ``dim2`` as a new last dimension, a view.

    A positive ``offset`` takes the diagonal so far above the main one.  RuntimeError if the two dimensions
    are the same.

    >>> import accelgrad
    >>> accelgrad.diagonal(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    first, second = wrap_dim(dim1, input.array.ndim), wrap_dim(dim2, input.array.ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return Diagonal.apply(input, offset=offset, dim1=first, dim2=second)


@op(
    primitive=Spread,
    samples=[
        sample(arg(3)),
        sample(arg(2, 3)),
        sample(arg(2, 3), 1),
        sample(arg(2, 3), -1, 0, 2),
        sample(arg(2), 0, 1, 0),
    ],
    errors=[(sample(arg(2), 0, 1, 1), RuntimeError, "diagonal dimensions cannot be identical 1, 1")],
    out=False,
)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Put the last dimension of ``input`` on the diagonal of two new dimensions of a tensor of zeros.

    (..., n) becomes (..., m, m) with m = n + |offset|; the new dimensions are ``dim1`` and ``dim2``.
    RuntimeError if they are the same.

    >>> import accelgrad
    >>> accelgrad.diag_embed(accelgrad.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    shape = input.array.shape
    first, second = wrap_dim(dim1, len(shape) + 1), wrap_dim(dim2, len(shape) + 1)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if first > second:
        first, second, offset = second, first, -offset
    side = shape[-1] + abs(offset)
    wanted = list(shape[:-1])
    wanted.insert(first, side)
    wanted.insert(second, side)
    return Spread.apply(
        input, view=Diagonal, options={"offset": offset, "dim1": first, "dim2": second}, shape=tuple(wanted)
    )


@op(
    primitive=Diagonal,
    reference=np.diag,
    samples=[sample(arg(3)), sample(arg(3), -1), sample(arg(2, 3)), sample(arg(3, 2), 1)],
    errors=[(sample(arg(1, 2, 3)), RuntimeError, r"diag\(\): Supports 1D or 2D tensors. Got 3D")],
)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on its diagonal, or a copy of the diagonal of a matrix.

    A positive ``diagonal`` means the one so far above the main one.  RuntimeError for other numbers of
    dimensions.

    >>> import accelgrad
    >>> accelgrad.diag(accelgrad.tensor([1, 2]), 1)
    tensor([[0, 1, 0],
            [0, 0, 2],
            [0, 0, 0]])
    """
    if input.array.ndim == 1:
        return diag_embed(input, diagonal)
    if input.array.ndim == 2:
        return Diagonal.apply(input, offset=diagonal, dim1=0, dim2=1).clone()
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.array.ndim}D")


@op(
    primitive=Spread,
    reference=np.diagflat,
    samples=[sample(arg(3)), sample(arg(2, 2), 1), sample(arg())],
)
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with all elements of ``input``, in index order, on its diagonal.

    >>> import accelgrad
    >>> accelgrad.diagflat(accelgrad.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(View.apply(input, shape=(-1,)), offset)


@op(
    samples=[
        sample(arg(3, 3, requires_grad=False), 5.0),
        sample(arg(7, 3, requires_grad=False), 5, wrap=True),
        sample(arg(2, 4, requires_grad=False), 1.0),
        sample(arg(2, 2, 2, requires_grad=False), 1.0),
    ],
    errors=[
        (sample(arg(3), 1), RuntimeError, "dimensions must larger than 1"),
        (sample(arg(2, 3, 2), 1), RuntimeError, "all dimensions of input must be of equal length"),
    ],
    differentiable=False,
    torch="Tensor.fill_diagonal_",
)
def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the main diagonal to ``fill_value``, in place.

    With ``wrap`` a matrix with more rows than columns gets further diagonals below, with a row left out
    between them.  RuntimeError for fewer than two dimensions, and for more than two of different extents.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).fill_diagonal_(1.0)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    shape = input.array.shape
    if len(shape) < 2:
        raise RuntimeError(f"dimensions must larger than 1, got {len(shape)}")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError(f"all dimensions of input must be of equal length, got {list(shape)}")
    size = min(shape)
    places = [(i,) * len(shape) for i in range(size)]
    if wrap and len(shape) == 2:
        for start in range(size + 1, shape[0], size + 1):
            places += [(start + i, i) for i in range(min(size, shape[0] - start))]
    raw = input.xp
    index = tuple(raw.from_host(np.array(one, dtype=np.int64)) for one in zip(*places, strict=True))
    if places:
        input[index] = fill_value
    return input


@op(
    primitive=Unfold,
    samples=[
        sample(arg(7), 0, 3, 2),
        sample(arg(2, 5), 1, 2, 1),
        sample(arg(4, 2), 0, 2, 2),
        sample(arg(4), -1, 4, 1),
        sample(arg(), 0, 1, 1),
    ],
    errors=[
        (sample(arg(3), 0, 4, 1), RuntimeError, "maximum size for tensor at dimension 0 is 3 but size is 4"),
        (sample(arg(3), 0, 2, 0), RuntimeError, "step is 0 but must be > 0"),
    ],
    out=False,
    torch="Tensor.unfold",
)
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return the windows of ``size`` elements along a dimension, one every ``step`` elements, as a view.

    (..., n, ...) becomes (..., count, ..., size) with count = (n - size) // step + 1.  Windows may overlap:
    then ``clone()`` the result before changing it.  RuntimeError if a window is longer than the dimension.

    >>> import accelgrad
    >>> accelgrad.arange(5).unfold(0, 3, 1)
    tensor([[0, 1, 2],
            [1, 2, 3],
            [2, 3, 4]])
    """
    shape = input.array.shape
    dim = wrap_dim(dimension, len(shape))
    extent = shape[dim] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > extent:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {extent} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return Unfold.apply(input, dim=dim, size=size, step=step)


@op(
    primitive=AsStrided,
    samples=[
        sample(arg(2, 3), (3, 2), (1, 3)),
        sample(arg(6), (2, 3), (1, 1), 2),
        sample(arg(4), (), (), 3),
        sample(arg(3), (2, 3), (0, 1)),
    ],
    errors=[
        (sample(arg(3), (2, 2), (2, 1)), RuntimeError, "out of bounds for storage"),
        (sample(arg(3), (2,), (-1,)), RuntimeError, "Negative strides are not supported"),
        (sample(arg(3), (2,), (1, 1)), RuntimeError, "mismatch in length of strides and shape"),
    ],
    out=False,
)
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Return the elements of a tensor, counted in index order, with other extents and strides.

    It is a view if the tensor is contiguous, else a copy.  ``stride`` and ``storage_offset`` count the
    tensor's own elements: unlike PyTorch's, this does not look at memory beyond the tensor.  RuntimeError if
    the result would leave it.

    >>> import accelgrad
    >>> accelgrad.arange(4).as_strided((2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
    shape, strides, offset = sizes((size,)), sizes((stride,)), storage_offset or 0
    if len(shape) != len(strides):
        raise RuntimeError(f"mismatch in length of strides and shape: {list(strides)} and {list(shape)}")
    if any(step < 0 for step in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    last = offset + sum([(extent - 1) * step for extent, step in zip(shape, strides, strict=True)])
    if 0 not in shape and (offset < 0 or last >= input.array.size):
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)},"
            f" storage offset {offset} are out of bounds for storage of size {input.array.size}"
        )
    return AsStrided.apply(input, shape=shape, strides=strides, offset=offset)
