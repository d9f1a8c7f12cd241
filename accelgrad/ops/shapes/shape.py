"""The shape of a tensor: view, reshape, permute, squeeze, flatten and others.

Most of these are views: the result shows the same memory, and a change through it reaches the tensor it was
taken from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, attribute, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes, wrap_dim, wrap_dims

__all__ = [
    "flatten", "movedim", "permute", "ravel", "reshape", "reshape_as", "squeeze", "t", "transpose",
    "unflatten", "unsqueeze", "view", "view_as",
]  # fmt: skip


class View(Primitive):
    """y = x in another shape;  dL/dx = dL/dy in the shape of x."""

    view = True

    @staticmethod
    def forward(ctx, x, *, shape: tuple[int, ...]):
        ctx.shape = x.shape
        try:
            return x.reshape(shape)
        except ValueError:
            raise _bad_shape(x, shape) from None

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.reshape(grad, ctx.shape)


class Permute(Primitive):
    """y = x with its dimensions in another order;  dL/dx = dL/dy with the inverse order."""

    view = True

    @staticmethod
    def forward(ctx, x, *, dims: tuple[int, ...]):
        ctx.dims = dims
        return x.transpose(dims)

    @staticmethod
    def backward(ctx, grad):
        dims = ctx.dims
        return ctx.xp.transpose(grad, tuple(sorted(range(len(dims)), key=dims.__getitem__)))


class Transpose(Primitive):
    """y = x with two dimensions exchanged;  dL/dx = dL/dy with the same two exchanged."""

    view = True

    @staticmethod
    def forward(ctx, x, *, dim0: int, dim1: int):
        ctx.dim0, ctx.dim1 = dim0, dim1
        return x.swapaxes(dim0, dim1)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.swapaxes(grad, ctx.dim0, ctx.dim1)


class T(Primitive):
    """y = xᵀ, that is x with its dimensions in reverse order;  dL/dx = (dL/dy)ᵀ."""

    view = True

    @staticmethod
    def forward(ctx, x):
        return x.T

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.transpose(grad)


class Squeeze(Primitive):
    """y = x without some dimensions of extent 1;  dL/dx = dL/dy with them."""

    view = True

    @staticmethod
    def forward(ctx, x, *, dims: tuple[int, ...]):
        ctx.shape = x.shape
        return x[(*[0 if dim in dims else slice(None) for dim in range(x.ndim)], ...)]

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.reshape(grad, ctx.shape)


class Unsqueeze(Primitive):
    """y = x with a new dimension of extent 1;  dL/dx = dL/dy without it."""

    view = True

    @staticmethod
    def forward(ctx, x, *, dim: int):
        ctx.shape = x.shape
        return x[(slice(None),) * dim + (None, ...)]

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.reshape(grad, ctx.shape)


def _bad_shape(x: Any, shape: tuple[int, ...]) -> RuntimeError:
    """Return PyTorch's error for a shape that ``x`` cannot take."""
    if shape.count(-1) > 1:
        return RuntimeError(f"only one dimension can be inferred, but {list(shape)} has several -1")
    if any(extent < -1 for extent in shape):
        place = next(place for place, extent in enumerate(shape) if extent < -1)
        return RuntimeError(f"invalid shape dimension {shape[place]} at index {place} of shape {list(shape)}")
    if not x.size and -1 in shape and 0 in shape:
        return RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)}"
            " because the unspecified dimension size -1 can be any value and is ambiguous"
        )
    return RuntimeError(
        f"shape '{list(shape)}' is invalid for input of size {x.size}: the tensor has shape {tuple(x.shape)}"
    )


def _shows(x: Any, y: Any) -> bool:
    """Tell whether ``y``, reshaped from ``x``, shows the memory of ``x``."""
    if not x.size or x.flags.c_contiguous:
        return True
    return np.may_share_memory(x, y) if isinstance(x, np.ndarray) else x.data.mem is y.data.mem


# --- other extents


