"""Values placed by index: scatter, index_copy, index_fill, index_put, put, and writes through a view.

Every operation here gives a changed copy; its in-place form (``scatter_`` ...) changes the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.create import full
from accelgrad.ops.pointwise.arithmetic import add
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import boolean, no_broadcast
from accelgrad.ops.registry.dims import element, wrap_dim
from accelgrad.ops.shapes.diagonal import Diagonal
from accelgrad.ops.shapes.expand import expand
from accelgrad.ops.shapes.fill import Where
from accelgrad.ops.shapes.gather import (
    Scatter,
    along,
    check_source,
    elements,
    same_type,
    scatter_add,
    slices,
)
from accelgrad.ops.shapes.index import IndexPut, Select, Slice, getitem, parse, setitem
from accelgrad.ops.shapes.scatter_reduce import scatter_reduce
from accelgrad.ops.shapes.shape import View

__all__ = [
    "diagonal_scatter", "index_copy", "index_fill", "index_put", "masked_scatter", "put", "scatter",
    "select_scatter", "slice_scatter",
]  # fmt: skip


class ViewPut(Primitive):
    """z = x with y written through a view of it.

    dL/dx = dL/dz (0 under the view), dL/dy = that view of dL/dz.
    """

    @staticmethod
    def forward(ctx, x, y, *, view, options: dict[str, Any]):
        ctx.view, ctx.options = view, options
        z = x.copy()
        view.run(ctx.xp, z, **options)[...] = y
        return z

    @staticmethod
    def backward(ctx, grad):
        need_x, need_y = ctx.needs_input_grad
        return (
            ctx.xp.run(ViewPut, grad, 0.0, view=ctx.view, options=ctx.options) if need_x else None,
            ctx.xp.run(ctx.view, grad, **ctx.options) if need_y else None,
        )


_INDEX = arg(2, 2, dtype="int64", values=[[0, 2], [1, 0]])
_VECTOR = arg(2, dtype="int64", values=[2, 0])


@op(
    primitive=Scatter,
    samples=[
        sample(arg(2, 3), 1, _INDEX, arg(2, 2)),
        sample(arg(3, 2), 0, arg(2, 2, dtype="int64", values=[[0, 2], [1, 0]]), arg(2, 2)),
        sample(arg(2, 3), -1, arg(1, 2, dtype="int64", values=[[2, 0]]), arg(2, 3, requires_grad=False)),
        sample(arg(2, 3), 1, _INDEX, 1.5),
        sample(arg(2, 3, requires_grad=False), 1, _INDEX, arg(2, 2, requires_grad=False), reduce="add"),
        sample(arg(2, 3), 1, arg(2, 0, dtype="int64"), arg(2, 3, requires_grad=False)),
    ],
    errors=[
        (
            sample(arg(2, 3), 1, arg(1, 1, dtype="int64", values=[[5]]), arg(2, 3)),
            RuntimeError,
            "index 5 is out of bounds for dimension 1 with size 3",
        ),
        (
            sample(arg(2, 3), 1, _INDEX, arg(2, 2), reduce="mean"),
            RuntimeError,
            "reduce argument must be either",
        ),
        (
            sample(arg(2, 3), 1, _INDEX, arg(2, 2, dtype="int64")),
            RuntimeError,
            r"scatter\(\): Expected self.dtype to be equal to src.dtype",
        ),
    ],
    inplace=True,
)
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Number | None = None,
    *,
    value: Number | None = None,
    reduce: str | None = None,
) -> Tensor:
    """Return ``input`` with ``src`` written by index: ``out[i, index[i, j]] = src[i, j]`` for ``dim=1``.

    ``src`` may be a number (also as ``value=``); ``reduce`` "add" or "multiply" combines instead of
    replacing. If an index comes twice, either value may stay, and both get the gradient of that place.
    RuntimeError if dtypes differ, shapes do not fit or an index is out of range.

    >>> import accelgrad
    >>> accelgrad.scatter(accelgrad.zeros(3), 0, accelgrad.tensor([2, 0]), accelgrad.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    src = value if src is None else src
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    if isinstance(src, Tensor):
        same_type("scatter", input, src)
    elif src is None:
        raise TypeError("scatter() missing the value: give src or value")
    if reduce is not None:
        if not isinstance(src, Tensor):
            src = full(index.shape, src, dtype=input.dtype, device=input.device)
        if reduce == "add":
            return scatter_add(input, dim, index, src)
        return scatter_reduce(input, dim, index, src, "prod")
    place, array = elements("scatter", input, dim, index, src if isinstance(src, Tensor) else None)
    if not isinstance(src, Tensor):
        src = element(src, input.dtype)
    return Scatter.apply(input, src, dim=place, index=array)


# --- by slices


@op(
    primitive=IndexPut,
    samples=[
        sample(arg(3, 2), 0, _VECTOR, arg(2, 2)),
        sample(arg(2, 3), -1, _VECTOR, arg(2, 2)),
        sample(arg(3), 0, arg(dtype="int64", values=1), arg()),
    ],
    errors=[
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[5]), arg(1, 3)),
            IndexError,
            r"index_copy_\(\): index 5 is out of bounds for dimension 0 with size 2",
        ),
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[0]), arg(2, 3)),
            IndexError,
            r"Number of indices \(1\) should be equal to source.size\(dim\)",
        ),
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[0]), arg(1, 3, dtype="int64")),
            RuntimeError,
            r"index_copy_\(\): self and source expected to have the same dtype",
        ),
    ],
    inplace=True,
)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Return ``input`` with slice k of ``source`` in the place of slice ``index[k]`` of dimension ``dim``.

    IndexError if an index is out of range, RuntimeError if the dtypes differ.

    >>> import accelgrad
    >>> accelgrad.index_copy(accelgrad.zeros(3), 0, accelgrad.tensor([2]), accelgrad.ones(1))
    tensor([0., 0., 1.])
    """
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype,"
            f" but got (self) {input.dtype} and (source) {source.dtype}"
        )
    dim, array = slices("index_copy_", input, dim, index, IndexError)
    check_source("index_copy_", input, dim, array, source, IndexError)
    if not input.array.ndim:
        return View.apply(source, shape=())
    if not source.array.ndim:
        source = View.apply(source, shape=(1,))
    return IndexPut.apply(input, source, index=(slice(None),) * dim + (array,))


@op(
    primitive=IndexPut,
    samples=[
        sample(arg(3, 2), 0, _VECTOR, 1.5),
        sample(arg(2, 3), -1, _VECTOR, arg()),
        sample(arg(2, 3), 1, arg(1, dtype="int64", values=[-1]), 2),
    ],
    errors=[
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[5]), 1),
            IndexError,
            "index 5 is out of bounds for dimension 0 with size 2",
        ),
        (
            sample(arg(2, 3), 0, arg(1, dtype="int64", values=[0]), arg(2)),
            RuntimeError,
            "index_fill_ only supports a 0-dimensional value tensor",
        ),
    ],
    inplace=True,
)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> Tensor:
    """Return ``input`` with ``value`` in the slices of dimension ``dim`` that the vector ``index`` names.

    ``value`` is a number or a 0-d tensor.  IndexError if an index is out of range.

    >>> import accelgrad
    >>> accelgrad.index_fill(accelgrad.zeros(3), 0, accelgrad.tensor([0, 2]), 7)
    tensor([7., 0., 7.])
    """
    filled: Any = value
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor,"
                f" but got tensor with {value.array.ndim} dimension(s)."
            )
        filled = value.to(input.dtype)
    else:
        filled = element(value, input.dtype)
    dim, array = slices("index_fill_", input, dim, index, IndexError, negative=True)
    xp, shape = input.xp, input.array.shape
    # An index named twice counts once in the gradient.
    chosen = xp.zeros(shape[dim] if shape else 1, dtype=bool)
    chosen[array] = True
    chosen = chosen.reshape((-1,) + (1,) * (len(shape) - 1 - dim) if shape else ())  # (n, 1, 1, ...)
    return Where.apply(filled, input, condition=chosen)


# --- by flat or mixed indices


@op(
    primitive=IndexPut,
    samples=[
        sample(
            arg(2, 3), (arg(2, dtype="int64", values=[0, 1]), arg(2, dtype="int64", values=[2, 0])), arg(2)
        ),
        sample(arg(2, 3), [arg(2, dtype="int64", values=[1, 1])], arg(2, 3), accumulate=True),
        sample(arg(2, 3), (arg(2, dtype="bool", values=[True, False]),), arg()),
    ],
    errors=[
        (
            sample(arg(2), (arg(1, dtype="int64", values=[5]),), arg()),
            IndexError,
            "index 5 is out of bounds for dimension 0 with size 2",
        ),
        (
            sample(arg(2), (arg(1, dtype="int64", values=[0]),), arg(dtype="int64", values=1)),
            RuntimeError,
            "Index put requires the source and destination dtypes match",
        ),
        (sample(arg(2), (None,), arg()), TypeError, "expected Tensor as element 0"),
    ],
    inplace=True,
)
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """Return ``input`` with ``out[indices] = values``, or ``+=`` if ``accumulate``.

    ``indices`` is a sequence of integer or bool tensors, as in ``x[i, j]``; with ``accumulate`` values for
    one place add up.  IndexError if an index is out of range, RuntimeError if the dtypes differ.

    >>> import accelgrad
    >>> i = accelgrad.tensor([0, 0])
    >>> accelgrad.index_put(accelgrad.zeros(2), (i,), accelgrad.ones(2), accumulate=True)
    tensor([2., 0.])
    """
    for place, one in enumerate(indices):
        if not isinstance(one, Tensor):
            raise TypeError(f"expected Tensor as element {place} in argument 0, but got {type(one).__name__}")
    if values.array.dtype != input.array.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match,"
            f" got {input.dtype} for the destination and {values.dtype} for the source."
        )
    basic, arrays = parse(input, tuple(indices))
    if basic is not None or arrays is None:
        # Indices that are 0-d give a view.
        result = input.clone()
        where = tuple(indices)
        setitem(result, where, add(getitem(result, where), values) if accumulate else values)
        return result
    return IndexPut.apply(input, values, index=arrays, accumulate=accumulate)


@op(
    primitive=IndexPut,
    samples=[
        sample(arg(2, 3), arg(2, dtype="int64", values=[0, -1]), arg(2)),
        sample(arg(2, 3), arg(3, dtype="int64", values=[4, 4, 1]), arg(3), True),
    ],
    errors=[
        (
            sample(arg(2), arg(1, dtype="int64", values=[9]), arg(1)),
            IndexError,
            "out of range: tried to access index 9 on a tensor of 2 elements",
        ),
        (
            sample(arg(2), arg(1, dtype="int64", values=[0]), arg(2)),
            IndexError,
            r"put_\(\): Expected source and index to have the same number of elements",
        ),
    ],
    inplace=True,
)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Return ``input`` with the values of ``source`` at flat positions, or added there if ``accumulate``.

    ``index`` (int64) counts all elements in index order, negative ones from the end.  IndexError if one is
    out of range or if ``source`` has another number of elements, RuntimeError if the dtypes differ.

    >>> import accelgrad
    >>> accelgrad.put(accelgrad.zeros(2, 2), accelgrad.tensor([3]), accelgrad.ones(1))
    tensor([[0., 0.],
            [0., 1.]])
    """
    array = flat_index("put_", input, index)
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype,"
            f" but got self.dtype = {input.dtype} and source.dtype = {source.dtype}"
        )
    if source.array.size != array.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements,"
            f" but got source.numel() = {source.array.size}, index.numel() = {array.size}"
        )
    flat, values = View.apply(input, shape=(-1,)), View.apply(source, shape=(-1,))
    changed = IndexPut.apply(flat, values, index=(array.reshape(-1),), accumulate=accumulate)
    return View.apply(changed, shape=input.array.shape)


