"""Elements picked by index along one dimension, and added there: gather, scatter_add, index_select.

Indices must lie in [0, size): negative ones and ones beyond the end raise.  On a card, where looking at them
means waiting, they do so with CUDA_LAUNCH_BLOCKING=1 only, as in PyTorch; without it they wrap around.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.shapes.index import Slice, Spread, add_at, check_range

__all__ = ["gather", "index_add", "index_select", "scatter_add", "take_along_dim"]


class Gather(Primitive):
    """y[i, j] = x[i, index[i, j]] (for dim 1);  dL/dx = zeros to which dL/dy is added at the same places."""

    @staticmethod
    def forward(ctx, x, *, dim: int, index):
        ctx.shape, ctx.dim, ctx.index = x.shape, dim, index
        if not x.ndim:
            return x.reshape(1)[index]
        if not index.size:
            return ctx.xp.zeros(index.shape, dtype=x.dtype)
        return x[grid(ctx.xp, index, dim)]

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(GatherSpread, grad, dim=ctx.dim, index=ctx.index, shape=ctx.shape)


class GatherSpread(Primitive):
    """y = zeros with x[i, j] added to y[i, index[i, j]]: the adjoint of :class:`Gather`.

    Its gradient is Gather's again.
    """

    @staticmethod
    def forward(ctx, x, *, dim: int, index, shape: tuple[int, ...]):
        ctx.dim, ctx.index = dim, index
        return scattered(ctx.xp, ctx.xp.zeros(shape, dtype=x.dtype), dim, index, x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Gather, grad, dim=ctx.dim, index=ctx.index)


class ScatterAdd(Primitive):
    """z = x with z[i, index[i, j]] += y[i, j];  dL/dx = dL/dz, dL/dy = dL/dz gathered."""

    @staticmethod
    def forward(ctx, x, y, *, dim: int, index):
        ctx.dim, ctx.index, ctx.shape = dim, index, y.shape
        return scattered(ctx.xp, x, dim, index, y)

    @staticmethod
    def backward(ctx, grad):
        return grad, gathered(ctx, grad) if ctx.needs_input_grad[1] else None


class IndexSelect(Primitive):
    """y = the slices index of x along a dimension;  dL/dx = zeros to which the slices of dL/dy are added."""

    @staticmethod
    def forward(ctx, x, *, dim: int, index):
        ctx.shape, ctx.dim, ctx.index = x.shape, dim, index
        return ctx.xp.take(x, index, axis=dim) if x.ndim else x.reshape(1)[index].reshape(())

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(SelectSpread, grad, dim=ctx.dim, index=ctx.index, shape=ctx.shape)


class SelectSpread(Primitive):
    """y = zeros to whose slices index those of x are added: the adjoint of :class:`IndexSelect`."""

    @staticmethod
    def forward(ctx, x, *, dim: int, index, shape: tuple[int, ...]):
        ctx.dim, ctx.index = dim, index
        if not shape:
            return ctx.xp.sum(x)
        return add_at(ctx.xp, ctx.xp.zeros(shape, dtype=x.dtype), dim, index, x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(IndexSelect, grad, dim=ctx.dim, index=ctx.index)


class Scatter(Primitive):
    """z = x with z[i, index[i, j]] = y[i, j];  dL/dx = dL/dz (0 where written), dL/dy = dL/dz gathered."""

    @staticmethod
    def forward(ctx, x, y, *, dim: int, index):
        ctx.dim, ctx.index = dim, index
        z = x.copy()
        flat = z if z.ndim else z.reshape(1)
        if hasattr(y, "shape"):
            ctx.shape = y.shape
            y = y[tuple([slice(0, n) for n in index.shape])] if y.ndim else y
        flat[grid(ctx.xp, index, dim) if z.ndim else index] = y
        return z

    @staticmethod
    def backward(ctx, grad):
        need_x, need_y = ctx.needs_input_grad
        return (
            ctx.xp.run(Scatter, grad, 0.0, dim=ctx.dim, index=ctx.index) if need_x else None,
            gathered(ctx, grad) if need_y else None,
        )


class IndexAdd(Primitive):
    """z = x with the slices of y added to the slices index of x.

    dL/dx = dL/dz, dL/dy = the slices index of dL/dz.
    """

    @staticmethod
    def forward(ctx, x, y, *, dim: int, index):
        ctx.dim, ctx.index = dim, index
        if not x.ndim:
            return (x + ctx.xp.sum(y)).astype(x.dtype)
        return add_at(ctx.xp, x, dim, index, y)

    @staticmethod
    def backward(ctx, grad):
        picked = ctx.xp.run(IndexSelect, grad, dim=ctx.dim, index=ctx.index)
        return grad, picked if ctx.needs_input_grad[1] else None


# --- helpers


def grid(xp: Any, index: Any, dim: int) -> tuple[Any, ...]:
    """Return the index arrays that name the element [i, index[i, j, ...], ...] for each [i, j, ...]."""
    ndim = index.ndim
    return tuple(
        [
            index if axis == dim else xp.arange(extent).reshape((extent,) + (1,) * (ndim - 1 - axis))
            for axis, extent in enumerate(index.shape)
        ]
    )


def scattered(xp: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    """Return a copy of ``x`` with source[i, j] added at [i, index[i, j]], in every dtype on every device."""
    if not x.ndim:
        return (x + xp.sum(source.reshape(-1)[: index.size])).astype(x.dtype)
    if not index.size:
        return x.copy()
    kind = x.dtype
    if isinstance(x, np.ndarray) or kind.kind == "f" or kind == np.int32:
        return xp.scatter_add(x, dim, index, source)
    if kind == np.int64:
        # CuPy adds by an index in some types only; a sum of unsigned numbers has the same bits.
        return xp.scatter_add(x.view(np.uint64), dim, index, source.view(np.uint64)).view(kind)
    return xp.scatter_add(x.astype(np.int32), dim, index, source.astype(np.int32)).astype(kind)


def gathered(ctx: Any, grad: Any) -> Any:
    """Return the gradient of a source of ``ctx.shape`` that was scattered; 0 where it was not used."""
    xp, shape = ctx.xp, ctx.index.shape
    result = xp.run(Gather, grad, dim=ctx.dim, index=ctx.index)
    if shape == ctx.shape:
        return result
    return xp.run(
        Spread, result, view=Slice, options={"index": tuple([slice(0, n) for n in shape])}, shape=ctx.shape
    )


def along(name: str, input: Tensor, index: Any) -> Any:
    """Return the raw array of an index tensor, whose dtype and device are checked."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    array = index.array
    if array.dtype != np.int64 and array.dtype != np.int32:
        if not array.size and index.xp is input.xp:
            # An empty index names nothing, so its dtype does not matter.
            return array.astype(np.int64)
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index, but got {index.dtype}; convert it with .long()"
        )
    if index.xp is not input.xp:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {input.device} and {index.device}!"
            f" In {name}: move the index with .to('{input.device}')"
        )
    return array