@op(
    primitive=View,
    reference=lambda x, *shape: x.reshape(*shape),
    samples=[
        sample(arg(2, 3), (3, 2)),
        sample(arg(2, 3), (-1,)),
        sample(arg(2, 3), (2, -1, 1)),
        sample(arg(), (1, 1)),
        sample(arg(1), ()),
        sample(arg(0, 3), (3, 0)),
    ],
    errors=[
        (sample(arg(2, 3), (4, 2)), RuntimeError, r"shape '\[4, 2\]' is invalid for input of size 6"),
        (sample(arg(2, 3), (-1, -1)), RuntimeError, "only one dimension can be inferred"),
        (sample(arg(2, 3), (-2, 3)), RuntimeError, "invalid shape dimension -2"),
        (sample(arg(0, 3), (-1, 0)), RuntimeError, "cannot reshape tensor of 0 elements"),
    ],
    out=False,
)
def reshape(input: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """Return the same elements, in index order, in another shape; one extent may be -1 and is inferred.

    The result shows the same memory where that is possible, and is a copy otherwise; :func:`view` never
    copies. RuntimeError if the number of elements differs.

    >>> import accelgrad
    >>> accelgrad.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    return View.apply(input, shape=_extents(shape))


def _extents(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a wanted shape as a tuple of ints; RuntimeError for numbers below -1."""
    wanted = sizes(shape)
    if wanted and min(wanted) < -1:
        # NumPy would take any negative number for -1.
        place = next(place for place, extent in enumerate(wanted) if extent < -1)
        raise RuntimeError(
            f"invalid shape dimension {wanted[place]} at index {place} of shape {list(wanted)}"
        )
    return wanted


@op(
    primitive=View,
    reference=lambda x, *shape: x.reshape(*shape),
    samples=[
        sample(arg(2, 3), (3, 2)),
        sample(arg(2, 3), -1),
        sample(arg(2, 3), 3, 2),
        sample(arg(0, 3), (3, 0)),
    ],
    errors=[(sample(arg(2, 3), (4, 2)), RuntimeError, r"shape '\[4, 2\]' is invalid for input of size 6")],
    out=False,
    torch="Tensor.view",
)
def view(input: Tensor, *shape: int | Sequence[int] | DType, dtype: DType | None = None) -> Tensor:
    """Return the same memory in another shape, or its bytes read as another dtype.

    One extent may be -1 and is inferred.  RuntimeError if the memory layout does not allow the shape:
    ``reshape`` copies then.

    >>> import accelgrad
    >>> x = accelgrad.zeros(4)
    >>> x.view(2, 2)[0, 1] = 1
    >>> x
    tensor([0., 1., 0., 0.])
    """
    if dtype is not None or (shape and isinstance(shape[0], DType)):
        return _view_as_type(input, dtype or shape[0])  # type: ignore[arg-type]
    result = View.apply(input, shape=_extents(shape))
    if not input.array.flags.c_contiguous and not _shows(input.array, result.array):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride"
            " (at least one dimension spans across two contiguous subspaces):"
            f" shape {tuple(input.shape)}, stride {input.stride()}."
            " Use .reshape(...) instead."
        )
    return result


def _view_as_type(input: Tensor, kind: DType) -> Tensor:
    """Return the bytes of ``input`` read as elements of another dtype.

    The last dimension grows or shrinks with the size of an element.  RuntimeError if it is not divisible.
    """
    array, wanted = input.array, dtypes.as_numpy(kind)
    if wanted.itemsize != array.itemsize:
        if not array.ndim:
            raise RuntimeError(
                f"self.dim() cannot be 0 to view {input.dtype} as {kind!r} (different element sizes)"
            )
        if array.strides[-1] != array.itemsize and array.shape[-1] != 1:
            raise RuntimeError(
                f"self.stride(-1) must be 1 to view {input.dtype} as {kind!r} (different element sizes),"
                f" but got {input.stride(-1)}"
            )
        if array.shape[-1] * array.itemsize % wanted.itemsize:
            raise RuntimeError(
                f"self.size(-1) must be divisible by {wanted.itemsize // array.itemsize} to view"
                f" {input.dtype} as {kind!r} (different element sizes), but got {array.shape[-1]}"
            )
    result = wrap(array.view(wanted), input.xp)
    result._version = input._version
    return result


@op(
    primitive=View,
    samples=[sample(arg(2, 3), arg(3, 2, requires_grad=False))],
    out=False,
    torch="Tensor.view_as",
)
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the same memory in the shape of ``other``: ``input.view(other.shape)``.

    >>> import accelgrad
    >>> accelgrad.zeros(4).view_as(accelgrad.ones(2, 2)).shape
    accelgrad.Size([2, 2])
    """
    return view(input, other.array.shape)


@op(
    primitive=View,
    samples=[sample(arg(2, 3), arg(3, 2, requires_grad=False))],
    out=False,
    torch="Tensor.reshape_as",
)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the same elements in the shape of ``other``: ``input.reshape(other.shape)``.

    >>> import accelgrad
    >>> accelgrad.zeros(4).reshape_as(accelgrad.ones(2, 2)).shape
    accelgrad.Size([2, 2])
    """
    return View.apply(input, shape=other.array.shape)


