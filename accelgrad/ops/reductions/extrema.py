"""The largest and smallest: max, min, amax, amin, aminmax, argmax, argmin, maximum, minimum."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.arithmetic import PAIRS, UNEQUAL, Pairwise
from accelgrad.ops.reductions.reduce import OUT_OF_RANGE, spread
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import Dims, axes_of, reducing, wrap_dim
from accelgrad.ops.registry.return_types import named


class Maximum(Pairwise):
    """z = the larger of x and y;  dL/dz goes to the larger, half to each of two equals"""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return ctx.xp.maximum(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        shared = xp.where(x == y, grad / 2, grad)
        return xp.where(x < y, 0.0, shared), xp.where(y < x, 0.0, shared)


class Minimum(Pairwise):
    """z = the smaller of x and y;  dL/dz goes to the smaller, half to each of two equals"""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return ctx.xp.minimum(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        shared = xp.where(x == y, grad / 2, grad)
        return xp.where(x > y, 0.0, shared), xp.where(y > x, 0.0, shared)


class Fmax(Pairwise):
    """z = the larger of x and y, or the one that is not NaN;  dL/dz goes to the one taken, of equals to x"""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return ctx.xp.fmax(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        first = (x >= y) | (y != y)
        return xp.where(first, grad, 0.0), xp.where(first, 0.0, grad)


class Fmin(Pairwise):
    """z = the smaller of x and y, or the one that is not NaN;  dL/dz goes to the one taken, of equals to x"""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return ctx.xp.fmin(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        first = (x <= y) | (y != y)
        return xp.where(first, grad, 0.0), xp.where(first, 0.0, grad)


def share(xp: Any, grad: Any, x: Any, y: Any, axis: Any) -> Any:
    """The gradient of an extreme value y of x, in equal parts to all that equal it (or are NaN, if y is)."""
    y = spread(xp, y, x.shape, axis)
    hit = (x == y) | ((x != x) & (y != y))
    count = xp.sum(xp.astype(hit, grad.dtype), axis=axis, keepdims=True)
    return xp.where(hit, spread(xp, grad, x.shape, axis) / count, 0.0)


class Amax(Primitive):
    """y = max of x over the axes;  dL/dy goes in equal parts to all elements that equal y"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.axis = axis
        y = ctx.xp.max(x, axis=axis, keepdims=keepdims)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return share(ctx.xp, grad, x, y, ctx.axis)


class Amin(Primitive):
    """y = min of x over the axes;  dL/dy goes in equal parts to all elements that equal y"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.axis = axis
        y = ctx.xp.min(x, axis=axis, keepdims=keepdims)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return share(ctx.xp, grad, x, y, ctx.axis)


class Pick(Primitive):
    """y = x at one index along an axis, and that index.

    dL/dy goes to the element picked, of equals the first.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int, keepdims: bool, find: str) -> Any:
        if x.ndim == 0:
            ctx.place = None
            return ctx.xp.copy(x), ctx.xp.zeros((), dtype="int64")
        xp = ctx.xp
        index = xp.expand_dims(getattr(xp, find)(x, axis=axis), axis)
        y = xp.take_along_axis(x, index, axis=axis)
        ctx.place, ctx.axis, ctx.extent, ctx.keepdims = index, axis, x.shape[axis], keepdims
        if not keepdims:
            y, index = xp.squeeze(y, axis), xp.squeeze(index, axis)
        return y, index.astype("int64", copy=False)

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        if ctx.place is None:
            return grad
        return at_place(ctx, grad if ctx.keepdims else ctx.xp.expand_dims(grad, ctx.axis))


def at_place(ctx: Any, grad: Any) -> Any:
    """``grad`` (extent 1 along ``ctx.axis``) at the constant index ``ctx.place``, 0 elsewhere."""
    raw = getattr(ctx, "context", ctx).xp
    steps = raw.reshape(raw.arange(ctx.extent), (-1,) + (1,) * (ctx.place.ndim - 1 - ctx.axis))
    return ctx.xp.where(steps == ctx.place, grad, 0.0)


