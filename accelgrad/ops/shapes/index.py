"""Reading and writing parts of a tensor: ``x[...]``, ``x[...] = y``, select and narrow.

An index is taken apart as PyTorch does it: integers, slices, ``None`` and ``...`` are applied first and give
a view; masks and integer tensors are applied to that view and give a copy.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.backend import CPU
from accelgrad.arrays.data import as_array
from accelgrad.core.inplace import assign
from accelgrad.core.modes import state
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, method, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import element, wrap_dim
from accelgrad.ops.shapes.expand import expand

__all__ = ["Index", "IndexPut", "Select", "Slice", "Spread", "add_at", "narrow", "select"]


# --- views by an index


class Select(Primitive):
    """y = x[i] along one dimension, a view;  dL/dx = zeros with dL/dy at i."""

    view = True

    @staticmethod
    def forward(ctx, x, *, index: int, dim: int = 0):
        ctx.shape, ctx.options = x.shape, {"index": index, "dim": dim}
        return x[index, ...] if dim == 0 else x[(slice(None),) * dim + (index, ...)]

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Spread, grad, view=Select, options=ctx.options, shape=ctx.shape)


class Slice(Primitive):
    """y = x[index] for an index of integers, slices, None and ..., a view.

    dL/dx = zeros with dL/dy at index.
    """

    view = True

    @staticmethod
    def forward(ctx, x, *, index: tuple[Any, ...]):
        ctx.shape, ctx.options = x.shape, {"index": index}
        return x[index]

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Spread, grad, view=Slice, options=ctx.options, shape=ctx.shape)


class Spread(Primitive):
    """y = zeros with x where a view shows it: the adjoint of the view;  dL/dx = that view of dL/dy."""

    @staticmethod
    def forward(ctx, x, *, view, options: dict[str, Any], shape: tuple[int, ...]):
        ctx.view, ctx.options = view, options
        y = ctx.xp.zeros(shape, dtype=x.dtype)
        view.run(ctx.xp, y, **options)[...] = x
        return y

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(ctx.view, grad, **ctx.options)


# --- copies by an index


class Index(Primitive):
    """y = x[index] with integer arrays or masks in the index.

    dL/dx = zeros to which dL/dy is added at index.
    """

    @staticmethod
    def forward(ctx, x, *, index: tuple[Any, ...]):
        ctx.shape, ctx.index = x.shape, index
        try:
            return x[index]
        except IndexError as error:
            raise _translated(error, x, index) from None

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(IndexSpread, grad, index=ctx.index, shape=ctx.shape)


class IndexSpread(Primitive):
    """y = zeros to which x is added at index: the adjoint of :class:`Index`;  dL/dx = (dL/dy)[index]."""

    @staticmethod
    def forward(ctx, x, *, index: tuple[Any, ...], shape: tuple[int, ...]):
        ctx.index = index
        return _add(ctx.xp, ctx.xp.zeros(shape, dtype=x.dtype), index, x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(Index, grad, index=ctx.index)


class IndexPut(Primitive):
    """z = x with z[index] = y, or z[index] += y where ``accumulate``.

    dL/dx = dL/dz (0 at index), dL/dy = (dL/dz)[index].
    """

    @staticmethod
    def forward(ctx, x, y, *, index: tuple[Any, ...], accumulate: bool = False):
        ctx.index, ctx.accumulate = index, accumulate
        z = x.copy()
        if accumulate:
            return _add(ctx.xp, z, index, y)
        try:
            z[index] = y
        except (ValueError, IndexError) as error:
            raise _translated(error, x, index, y) from None
        return z

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        grad_x = grad if ctx.accumulate else xp.run(IndexPut, grad, 0.0, index=ctx.index)
        return grad_x, xp.run(Index, grad, index=ctx.index) if ctx.needs_input_grad[1] else None


class Copy(Primitive):
    """z = y in the shape of x;  dL/dx = 0, dL/dy = dL/dz."""

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.broadcast_to(y, x.shape)

    @staticmethod
    def backward(ctx, grad):
        return grad * 0.0, grad


def _add(xp: Any, z: Any, index: tuple[Any, ...], y: Any) -> Any:
    """Return ``z`` with ``y`` added at ``index``; an element that is named several times gets all of them."""
    first = index[0]
    if len(index) == 1 and first.dtype.kind == "b":
        # A mask names no element twice.
        z[index] += y
        return z
    if len(index) == 1:
        rows = first.reshape(-1)  # (count,)
        source = xp.broadcast_to(y, first.shape + z.shape[1:])
        source = source.reshape(rows.shape + z.shape[1:])  # (count, the extents of a row)
        return add_at(xp, z, 0, rows % z.shape[0] if z.shape[0] else rows, source)
    places = xp.arange(z.size).reshape(z.shape)[index]  # the flat positions of z[index]
    source = xp.broadcast_to(y, places.shape).reshape(-1)  # (count,)
    return add_at(xp, z.reshape(-1), 0, places.reshape(-1), source).reshape(z.shape)


def add_at(xp: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    """Return ``xp.index_add`` of every dtype; CuPy's takes some only, so the others are converted."""
    kind = x.dtype
    if isinstance(x, np.ndarray) or kind.kind == "f" or kind == np.int32:
        return xp.index_add(x, dim, index, source)
    if kind == np.int64:
        # A sum of unsigned numbers has the same bits, in two's complement.
        return xp.index_add(x.view(np.uint64), dim, index, source.view(np.uint64)).view(kind)
    return xp.index_add(x.astype(np.int32), dim, index, source.astype(np.int32)).astype(kind)