@op(
    primitive=View,
    samples=[
        sample(arg(2, 3, 4)),
        sample(arg(2, 3, 4), 1),
        sample(arg(2, 3, 4), -3, -2),
        sample(arg()),
        sample(arg(2, 0)),
    ],
    errors=[
        (sample(arg(2, 3), 1, 0), RuntimeError, r"flatten\(\) has invalid args: start_dim cannot come after")
    ],
    out=False,
)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the dimensions ``start_dim`` to ``end_dim`` (both included) into one.

    RuntimeError if ``start_dim`` comes after ``end_dim``.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3, 4).flatten(1).shape
    accelgrad.Size([2, 12])
    """
    shape = input.array.shape
    if not shape:
        return View.apply(input, shape=(1,))
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError(
            f"flatten() has invalid args: start_dim cannot come after end_dim ({start_dim} after {end_dim})"
        )
    if start == end:
        return input
    return View.apply(input, shape=(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@op(primitive=View, reference=np.ravel, samples=[sample(arg(2, 3)), sample(arg())], out=False)
def ravel(input: Tensor) -> Tensor:
    """Return all elements in one dimension, as a view where possible.

    >>> import accelgrad
    >>> accelgrad.ones(2, 2).ravel()
    tensor([1., 1., 1., 1.])
    """
    return View.apply(input, shape=(-1,))


@op(
    primitive=View,
    samples=[sample(arg(2, 6), 1, (2, 3)), sample(arg(6, 2), 0, (-1, 3)), sample(arg(4), -1, (2, 2))],
    errors=[
        (sample(arg(2, 6), 1, (4, 2)), RuntimeError, r"unflatten: Provided sizes \[4, 2\] don't multiply up")
    ],
    out=False,
)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one dimension into several, of extents ``sizes`` (one may be -1 and is inferred).

    RuntimeError if the extents do not multiply to that of ``dim``.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 12).unflatten(1, (3, 4)).shape
    accelgrad.Size([2, 3, 4])
    """
    shape = input.array.shape
    dim, parts = wrap_dim(dim, len(shape)), list(sizes)
    known = math.prod([extent for extent in parts if extent != -1])
    if -1 in parts and known and shape[dim] % known == 0:
        parts[parts.index(-1)] = shape[dim] // known
    if math.prod(parts) != shape[dim]:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim}"
            f" ({shape[dim]}) in the input tensor"
        )
    return View.apply(input, shape=(*shape[:dim], *parts, *shape[dim + 1 :]))


@op(
    primitive=Squeeze,
    samples=[
        sample(arg(1, 3, 1)),
        sample(arg(1, 3, 1), 0),
        sample(arg(1, 3, 1), 1),
        sample(arg(1, 3, 1), (0, -1)),
        sample(arg(1)),
        sample(arg()),
    ],
    errors=[
        (sample(arg(1, 3), 4), IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\]")
    ],
    out=False,
)
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Remove the dimensions of extent 1: all of them, or those in ``dim``; others named there stay.

    >>> import accelgrad
    >>> accelgrad.zeros(1, 3, 1).squeeze(0).shape
    accelgrad.Size([3, 1])
    """
    shape = input.array.shape
    dims = range(len(shape)) if dim is None else wrap_dims(dim, len(shape))
    return Squeeze.apply(input, dims=tuple([one for one in dims if one < len(shape) and shape[one] == 1]))


@op(
    primitive=Unsqueeze,
    reference=np.expand_dims,
    samples=[sample(arg(2, 3), 0), sample(arg(2, 3), 1), sample(arg(2, 3), -1), sample(arg(), 0)],
    errors=[
        (sample(arg(2, 3), 4), IndexError, r"Dimension out of range \(expected to be in range of \[-3, 2\]")
    ],
    out=False,
)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Insert a dimension of extent 1 at place ``dim``; IndexError if there is no such place.

    >>> import accelgrad
    >>> accelgrad.zeros(3).unsqueeze(1).shape
    accelgrad.Size([3, 1])
    """
    return Unsqueeze.apply(input, dim=wrap_dim(dim, input.array.ndim + 1))


# --- another order