def flat_index(name: str, input: Tensor, index: Any) -> Any:
    """Return the raw array of an index that counts all elements of ``input``, checked.

    Negative entries count from the end.
    """
    if isinstance(index, Tensor) and index.array.dtype != np.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype}")
    array, size = along(name, input, index), input.array.size
    if array.size and input.xp.looks:
        low, high = int(array.min()), int(array.max())
        if low < -size or high >= size:
            raise IndexError(
                f"out of range: tried to access index {low if low < -size else high} on a tensor of {size}"
                " elements."
            )
    return array


@op(
    primitive=IndexPut,
    samples=[
        sample(arg(2, 3), arg(2, 3, dtype="bool"), arg(7)),
        sample(arg(2, 3), arg(3, dtype="bool"), arg(2, 3)),
    ],
    errors=[
        (
            sample(arg(2), arg(2, dtype="bool", values=[True, True]), arg(1)),
            RuntimeError,
            "Number of elements of source < number of ones in mask",
        ),
        (sample(arg(2), arg(2), arg(2)), RuntimeError, "masked_scatter_ only supports boolean masks"),
    ],
    inplace=True,
)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return ``input`` with the first elements of ``source``, in order, where ``mask`` holds.

    The mask is bool and broadcasts.  RuntimeError if ``source`` has too few elements or another dtype.

    >>> import accelgrad
    >>> mask = accelgrad.tensor([True, False, True])
    >>> accelgrad.masked_scatter(accelgrad.zeros(3), mask, accelgrad.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    array = boolean("masked_scatter", input, mask, "mask")
    if array.dtype.kind != "b":
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}"
        )
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype}"
            f" and {source.dtype}"
        )
    try:
        shape = np.broadcast_shapes(input.array.shape, array.shape)
    except ValueError:
        raise no_broadcast(input, array) from None
    if shape != input.array.shape:
        input = expand(input, *shape)
    array = input.xp.broadcast_to(array, shape)
    count = int(array.sum())
    if count > source.array.size:
        raise RuntimeError(
            f"Number of elements of source < number of ones in mask: {source.array.size} against {count}"
        )
    values = Slice.apply(View.apply(source, shape=(-1,)), index=(slice(0, count),))
    return IndexPut.apply(input, values, index=(array,))