# --- x[...] and x[...] = y


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``x[index]``: a view for integers, slices, None and ``...``, a copy for masks and tensors.

    IndexError for an index out of range or for too many indices.

    >>> import accelgrad
    >>> x = accelgrad.tensor([[1, 2], [3, 4]])
    >>> x[:, 0], x[x > 1]
    (tensor([1, 3]), tensor([2, 3, 4]))
    """
    kind = type(index)
    if kind is int:
        shape = input.array.shape
        if shape and -shape[0] <= index < shape[0]:
            return Select.apply(input, index=index)
    elif kind is slice and input.array.shape:
        return Slice.apply(input, index=(_slice(index),))
    basic, advanced = parse(input, index)
    if basic is not None:
        input = Slice.apply(input, index=basic)
    if advanced is None:
        return input if basic is not None else Slice.apply(input, index=(...,))
    return Index.apply(input, index=advanced)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Set ``x[index]`` to ``value``, a number or a tensor that broadcasts, in place.

    >>> import accelgrad
    >>> x = accelgrad.zeros(2, 2)
    >>> x[:, 0] = 1
    >>> x
    tensor([[1., 0.],
            [1., 0.]])
    """
    value = _assigned(input, value)
    edge = input.edge()
    recorded = state.grad and (edge is not None or (isinstance(value, Tensor) and value.requires_grad))
    basic, advanced = parse(input, index)
    if not recorded and 0 not in input.array.strides:
        # Nothing to tell the graph: write, and count the change.
        array = input.array if basic is None else input.array[basic]
        _write(array, ... if advanced is None else advanced, value)
        input._version[0] += 1
        if input._view is not None and edge is None:
            input._view = (*input._view[:2], input._version[0])
        return
    target = input if basic is None else Slice.apply(input, index=basic)
    if advanced is not None:
        value = IndexPut.apply(target, value, index=advanced)
    else:
        if not isinstance(value, Tensor):
            value = wrap(input.xp.asarray(value, dtype=input.array.dtype), input.xp)
        if value.array.shape != target.array.shape:
            value = expand(value, *target.array.shape)
        if target is input:
            value = Copy.apply(input, value)  # what was there before gets a gradient of zeros
    assign(target, value)


def _assigned(input: Tensor, value: Any) -> Any:
    """Return what is written by ``x[...] = value``: a number that fits the dtype, or a tensor in that dtype.

    Extents of 1 in front are dropped, as PyTorch allows them.  TypeError for other kinds of values.
    """
    if not isinstance(value, Tensor):
        if not isinstance(value, bool | int | float | np.generic):
            raise TypeError(
                f"can't assign a {_type_name(value)} to a accelgrad.{input.dtype.title};"
                " wrap it in accelgrad.tensor(...)"
            )
        return element(value, input.dtype)
    if value.array.dtype is not input.array.dtype:
        value = value.to(input.dtype)
    if value.xp is not input.xp:
        if value.array.ndim:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices,"
                f" {input.device} and {value.device}!"
                f" Move the value with .to('{input.device}')"
            )
        value = value.to(input.device)
    shape = value.array.shape
    leading = next((place for place, extent in enumerate(shape) if extent != 1), len(shape))
    return value.reshape(shape[leading:]) if leading else value


def _type_name(value: Any) -> str:
    """Return the name of the type of a value as PyTorch's messages write it."""
    return "numpy.ndarray" if isinstance(value, np.ndarray) else type(value).__name__


def _write(array: Any, index: Any, value: Any) -> None:
    """Write ``value`` into a raw array at ``index``, with errors in PyTorch's words."""
    source = value.array if isinstance(value, Tensor) else value
    try:
        array[index] = source
    except (ValueError, IndexError) as error:
        if index is ... and array.flags.writeable and isinstance(value, Tensor):
            expand(value, *array.shape)  # says what does not fit
        raise _translated(error, array, index, source) from None