def elements(name: str, input: Tensor, dim: int, index: Any, source: Tensor | None = None) -> tuple[int, Any]:
    """Return ``dim`` from the front and the raw ``index`` of gather and scatter, both checked.

    RuntimeError if the shapes do not fit, or if an entry is out of range.
    """
    array, shape = along(name, input, index), input.array.shape
    dim = wrap_dim(dim, len(shape))
    if not array.size:
        return dim, array
    extents = array.shape
    if len(extents or (1,)) != len(shape or (1,)):
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as input tensor:"
            f" {name}() got index {list(extents)} and input {list(shape)}"
        )
    for place, extent in enumerate(extents):
        if place != dim and extent > shape[place]:
            if source is None:
                raise RuntimeError(
                    f"Size does not match at dimension {place} expected index {list(extents)} to be no"
                    f" larger than self {list(shape)} apart from dimension {dim}"
                )
            raise _too_large(extents, shape, dim, source)
        if source is not None and source.array.ndim and extent > source.array.shape[place]:
            raise _too_large(extents, shape, dim, source)
    if input.xp.looks:
        check_range(array, dim, shape[dim] if shape else 1, error=RuntimeError)
    return dim, array


def _too_large(extents: Any, shape: Any, dim: int, source: Tensor) -> RuntimeError:
    """Return the error for an index that is larger than the input or the source."""
    return RuntimeError(
        f"Expected index {list(extents)} to be no larger than self {list(shape)} apart from dimension {dim}"
        f" and to be no larger size than src {list(source.shape)}"
    )