# --- through a view


def _fits(shape: tuple[int, ...], src: Tensor) -> None:
    """Raise RuntimeError unless ``src`` has the given shape."""
    if src.array.shape != shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self."
            f" src size = {list(src.array.shape)}, slice size = {list(shape)}"
        )


@op(
    primitive=ViewPut,
    samples=[sample(arg(2, 3), arg(3), 0, 1), sample(arg(2, 3), arg(2), -1, -1)],
    errors=[
        (
            sample(arg(2, 3), arg(2), 0, 1),
            RuntimeError,
            "expected src to have a size equal to the slice of self",
        )
    ],
)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Return ``input`` with ``src`` in the place of ``select(input, dim, index)``.

    RuntimeError if ``src`` has another shape, IndexError if the index is out of range.

    >>> import accelgrad
    >>> accelgrad.select_scatter(accelgrad.zeros(2, 2), accelgrad.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    shape = input.array.shape
    dim = wrap_dim(dim, len(shape))
    if not -shape[dim] <= index < shape[dim]:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}"
        )
    _fits(shape[:dim] + shape[dim + 1 :], src)
    return ViewPut.apply(input, _as(src, input), view=Select, options={"index": index, "dim": dim})


def _as(src: Tensor, input: Tensor) -> Tensor:
    """Return ``src`` in the dtype of ``input``."""
    return src if src.array.dtype is input.array.dtype else src.to(input.dtype)