# --- taking an index apart


def parse(input: Tensor, index: Any) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """Return the two parts of an index: the basic one, and the arrays for the dimensions of its result.

    A part that has nothing to do is None.
    """
    array, xp = input.array, input.xp

    # --- the entries, and how many dimensions they use up
    if isinstance(index, list) and any(isinstance(one, _PARTS) or one is ... for one in index):
        index = tuple(index)  # PyTorch reads x[[[0, 1], [1, 0]]] as x[[0, 1], [1, 0]]
    items = [_item(one, xp) for one in (index if isinstance(index, tuple) else (index,))]
    used = sum([_consumes(one) for one in items])
    if used > array.ndim:
        if not array.ndim:
            raise IndexError(
                "invalid index of a 0-dim tensor."
                " Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim tensor to a"
                " number"
            )
        raise IndexError(f"too many indices for tensor of dimension {array.ndim}: {used} in {index!r}")

    # --- every entry goes to the basic part, and leaves a dimension to the arrays or not
    basic: list[Any] = []
    arrays: list[Any] = []
    plain, dim, free = True, 0, array.ndim - used
    for item in items:
        if type(item) is int:
            if not -array.shape[dim] <= item < array.shape[dim]:
                raise IndexError(
                    f"index {item} is out of bounds for dimension {dim} with size {array.shape[dim]}"
                )
            basic.append(item)
            plain, dim = False, dim + 1
        elif type(item) is slice:
            basic.append(item)
            arrays.append(_ALL)
            plain, dim = plain and item == _ALL, dim + 1
        elif item is None:
            basic.append(None)
            arrays.append(_ALL)
            plain = False
        elif item is ...:
            basic += [_ALL] * free
            arrays += [_ALL] * free
            dim, free = dim + free, 0
        elif item is True or item is False:
            # A new dimension of extent 1 or 0.
            basic.append(None)
            arrays.append(xp.zeros(int(item), dtype=np.int64))
            plain = False
        else:
            _check_item(array, item, dim, xp)
            count = _consumes(item)
            basic += [_ALL] * count
            arrays.append(xp.from_host(item) if isinstance(item, np.ndarray) else item)
            dim += count

    # --- trailing ``:`` change nothing
    while arrays and arrays[-1] is _ALL:
        arrays.pop()
    return None if plain else (*basic, ...), tuple(arrays) or None


_ALL = slice(None)
_PARTS = (list, tuple, slice, Tensor, np.ndarray, type(None))