@op(
    primitive=Permute,
    reference=np.transpose,
    samples=[sample(arg(2, 3, 4), (2, 0, 1)), sample(arg(2, 3), (-1, 0)), sample(arg(), ())],
    errors=[
        (sample(arg(2, 3), (0, 0)), RuntimeError, r"permute\(\): duplicate dims are not allowed"),
        (sample(arg(2, 3), (0,)), RuntimeError, "does not match the length of the desired ordering"),
        (sample(arg(2, 3), (0, 3)), IndexError, "Dimension out of range"),
    ],
    out=False,
)
def permute(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """Return the dimensions in the order ``dims``: dimension i of the result is ``dims[i]`` of the input.

    RuntimeError unless every dimension comes once.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3, 4).permute(2, 0, 1).shape
    accelgrad.Size([4, 2, 3])
    """
    order, ndim = sizes(dims), input.array.ndim
    if len(order) != ndim:
        raise RuntimeError(
            "permute(): number of dimensions in the tensor input does not match the length of the desired"
            f" ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(order)}"
        )
    order = tuple([wrap_dim(dim, ndim) for dim in order])
    if len(set(order)) != ndim:
        raise RuntimeError(f"permute(): duplicate dims are not allowed: {order}")
    return Permute.apply(input, dims=order)


@op(
    primitive=Transpose,
    reference=np.swapaxes,
    samples=[sample(arg(2, 3, 4), 0, 2), sample(arg(2, 3), -1, 0)],
    errors=[(sample(arg(2, 3), 0, 4), IndexError, "Dimension out of range")],
    out=False,
    aliases=("swapaxes", "swapdims"),
)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return the tensor with two dimensions exchanged, as a view.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]]).transpose(0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    ndim = input.array.ndim
    first, second = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
    return Transpose.apply(input, dim0=first, dim1=second) if ndim else View.apply(input, shape=())


@op(
    primitive=T,
    samples=[sample(arg(2, 3)), sample(arg(3)), sample(arg())],
    errors=[
        (sample(arg(2, 3, 4)), RuntimeError, r"t\(\) expects a tensor with <= 2 dimensions, but self is 3D")
    ],
    out=False,
)
def t(input: Tensor) -> Tensor:
    """Return a matrix (m, n) transposed to (n, m); a vector stays as it is.

    RuntimeError for more than two dimensions.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]]).t()
    tensor([[1, 3],
            [2, 4]])
    """
    if input.array.ndim > 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {input.array.ndim}D;"
            " use .mT or .transpose(...)"
        )
    return T.apply(input)


@attribute("H")
def _H(self: Tensor) -> Tensor:
    """Return the adjoint of a matrix, for real numbers its transpose; RuntimeError for other dimensions.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).H.shape
    accelgrad.Size([3, 2])
    """
    if self.array.ndim not in (0, 2):
        raise RuntimeError(
            "tensor.H is only supported on matrices (2-D tensors)."
            f" Got {self.array.ndim}-D tensor."
            " For batches of matrices, consider using tensor.mH"
        )
    return t(self)


@attribute("mT")
def _mT(self: Tensor) -> Tensor:
    """Return every matrix of a batch transposed: (..., m, n) becomes (..., n, m).

    RuntimeError for fewer than two dimensions.

    >>> import accelgrad
    >>> accelgrad.zeros(4, 2, 3).mT.shape
    accelgrad.Size([4, 3, 2])
    """
    if self.array.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.array.ndim}-D tensor."
        )
    return Transpose.apply(self, dim0=-2, dim1=-1)


@attribute("mH")
def _mH(self: Tensor) -> Tensor:
    """Return the adjoint of every matrix of a batch, for real numbers its transpose ``mT``.

    >>> import accelgrad
    >>> accelgrad.zeros(4, 2, 3).mH.shape
    accelgrad.Size([4, 3, 2])
    """
    return _mT(self)


@attribute("T")
def _T(self: Tensor) -> Tensor:
    """Return the tensor with its dimensions in reverse order, as a view.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).T.shape
    accelgrad.Size([3, 2])
    """
    return T.apply(self)


@op(
    primitive=Permute,
    reference=np.moveaxis,
    samples=[sample(arg(2, 3, 4), 0, -1), sample(arg(2, 3, 4), (0, 1), (1, 2))],
    errors=[(sample(arg(2, 3), (0, 1), 0), RuntimeError, "movedim: Invalid source or destination dims")],
    out=False,
    aliases=("moveaxis",),
)
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move the dimensions ``source`` to the places ``destination``; the others keep their order.

    RuntimeError unless there are as many places as dimensions.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3, 4).movedim(0, -1).shape
    accelgrad.Size([3, 4, 2])
    """
    ndim = input.array.ndim
    moved, places = wrap_dims(source, ndim, "movedim"), wrap_dims(destination, ndim, "movedim")
    if len(moved) != len(places):
        raise RuntimeError(
            "movedim: Invalid source or destination dims:"
            f" source ({source} dims) should contain the same number of dims as destination"
            f" ({destination} dims)"
        )
    order = [dim for dim in range(ndim) if dim not in moved]
    for place, dim in sorted(zip(places, moved, strict=True)):
        order.insert(place, dim)
    return Permute.apply(input, dims=tuple(order))


@op(
    reference=lambda x: np.swapaxes(x, -1, -2),
    samples=[sample(arg(2, 3)), sample(arg(2, 3, 4))],
    errors=[(sample(arg(3)), RuntimeError, r"tensor.adjoint\(\) is only supported on matrices or batches")],
    out=False,
)
def adjoint(input: Tensor) -> Tensor:
    """Return every matrix (..., m, n) transposed, as a view; RuntimeError for fewer than two dimensions.

    >>> import accelgrad
    >>> accelgrad.adjoint(accelgrad.zeros(2, 3)).shape
    accelgrad.Size([3, 2])
    """
    if input.array.ndim < 2:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices."
            f" Got {input.array.ndim}-D tensor."
        )
    return transpose(input, -2, -1)
