"""Elements in another arrangement: flip, roll, rot90, repeat, tile, tril, triu and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.creation.create import arange
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes, wrap_dim, wrap_dims
from accelgrad.ops.shapes.gather import IndexSelect
from accelgrad.ops.shapes.shape import Permute, View

__all__ = [
    "flip", "fliplr", "flipud", "repeat", "repeat_interleave", "roll", "rot90", "tile", "tril",
    "tril_indices", "triu", "triu_indices",
]  # fmt: skip


class Flip(Primitive):
    """y = x in reverse order along some dimensions;  dL/dx = dL/dy in reverse order along them."""

    @staticmethod
    def forward(ctx, x, *, dims: tuple[int, ...]):
        ctx.dims = dims
        backwards = slice(None, None, -1)
        return x[tuple([backwards if dim in dims else slice(None) for dim in range(x.ndim)])].copy(order="C")

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Flip, grad, dims=ctx.dims)


class Roll(Primitive):
    """y = x shifted cyclically along some dimensions;  dL/dx = dL/dy shifted back."""

    @staticmethod
    def forward(ctx, x, *, shifts: tuple[int, ...], dims: tuple[int, ...] | None):
        ctx.shifts, ctx.dims = shifts, dims
        return ctx.xp.roll(x, shifts if dims is not None else shifts[0], dims)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Roll, grad, shifts=tuple([-shift for shift in ctx.shifts]), dims=ctx.dims)


class Repeat(Primitive):
    """y = x put side by side several times in each dimension;  dL/dx = the sum of the copies of dL/dy."""

    @staticmethod
    def forward(ctx, x, *, repeats: tuple[int, ...]):
        shape = (1,) * (len(repeats) - x.ndim) + x.shape
        ctx.split = tuple([one for pair in zip(repeats, shape, strict=True) for one in pair])
        return ctx.xp.tile(x, repeats)

    @staticmethod
    def backward(ctx, grad):
        if not ctx.split:
            return grad
        parts = ctx.xp.reshape(grad, ctx.split)  # (times, extent, times, extent, ...)
        return ctx.xp.sum(parts, axis=tuple(range(0, len(ctx.split), 2)))


class Tril(Primitive):
    """y = x with zeros above a diagonal;  dL/dx = dL/dy with zeros above it."""

    @staticmethod
    def forward(ctx, x, *, diagonal: int):
        ctx.diagonal = diagonal
        return ctx.xp.tril(x, diagonal)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Tril, grad, diagonal=ctx.diagonal)


class Triu(Primitive):
    """y = x with zeros below a diagonal;  dL/dx = dL/dy with zeros below it."""

    @staticmethod
    def forward(ctx, x, *, diagonal: int):
        ctx.diagonal = diagonal
        return ctx.xp.triu(x, diagonal)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Triu, grad, diagonal=ctx.diagonal)


# --- order


@op(
    primitive=Flip,
    reference=lambda x, *dims: np.flip(x, tuple(dims[0]) if isinstance(dims[0], list | tuple) else dims),
    samples=[
        sample(arg(2, 3), (0,)),
        sample(arg(2, 3), [0, -1]),
        sample(arg(0, 2), (0, 1)),
    ],
    errors=[
        (sample(arg(2, 3), (0, -2)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
        (sample(arg(2), (1,)), IndexError, "Dimension out of range"),
    ],
)
def flip(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """Return a copy with the elements in reverse order along ``dims``.

    RuntimeError if a dimension comes twice, IndexError if there is no such dimension.

    >>> import accelgrad
    >>> accelgrad.flip(accelgrad.tensor([1, 2, 3]), (0,))
    tensor([3, 2, 1])
    """
    return Flip.apply(input, dims=wrap_dims(sizes(dims), input.array.ndim))


@op(
    primitive=Flip,
    reference=np.fliplr,
    samples=[sample(arg(2, 3)), sample(arg(2, 2, 2))],
    errors=[(sample(arg(2)), RuntimeError, "Input must be >= 2-d")],
)
def fliplr(input: Tensor) -> Tensor:
    """Return a copy with left and right exchanged, that is in reverse order along dimension 1.

    RuntimeError for fewer than two dimensions.

    >>> import accelgrad
    >>> accelgrad.fliplr(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([[2, 1],
            [4, 3]])
    """
    if input.array.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return Flip.apply(input, dims=(1,))


@op(
    primitive=Flip,
    reference=np.flipud,
    samples=[sample(arg(2, 3)), sample(arg(2))],
    errors=[(sample(arg()), RuntimeError, "Input must be >= 1-d")],
)
def flipud(input: Tensor) -> Tensor:
    """Return a copy with top and bottom exchanged, that is in reverse order along dimension 0.

    RuntimeError for a 0-d tensor.

    >>> import accelgrad
    >>> accelgrad.flipud(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([[3, 4],
            [1, 2]])
    """
    if not input.array.ndim:
        raise RuntimeError("Input must be >= 1-d.")
    return Flip.apply(input, dims=(0,))


@op(
    primitive=Roll,
    reference=np.roll,
    samples=[
        sample(arg(2, 3), 1),
        sample(arg(2, 3), 1, 1),
        sample(arg(2, 3), (1, -2), (0, -1)),
        sample(arg(0, 3), 1, 0),
    ],
    errors=[(sample(arg(2, 3), (1, 2), (0,)), RuntimeError, "shifts and dimensions must align")],
)
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Move the elements by ``shifts`` places along ``dims``; those that leave at the end return at the start.

    Without ``dims`` they are moved in index order, across the rows.  RuntimeError unless there are as many
    shifts as dimensions.

    >>> import accelgrad
    >>> accelgrad.roll(accelgrad.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    along = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not along and len(steps) == 1:
        return Roll.apply(input, shifts=steps, dims=None)
    if len(steps) != len(along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(along)}")
    return Roll.apply(input, shifts=steps, dims=tuple([wrap_dim(dim, input.array.ndim) for dim in along]))


@op(
    primitive=Flip,
    reference=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    samples=[sample(arg(2, 3), k) for k in (1, 2, 3, 4, -1)] + [sample(arg(2, 3, 2), 1, (1, 2))],
    errors=[
        (sample(arg(2, 3), 1, (0, 0)), RuntimeError, "expected rotation dims to be different"),
        (sample(arg(2, 3), 1, (0,)), RuntimeError, "expected total rotation dims == 2, but got dims = 1"),
    ],
)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turn by ``k`` times 90 degrees in the plane of ``dims``, from the first towards the second.

    RuntimeError unless ``dims`` are two different dimensions.

    >>> import accelgrad
    >>> accelgrad.rot90(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    ndim = input.array.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    first, second = wrap_dim(dims[0], ndim), wrap_dim(dims[1], ndim)
    if first == second:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}"
        )
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return Flip.apply(input, dims=(first, second))
    turned = Flip.apply(input, dims=(second if k == 1 else first,))
    order = list(range(ndim))
    order[first], order[second] = second, first
    return Permute.apply(turned, dims=tuple(order))


# --- copies side by side


@op(
    primitive=Repeat,
    samples=[
        sample(arg(2, 3), 2, 1),
        sample(arg(2, 3), (2, 1, 3)),
        sample(arg(2), 0),
        sample(arg(), (2, 2)),
        sample(arg(), ()),
    ],
    errors=[
        (sample(arg(2, 3), 2), RuntimeError, "Number of dimensions of repeat dims can not be smaller"),
        (sample(arg(2), -1), RuntimeError, "Trying to create tensor with negative dimension"),
    ],
    out=False,
    torch="Tensor.repeat",
)
def repeat(input: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """Put copies side by side: ``repeats[i]`` of them along dimension i.

    More numbers than dimensions add dimensions in front; RuntimeError for fewer numbers and for negative
    ones.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    times = sizes(repeats)
    if len(times) < input.array.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor:"
            f" {list(times)} for shape {list(input.shape)}"
        )
    if any(one < 0 for one in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    return Repeat.apply(input, repeats=times)


@op(
    primitive=Repeat,
    reference=lambda x, *dims: np.tile(x, dims[0] if isinstance(dims[0], tuple) else dims),
    samples=[sample(arg(2, 3), (2,)), sample(arg(2), (2, 2)), sample(arg(), (3,))],
    out=False,
)
def tile(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """Put copies side by side, as ``Tensor.repeat`` does; missing numbers in front count as 1.

    >>> import accelgrad
    >>> accelgrad.tile(accelgrad.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    times = sizes(dims)
    return repeat(input, (1,) * (input.array.ndim - len(times)) + times)


@op(
    primitive=IndexSelect,
    samples=[
        sample(arg(3), 2),
        sample(arg(2, 2), 3, 1),
        sample(arg(2, 2), 2),
        sample(arg(2, 3), arg(3, dtype="int64", values=[1, 0, 2]), dim=-1),
    ],
    errors=[
        (sample(arg(2), -1), RuntimeError, "repeats must be non-negative"),
        (
            sample(arg(2), arg(3, dtype="int64", values=[1, 1, 1])),
            RuntimeError,
            "repeats must have the same size as input along dim",
        ),
    ],
    out=False,
)
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Repeat every slice of ``dim``, with its copies next to each other.

    ``repeats`` is one number, or an integer tensor with one for each slice.  With ``dim=None`` every element
    is repeated, and the result is a vector.  ``repeat_interleave(counts)`` gives the index 0 counts[0] times,
    1 counts[1] times, and so on.  RuntimeError for negative numbers, and for another count than that of the
    slices.

    >>> import accelgrad
    >>> accelgrad.repeat_interleave(accelgrad.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    """
    if repeats is None:
        return repeat_interleave(arange(input.array.shape[0], device=input.device), input, 0)
    if dim is None:
        input, dim = View.apply(input, shape=(-1,)), 0
    dim, xp = wrap_dim(dim, input.array.ndim), input.xp
    extent = input.array.shape[dim]
    if isinstance(repeats, Tensor):
        counts = repeats.xp.to_host(repeats.array)
        if counts.dtype.kind not in "iu":
            raise RuntimeError(f"repeats has to be Long or Int tensor, but got {repeats.dtype}")
        if counts.size not in (1, extent):
            raise RuntimeError(
                "repeats must have the same size as input along dim,"
                f" but got repeats.size(0) = {counts.size} and input.size({dim}) = {extent}"
            )
    else:
        counts = np.asarray(repeats)
    if counts.size and counts.min() < 0:
        raise RuntimeError(f"repeats must be non-negative, got {counts.min()}")
    index = xp.from_host(np.repeat(np.arange(extent), counts))
    return IndexSelect.apply(input, dim=dim, index=index)


# --- triangles


def _needs_matrix(name: str, input: Tensor) -> None:
    """Raise RuntimeError for a tensor with fewer than two dimensions."""
    if input.array.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got {input.array.ndim}")


@op(
    primitive=Tril,
    reference=lambda x, diagonal=0: np.tril(x, diagonal),
    samples=[sample(arg(3, 3)), sample(arg(2, 4), 1), sample(arg(2, 3, 3), -1), sample(arg(0, 2))],
    errors=[(sample(arg(2)), RuntimeError, "tril: input tensor must have at least 2 dimensions")],
    inplace=True,
)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of every matrix (..., m, n), with zeros above ``diagonal``.

    ``diagonal`` 0 is the main one, 1 the one above it.  RuntimeError for fewer than two dimensions.

    >>> import accelgrad
    >>> accelgrad.tril(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    _needs_matrix("tril", input)
    return Tril.apply(input, diagonal=diagonal)


@op(
    primitive=Triu,
    reference=lambda x, diagonal=0: np.triu(x, diagonal),
    samples=[sample(arg(3, 3)), sample(arg(2, 4), 1), sample(arg(2, 3, 3), -1), sample(arg(0, 2))],
    errors=[(sample(arg(2)), RuntimeError, "triu: input tensor must have at least 2 dimensions")],
    inplace=True,
)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of every matrix (..., m, n), with zeros below ``diagonal``.

    ``diagonal`` 0 is the main one, 1 the one above it.  RuntimeError for fewer than two dimensions.

    >>> import accelgrad
    >>> accelgrad.triu(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    _needs_matrix("triu", input)
    return Triu.apply(input, diagonal=diagonal)


def _triangle(indices: Any, dtype: Any, device: Any) -> Tensor:
    """Return row and column numbers as one tensor (2, n), in int64 unless ``dtype`` is given."""
    kind = np.dtype(np.int64) if dtype is None else dtypes.as_numpy(dtype)
    xp = backend.namespace(device)
    return wrap(xp.from_host(np.stack(indices).astype(kind)), xp)


@op(
    reference=lambda row, col, offset=0: np.stack(np.tril_indices(row, offset, col)),
    samples=[sample(3, 3), sample(2, 4, 1), sample(3, 2, -1)],
    method=False,
    out=False,
    differentiable=False,
)
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Return the row and column numbers (2, n) of the lower triangle of a (row, col) matrix.

    They are int64 unless ``dtype`` is given; ``offset`` is the diagonal that ends the triangle.

    >>> import accelgrad
    >>> accelgrad.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle(np.tril_indices(row, offset, col), dtype, device)


@op(
    reference=lambda row, col, offset=0: np.stack(np.triu_indices(row, offset, col)),
    samples=[sample(3, 3), sample(2, 4, 1), sample(3, 2, -1)],
    method=False,
    out=False,
    differentiable=False,
)
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Return the row and column numbers (2, n) of the upper triangle of a (row, col) matrix.

    They are int64 unless ``dtype`` is given; ``offset`` is the diagonal that begins the triangle.

    >>> import accelgrad
    >>> accelgrad.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle(np.triu_indices(row, offset, col), dtype, device)