def _item(item: Any, xp: Any) -> Any:
    """Return one entry of an index as int, slice, None, ..., True, False or an array.

    An array stays on the host if it comes from there.
    """
    # --- entries that are no arrays
    if item is None or item is ... or item is True or item is False or type(item) is int:
        return item
    if isinstance(item, slice):
        return _slice(item)

    # --- tensors, arrays, sequences and numbers as an array
    if isinstance(item, Tensor):
        if item.xp is not xp and item.is_cuda:
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({xp.device}),"
                f" but this one is on {item.device}: move it with .to('{xp.device}')"
            )
        item = item.array
    elif backend.is_array(item):
        pass
    elif isinstance(item, list | range) or (isinstance(item, tuple) and item):
        item = as_array(list(item), None if item else np.dtype(np.int64), CPU)
    elif isinstance(item, tuple):
        item = np.zeros(0, dtype=np.int64)
    elif hasattr(item, "__index__"):
        return operator.index(item)
    elif isinstance(item, str):
        raise TypeError("new(): invalid data type 'str': a tensor is indexed by numbers")
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`),"
            f" None and long or byte Variables are valid indices (got {type(item).__name__})"
        )

    # --- masks and indices, by their dtype
    kind = item.dtype
    if kind.kind == "b":
        return item if item.ndim else bool(item)
    if kind == np.uint8:
        warnings.warn(
            "indexing with dtype accelgrad.uint8 is now deprecated,"
            " please use a dtype accelgrad.bool instead.",
            UserWarning,
            stacklevel=5,
        )
        return item.astype(bool) if item.ndim else bool(item)
    if kind != np.int64 and kind != np.int32:
        raise IndexError(
            f"tensors used as indices must be long, int, byte or bool tensors, but got {dtypes.of(kind)};"
            " convert it with .long()"
        )
    return item if item.ndim else int(item)


def _consumes(item: Any) -> int:
    """Return how many dimensions an entry of an index uses up."""
    if item is None or item is ... or item is True or item is False:
        return 0
    if type(item) is int or type(item) is slice:
        return 1
    return item.ndim if item.dtype.kind == "b" else 1


def _slice(index: slice) -> slice:
    """Return a slice with plain ints; ValueError for steps that are not positive."""
    start, stop, step = index.start, index.stop, index.step
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero; use .flip() for the reverse order")
    for bound in (start, stop, step):
        if bound is not None and type(bound) is not int:
            try:
                return slice(*[None if one is None else operator.index(one) for one in (start, stop, step)])
            except TypeError:
                raise TypeError(
                    "slice indices must be integers or None or have an __index__ method,"
                    f" but got {type(bound).__name__}"
                ) from None
    return index


def _check_item(array: Any, item: Any, dim: int, xp: Any) -> None:
    """Raise IndexError for a mask of another shape than what it masks, or an index out of range on a card.

    NumPy checks the range itself, while a card would wrap; there it is checked where nobody has to wait for
    it.
    """
    if item.dtype.kind == "b":
        for offset, extent in enumerate(item.shape):
            if extent != array.shape[dim + offset]:
                raise IndexError(
                    f"The shape of the mask {list(item.shape)} at index {offset} does not match the shape of"
                    f" the indexed tensor {list(array.shape)} at index {dim + offset}"
                )
    elif xp.asynchronous and (xp.looks or isinstance(item, np.ndarray)):
        check_range(item, dim, array.shape[dim], -array.shape[dim])


def check_range(array: Any, dim: int, size: int, least: int = 0, error: type[Exception] = IndexError) -> None:
    """Raise ``error`` if an entry of the index ``array`` is not in [least, size); this waits for a card."""
    if not array.size:
        return
    low, high = int(array.min()), int(array.max())
    if low < least or high >= size:
        wrong = low if low < least else high
        raise error(f"index {wrong} is out of bounds for dimension {dim} with size {size}")


def _translated(error: Exception, x: Any, index: Any, value: Any = None) -> Exception:
    """Return NumPy's complaint about an index in PyTorch's words."""
    text = str(error)
    if "read-only" in text:
        return RuntimeError(
            "this tensor shares memory with a read-only array (or was made by expand)"
            " and cannot be changed in place; clone() it first"
        )
    if "out of bounds" in text:
        return IndexError(text.replace("axis", "dimension"))
    shapes = ", ".join([str(list(one.shape)) for one in index if hasattr(one, "shape")])
    try:
        result = x[index].shape
    except IndexError:
        return IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        )
    return RuntimeError(
        f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result"
        f" of shape {list(result)}"
    )


method("__getitem__")(getitem)
method("__setitem__")(setitem)


@op(
    primitive=Select,
    reference=lambda x, dim, index: np.take(x, index, axis=dim),
    samples=[sample(arg(2, 3), 0, 1), sample(arg(2, 3), -1, -1), sample(arg(2, 0), 0, 1)],
    errors=[
        (
            sample(arg(2, 3), 0, 5),
            IndexError,
            r"select\(\): index 5 out of range for tensor of size \[2, 3\]",
        ),
        (sample(arg(), 0, 0), IndexError, r"select\(\) cannot be applied to a 0-dim tensor"),
    ],
    out=False,
)
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the slice ``index`` of dimension ``dim``, a view: ``select(x, 1, 2)`` is ``x[:, 2]``.

    IndexError if the index is out of range.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]]).select(1, 0)
    tensor([1, 3])
    """
    shape = input.array.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    place, index = wrap_dim(dim, len(shape)), operator.index(index)
    if not -shape[place] <= index < shape[place]:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}"
        )
    return Select.apply(input, index=index, dim=place)


@op(
    primitive=Slice,
    samples=[sample(arg(4, 3), 0, 1, 2), sample(arg(2, 3), -1, -2, 2), sample(arg(3), 0, 3, 0)],
    errors=[
        (sample(arg(4), 0, 2, 5), RuntimeError, r"start \(2\) \+ length \(5\) exceeds dimension size \(4\)"),
        (sample(arg(4), 0, 2, -1), RuntimeError, r"narrow\(\): length must be non-negative"),
    ],
    out=False,
)
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """Return ``length`` slices of dimension ``dim`` from ``start`` on, as a view.

    A negative ``start`` counts from the end.  RuntimeError if the slices go beyond the dimension.

    >>> import accelgrad
    >>> accelgrad.arange(5).narrow(0, 1, 3)
    tensor([1, 2, 3])
    """
    shape = input.array.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim, start = wrap_dim(dim, len(shape)), operator.index(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -shape[dim] <= start <= shape[dim]:
        raise IndexError(
            f"start out of range (expected to be in range of [{-shape[dim]}, {shape[dim]}], but got {start})"
        )
    start += shape[dim] if start < 0 else 0
    if start + length > shape[dim]:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({shape[dim]}).")
    return Slice.apply(input, index=(_ALL,) * dim + (slice(start, start + length),))