class ArgPlace(Primitive):
    """y = the index of an extreme element"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int | None, keepdims: bool, find: str) -> Any:
        if x.dtype == "bool":
            x = x.astype("uint8")
        y = getattr(ctx.xp, find)(x, axis=axis)
        if keepdims and x.ndim:
            y = ctx.xp.reshape(y, (1,) * x.ndim) if axis is None else ctx.xp.expand_dims(y, axis)
        return y


# --- of two tensors

DISTINCT = [sample(arg(3, 4, distinct=True), arg(4, low=-0.1, high=0.1)), *PAIRS[:-1]]


@op(primitive=Maximum, reference=np.maximum, samples=DISTINCT, errors=[UNEQUAL])
def maximum(input: Tensor, other: Tensor | Number) -> Tensor:
    """The larger of two elements; NaN if one is.  Equal elements share the gradient.

    >>> import accelgrad
    >>> accelgrad.maximum(accelgrad.tensor([1.0, 5.0]), accelgrad.tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    return Maximum.apply(input, other)


@op(primitive=Minimum, reference=np.minimum, samples=DISTINCT, errors=[UNEQUAL])
def minimum(input: Tensor, other: Tensor | Number) -> Tensor:
    """The smaller of two elements; NaN if one is.  Equal elements share the gradient.

    >>> import accelgrad
    >>> accelgrad.minimum(accelgrad.tensor([1.0, 5.0]), accelgrad.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return Minimum.apply(input, other)


@op(primitive=Fmax, reference=np.fmax, samples=DISTINCT, errors=[UNEQUAL])
def fmax(input: Tensor, other: Tensor | Number) -> Tensor:
    """The larger of two elements; where one is NaN, the other.

    >>> import accelgrad
    >>> accelgrad.fmax(accelgrad.tensor([1.0, float("nan")]), accelgrad.tensor([3.0, 2.0]))
    tensor([3., 2.])
    """
    return Fmax.apply(input, other)


@op(primitive=Fmin, reference=np.fmin, samples=DISTINCT, errors=[UNEQUAL])
def fmin(input: Tensor, other: Tensor | Number) -> Tensor:
    """The smaller of two elements; where one is NaN, the other.

    >>> import accelgrad
    >>> accelgrad.fmin(accelgrad.tensor([1.0, float("nan")]), accelgrad.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return Fmin.apply(input, other)


# --- over dimensions

EXTREMES = [
    sample(arg(2, 3, distinct=True)),
    sample(arg(2, 3, distinct=True), 1),
    sample(arg(2, 3, 4, distinct=True), (0, -1)),
    sample(arg(2, 3, distinct=True), (), keepdim=True),
    sample(arg(2, 3, dtype="int64"), 0),
    sample(arg()),
    sample(arg(), 0),
]
NOTHING = r"Expected reduction dim to be specified for input.numel\(\) == 0"


def _needs_elements(name: str, input: Tensor, axis: tuple[int, ...] | None) -> None:
    if input.array.size:
        return
    if axis is None:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction"
            " dim with the 'dim' argument."
        )
    for place in axis:
        if input.array.shape[place] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {place} to have non-zero size.")


@op(
    primitive=Amax,
    reference=reducing(np.max),
    samples=EXTREMES,
    errors=[
        OUT_OF_RANGE,
        (sample(arg(0)), RuntimeError, NOTHING),
        (sample(arg(2, 0), 1), IndexError, "non-zero size"),
    ],
)
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest element over the dimensions ``dim`` (all of them by default); NaN if there is one.

    Equal largest elements share the gradient.  RuntimeError or IndexError over nothing.

    >>> import accelgrad
    >>> accelgrad.amax(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]), 1)
    tensor([2., 4.])
    """
    axis = axes_of(dim, input)
    _needs_elements("amax", input, axis)
    return Amax.apply(input, axis=axis, keepdims=keepdim)


@op(
    primitive=Amin,
    reference=reducing(np.min),
    samples=EXTREMES,
    errors=[
        OUT_OF_RANGE,
        (sample(arg(0)), RuntimeError, NOTHING),
        (sample(arg(2, 0), 1), IndexError, "non-zero size"),
    ],
)
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest element over the dimensions ``dim`` (all of them by default); NaN if there is one.

    Equal smallest elements share the gradient.  RuntimeError or IndexError over nothing.

    >>> import accelgrad
    >>> accelgrad.amin(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]), 1)
    tensor([1., 3.])
    """
    axis = axes_of(dim, input)
    _needs_elements("amin", input, axis)
    return Amin.apply(input, axis=axis, keepdims=keepdim)


_AMINMAX = named("aminmax", "min", "max")


@op(
    reference=lambda x, *, dim=None, keepdim=False: (
        reducing(np.min)(x, dim, keepdim),
        reducing(np.max)(x, dim, keepdim),
    ),
    samples=[
        sample(arg(2, 3, distinct=True)),
        sample(arg(2, 3, distinct=True), dim=-1),
        sample(arg(2, 3, distinct=True), dim=0, keepdim=True),
        sample(arg()),
    ],
    errors=[(sample(arg(0)), RuntimeError, NOTHING)],
)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, over all or along ``dim``, as a named tuple (min, max).

    >>> import accelgrad
    >>> low, high = accelgrad.aminmax(accelgrad.tensor([3.0, 1.0, 2.0]))
    >>> low, high
    (tensor(1.), tensor(3.))
    """
    axis = axes_of(dim, input)
    _needs_elements("aminmax", input, axis)
    return _AMINMAX(
        Amin.apply(input, axis=axis, keepdims=keepdim), Amax.apply(input, axis=axis, keepdims=keepdim)
    )


def _argument(name: str, find: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if dim is None and not input.array.size:
        raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
    axis = None if dim is None else wrap_dim(dim, input.array.ndim)
    if input.array.ndim == 0:
        axis = None
    _needs_elements(name, input, None if axis is None else (axis,))
    return ArgPlace.apply(input, axis=axis, keepdims=keepdim, find=find)


def _argument_reference(function: Any) -> Any:
    return lambda x, dim=None, keepdim=False: function(x, axis=dim if x.ndim else None, keepdims=keepdim)


PLACES = [
    sample(arg(2, 3, distinct=True)),
    sample(arg(2, 3, distinct=True), 1),
    sample(arg(2, 3, 4, dtype="int64"), -2, keepdim=True),
    sample(arg(), 0),
    sample(arg(2, 3, distinct=True), keepdim=True),
]


@op(
    primitive=ArgPlace,
    reference=_argument_reference(np.argmax),
    samples=PLACES,
    errors=[
        OUT_OF_RANGE,
        (sample(arg(0)), IndexError, r"argmax\(\): Expected reduction dim to be specified"),
    ],
    differentiable=False,
)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the largest element along ``dim``, or in the flattened tensor.

    Of equals the first.

    NaN counts as the largest.

    >>> import accelgrad
    >>> accelgrad.argmax(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1)
    tensor([1, 0])
    """
    return _argument("argmax", "argmax", input, dim, keepdim)