def same_type(name: str, input: Tensor, source: Tensor) -> None:
    """Raise RuntimeError if two dtypes differ: scatter and similar operations do not convert."""
    if source.array.dtype is not input.array.dtype and source.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype,"
            f" but got {input.dtype} and {source.dtype}; convert with .to({input.dtype})"
        )


# --- by elements


_INDEX = arg(2, 2, dtype="int64", values=[[0, 2], [1, 1]])


def _picked(x: np.ndarray, dim: int, index: np.ndarray) -> np.ndarray:
    """Call NumPy's take_along_axis, which wants equal extents in the other dimensions."""
    if not x.ndim:
        return x
    kept = [slice(None) if axis == dim % x.ndim else slice(n) for axis, n in enumerate(index.shape)]
    return np.take_along_axis(x[tuple(kept)], index, dim)


@op(
    primitive=Gather,
    reference=_picked,
    samples=[
        sample(arg(2, 3), 1, _INDEX),
        sample(arg(3, 2), 0, _INDEX),
        sample(arg(2, 3), -1, arg(1, 4, dtype="int64", high=3, low=0)),
        sample(arg(2, 3), 1, arg(2, 0, dtype="int64")),
        sample(arg(), 0, arg(dtype="int64", values=0)),
    ],
    errors=[
        (
            sample(arg(2, 3), 1, arg(1, 1, dtype="int64", values=[[5]])),
            RuntimeError,
            "index 5 is out of bounds for dimension 1 with size 3",
        ),
        (
            sample(arg(2, 3), 1, arg(1, 1, dtype="int64", values=[[-1]])),
            RuntimeError,
            "index -1 is out of bounds for dimension 1",
        ),
        (
            sample(arg(2, 3), 1, arg(1, dtype="int64", values=[0])),
            RuntimeError,
            "Index tensor must have the same number of dimensions",
        ),
        (sample(arg(2, 3), 1, arg(2, 1)), RuntimeError, r"gather\(\): Expected dtype int32/int64 for index"),
        (
            sample(arg(2, 3), 1, arg(3, 1, dtype="int64", values=[[0]] * 3)),
            RuntimeError,
            "Size does not match at dimension 0",
        ),
    ],
)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Pick elements along ``dim`` by index: ``out[i, j] = input[i, index[i, j]]`` for ``dim=1``.

    ``index`` (int64 or int32) has the shape of the result: that of ``input``, with any extent along ``dim``
    and no larger ones in the others.  Where an element is picked several times its gradients add up.
    RuntimeError if the shapes do not fit or an index is out of range.

    >>> import accelgrad
    >>> x = accelgrad.tensor([[1, 2], [3, 4]])
    >>> accelgrad.gather(x, 1, accelgrad.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    dim, array = elements("gather", input, dim, index)
    return Gather.apply(input, dim=dim, index=array)


@op(
    primitive=Gather,
    reference=lambda x, index, dim=None: np.take_along_axis(x, index, dim),
    samples=[
        sample(arg(2, 3), arg(2, 2, dtype="int64", values=[[0, 2], [1, 1]]), 1),
        sample(arg(2, 3), arg(1, 1, dtype="int64", values=[[2]]), 1),
        sample(arg(1, 3), arg(2, 1, dtype="int64", values=[[2], [0]]), -1),
        sample(arg(2, 3), arg(4, dtype="int64", values=[0, 5, 2, 2])),
    ],
    errors=[
        (
            sample(arg(2, 3), arg(2, dtype="int64", values=[0, 1]), 1),
            RuntimeError,
            "input and indices should have the same number of dimensions",
        ),
    ],
)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Pick elements as :func:`gather` does, with broadcasting between ``input`` and ``indices``.

    With ``dim=None`` they are picked among all elements in index order.  Negative indices count from the end.

    >>> import accelgrad
    >>> x = accelgrad.tensor([[3, 1], [2, 4]])
    >>> accelgrad.take_along_dim(x, x.argmax(1, keepdim=True), 1)
    tensor([[3],
            [4]])
    """
    if dim is None:
        flat = input.reshape(-1)
        return gather(flat, 0, _from_start(indices.reshape(-1), flat.array.size))
    if input.array.ndim != indices.array.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions,"
            f" but got {input.array.ndim} dimensions for input,"
            f" and {indices.array.ndim} dimensions for indices"
        )
    dim = wrap_dim(dim, input.array.ndim)
    ours, theirs = list(input.array.shape), list(indices.array.shape)
    ours[dim] = theirs[dim] = 1
    meet = np.broadcast_shapes(tuple(ours), tuple(theirs))
    along_ours, along_theirs = (
        (*meet[:dim], one.array.shape[dim], *meet[dim + 1 :]) for one in (input, indices)
    )
    return gather(
        input if input.array.shape == along_ours else input.expand(along_ours),
        dim,
        _from_start(
            indices if indices.array.shape == along_theirs else indices.expand(along_theirs),
            input.array.shape[dim],
        ),
    )


def _from_start(indices: Tensor, size: int) -> Tensor:
    """Return indices with negative ones, which count from the end of ``size`` elements, made positive."""
    array = indices.array
    if array.dtype.kind != "i":
        return indices
    return wrap(indices.xp.where(array < 0, array + size, array), indices.xp)


@op(
    primitive=ScatterAdd,
    samples=[
        sample(arg(2, 3), 1, _INDEX, arg(2, 2)),
        sample(arg(3, 2), 0, arg(2, 2, dtype="int64", values=[[0, 2], [0, 2]]), arg(2, 2)),
        sample(arg(2, 3), -1, arg(1, 4, dtype="int64", high=3, low=0), arg(2, 5, requires_grad=False)),
        sample(arg(2, 3), 1, arg(2, 0, dtype="int64"), arg(2, 3, requires_grad=False)),
        sample(arg(), 0, arg(dtype="int64", values=0), arg()),
    ],
    errors=[
        (
            sample(arg(2, 3), 1, arg(1, 1, dtype="int64", values=[[5]]), arg(2, 3)),
            RuntimeError,
            "index 5 is out of bounds for dimension 1 with size 3",
        ),
        (
            sample(arg(2, 3), 1, arg(2, 4, dtype="int64", values=[[0] * 4] * 2), arg(2, 3)),
            RuntimeError,
            r"Expected index \[2, 4\] to be no larger than self",
        ),
        (
            sample(arg(2, 3), 1, arg(2, 1, dtype="int64", values=[[0], [0]]), arg(2, 3, dtype="int64")),
            RuntimeError,
            "Expected self.dtype to be equal to src.dtype",
        ),
    ],
    inplace=True,
)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return ``input`` with ``src`` added by index: ``out[i, index[i, j]] += src[i, j]`` for ``dim=1``.

    Values sent to one place add up.  RuntimeError if dtypes differ, shapes do not fit or an index is out of
    range.

    >>> import accelgrad
    >>> accelgrad.scatter_add(accelgrad.zeros(3), 0, accelgrad.tensor([0, 2, 2]), accelgrad.ones(3))
    tensor([1., 0., 2.])
    """
    same_type("scatter", input, src)
    dim, array = elements("scatter", input, dim, index, src)
    return ScatterAdd.apply(input, src, dim=dim, index=array)


# --- by slices


def slices(
    name: str, input: Tensor, dim: int, index: Any, error: type[Exception], negative: bool = False
) -> tuple[int, Any]:
    """Return ``dim`` from the front and the raw ``index`` of index_select and others, both checked.

    ``error`` is raised for an entry out of range; with ``negative`` entries may count from the end.
    """
    array, shape = along(name, input, index), input.array.shape
    dim = wrap_dim(dim, len(shape))
    if array.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but has shape {list(array.shape)}")
    size = shape[dim] if shape else 1
    try:
        if input.xp.looks:
            check_range(array, dim, size, -size if negative else 0, error)
    except IndexError as problem:
        if name == "index_select":
            raise IndexError(f"index out of range in self: index_select() got {problem}") from None
        raise IndexError(f"{name}(): {problem}") from None
    return dim, array.reshape(-1)


_ROWS = arg(4, dtype="int64", values=[0, 2, 2, 1])


@op(
    primitive=IndexSelect,
    reference=lambda x, dim, index: np.take(x, index, axis=dim),
    samples=[
        sample(arg(3, 2), 0, _ROWS),
        sample(arg(2, 3), -1, _ROWS),
        sample(arg(2, 3), 1, arg(0, dtype="int64")),
    ],
    errors=[
        (sample(arg(2, 3), 0, _ROWS), IndexError, "index out of range in self"),
        (
            sample(arg(2, 3), 0, arg(1, 1, dtype="int64", values=[[0]])),
            IndexError,
            r"index_select\(\): Index is supposed to be a vector",
        ),
    ],
)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return a copy of the slices of dimension ``dim`` that the vector ``index`` (int64 or int32) names.

    The extent of ``dim`` becomes that of ``index``.  IndexError if an entry is out of range.

    >>> import accelgrad
    >>> accelgrad.index_select(accelgrad.tensor([[1, 2], [3, 4]]), 1, accelgrad.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])
    """
    dim, array = slices("index_select", input, dim, index, IndexError)
    return IndexSelect.apply(input, dim=dim, index=array)


@op(
    primitive=IndexAdd,
    samples=[
        sample(arg(3, 2), 0, _ROWS, arg(4, 2)),
        sample(arg(2, 3), -1, _ROWS, arg(2, 4), alpha=-2),
        sample(arg(2, 3), 1, arg(0, dtype="int64"), arg(2, 0)),
    ],
    errors=[
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[5]), arg(1, 3)),
            RuntimeError,
            "index 5 is out of bounds for dimension 0 with size 2",
        ),
        (
            sample(arg(2, 3), 0, arg(2, dtype="int64", values=[0, 1]), arg(1, 3)),
            RuntimeError,
            r"Number of indices \(2\) should be equal to source.size\(dim\)",
        ),
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[0]), arg(1, 2)),
            RuntimeError,
            "source tensor shape must match self tensor shape",
        ),
    ],
    inplace=True,
)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: int | float = 1) -> Tensor:
    """Return ``input`` with ``alpha`` times slice k of ``source`` added to slice ``index[k]`` of ``dim``.

    Slices sent to one place add up.  RuntimeError if dtypes differ, shapes do not fit or an index is out of
    range.

    >>> import accelgrad
    >>> accelgrad.index_add(accelgrad.zeros(3), 0, accelgrad.tensor([0, 2, 2]), accelgrad.ones(3))
    tensor([1., 0., 2.])
    """
    same_type("index_add", input, source)
    dim, array = slices("index_add", input, dim, index, RuntimeError)
    check_source("index_add_", input, dim, array, source)
    return IndexAdd.apply(input, source if alpha == 1 else source * alpha, dim=dim, index=array)


def check_source(
    name: str, input: Tensor, dim: int, array: Any, source: Tensor, error: type[Exception] = RuntimeError
) -> None:
    """Raise unless ``source`` has one slice for each index, with the extents of the slices of ``input``."""
    ours, theirs = input.array.shape, source.array.shape
    extent = theirs[dim] if theirs else 1
    if array.size != extent:
        raise error(
            f"{name}(): Number of indices ({array.size}) should be equal to source.size(dim):"
            f" ({extent}), for dim: {dim}"
        )
    if ours[:dim] != theirs[:dim] or ours[dim + 1 :] != theirs[dim + 1 :]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension."
            f" Got self.shape = {list(ours)} source.shape = {list(theirs)}"
        )