@op(
    primitive=ViewPut,
    samples=[
        sample(arg(4, 2), arg(2, 2), 0, 1, 3),
        sample(arg(2, 5), arg(2, 2), 1, 0, 4, 2),
        sample(arg(3), arg(3)),
    ],
    errors=[
        (
            sample(arg(4), arg(1), 0, 1, 3),
            RuntimeError,
            "expected src to have a size equal to the slice of self",
        ),
        (sample(arg(4), arg(2), 0, 1, 3, -1), RuntimeError, "slice step must be positive"),
    ],
)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """Return ``input`` with ``src`` in the place of ``input[start:end:step]``, taken along ``dim``.

    RuntimeError if ``src`` has another shape.

    >>> import accelgrad
    >>> accelgrad.slice_scatter(accelgrad.zeros(4), accelgrad.ones(2), 0, 1, 3)
    tensor([0., 1., 1., 0.])
    """
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    dim = wrap_dim(dim, input.array.ndim)
    index = (slice(None),) * dim + (slice(start, end, step),)
    _fits(input.array[index].shape, src)
    return ViewPut.apply(input, _as(src, input), view=Slice, options={"index": index})


@op(
    primitive=ViewPut,
    samples=[
        sample(arg(3, 3), arg(3)),
        sample(arg(2, 3), arg(2), 1),
        sample(arg(2, 3, 2), arg(3, 2), 0, 0, 2),
    ],
    errors=[
        (sample(arg(2, 3), arg(3)), RuntimeError, "expected src to have a size equal to the slice of self")
    ],
)
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return ``input`` with ``src`` in the place of ``diagonal(input, offset, dim1, dim2)``.

    RuntimeError if ``src`` has another shape.

    >>> import accelgrad
    >>> accelgrad.diagonal_scatter(accelgrad.zeros(2, 2), accelgrad.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    ndim = input.array.ndim
    options = {"offset": offset, "dim1": wrap_dim(dim1, ndim), "dim2": wrap_dim(dim2, ndim)}
    _fits(input.array.diagonal(offset, options["dim1"], options["dim2"]).shape, src)
    return ViewPut.apply(input, _as(src, input), view=Diagonal, options=options)