@op(
    primitive=ArgPlace,
    reference=_argument_reference(np.argmin),
    samples=PLACES,
    errors=[
        OUT_OF_RANGE,
        (sample(arg(0)), IndexError, r"argmin\(\): Expected reduction dim to be specified"),
    ],
    differentiable=False,
)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the smallest element along ``dim``, or in the flattened tensor.

    Of equals the first.

    NaN counts as the smallest.

    >>> import accelgrad
    >>> accelgrad.argmin(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1)
    tensor([0, 1])
    """
    return _argument("argmin", "argmin", input, dim, keepdim)


_MAX = named("max", "values", "indices")
_MIN = named("min", "values", "indices")


def _extreme(
    name: str, whole: Any, pair: Any, kind: Any, input: Tensor, dim: Any, keepdim: bool, other: Any
) -> Any:
    """The three forms of max and min."""
    if isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        return pair.apply(input, other)
    if dim is None:
        if not input.array.size:
            _needs_elements(name, input, None)
        return whole.apply(input, axis=None, keepdims=False)
    axis = wrap_dim(dim, input.array.ndim)
    if input.array.ndim:
        _needs_elements(name, input, (axis,))
    return kind(*Pick.apply(input, axis=axis, keepdims=keepdim, find=f"arg{name}"))


def _extreme_reference(two: Any, whole: Any, place: Any) -> Any:
    def reference(x: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if isinstance(dim, np.ndarray) or other is not None:
            return two(x, dim if other is None else other)
        if dim is None:
            return whole(x)
        return whole(x, axis=dim, keepdims=keepdim), place(x, axis=dim, keepdims=keepdim)

    return reference


FORMS = [
    sample(arg(2, 3, distinct=True)),
    sample(arg(values=[1.0, 2.0, 2.0], requires_grad=False), 0),
    sample(arg(2, 3, distinct=True), 1),
    sample(arg(2, 3, 4, distinct=True), -2, keepdim=True),
    sample(arg(2, 3), arg(3)),
    sample(arg(2, 3, dtype="int64"), dim=0),
    sample(arg()),
]


@op(
    primitive=Pick,
    reference=_extreme_reference(np.maximum, np.max, np.argmax),
    samples=FORMS,
    errors=[
        (sample(arg(0)), RuntimeError, NOTHING),
        (sample(arg(2, 0), 1), IndexError, r"max\(\): Expected reduction dim 1 to have non-zero size"),
        (OUT_OF_RANGE),
    ],
)
def max(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """Return the largest element: of all, along a dimension, or of two tensors.

    ``max(x)``, ``max(x, dim)`` and ``max(x, y)`` are the forms.

    Along a dimension a named tuple (values, indices) comes back; of equal elements the first counts, and gets
    the whole gradient.  Over all, equal elements share it.  NaN counts as the largest.

    >>> import accelgrad
    >>> values, indices = accelgrad.max(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1)
    >>> values, indices
    (tensor([2., 4.]), tensor([1, 0]))
    """
    return _extreme("max", Amax, Maximum, _MAX, input, dim, keepdim, other)


@op(
    primitive=Pick,
    reference=_extreme_reference(np.minimum, np.min, np.argmin),
    samples=FORMS,
    errors=[
        (sample(arg(0)), RuntimeError, NOTHING),
        (sample(arg(2, 0), 1), IndexError, r"min\(\): Expected reduction dim 1 to have non-zero size"),
        (OUT_OF_RANGE),
    ],
)
def min(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """Return the smallest element: of all, along a dimension, or of two tensors.

    ``min(x)``, ``min(x, dim)`` and ``min(x, y)`` are the forms.

    Along a dimension a named tuple (values, indices) comes back; of equal elements the first counts, and gets
    the whole gradient.  Over all, equal elements share it.  NaN counts as the smallest.

    >>> import accelgrad
    >>> accelgrad.min(accelgrad.tensor([[1.0, 2.0], [4.0, 3.0]]))
    tensor(1.)
    """
    return _extreme("min", Amin, Minimum, _MIN, input, dim, keepdim, other)
