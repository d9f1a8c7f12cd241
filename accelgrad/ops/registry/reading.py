"""The array module over Tensors: NumPy's names as our operations, so that a backward can be recorded.

A formula for the gradient computes with ``ctx.xp``.  For ordinary gradients that is an array module; for
gradients of gradients it is the :class:`TensorNamespace` of this file.  There ``xp.sum(x, axis=0,
keepdims=True)`` is ``accelgrad.sum`` on Tensors.  Names whose NumPy and PyTorch signatures differ are adapted
here; the name of a fused kernel stands for its plain formula, computed with Tensors; every other name is the
operation of that name in the registry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.core import context
from accelgrad.core.tensor import Tensor, method, wrap
from accelgrad.kernels import plain
from accelgrad.ops.registry import OPS

__all__ = ["TensorNamespace"]


class TensorNamespace:
    """The array module ``ctx.xp`` of formulas whose own gradient is wanted: every step is recorded."""

    differentiable = True
    float16, float32, float64 = np.float16, np.float32, np.float64
    int32, int64, bool_ = np.int32, np.int64, np.bool_
    pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        adapted = _ADAPTERS.get(name)
        if adapted is None:
            path = _OTHER_NAMES.get(name, name)
            entry = OPS.get(path) or OPS.get(f"special.{path}")
            formula = getattr(plain, name, None)
            if entry is not None:
                adapted = entry.call
            elif formula is not None:
                adapted = functools.partial(formula, self)
            else:
                raise AttributeError(
                    f"the differentiable reading has no {name!r}: add it to accelgrad/ops/registry/reading.py"
                )
        self.__dict__[name] = adapted
        return adapted

    def run(self, other: Any, *inputs: Any, **options: Any) -> Any:
        """Apply another primitive to Tensors; the step is recorded."""
        return other.apply(*inputs, **options)


_OTHER_NAMES = {
    "power": "pow", "negative": "neg", "absolute": "abs",
    "fabs": "abs", "concatenate": "cat", "matrix_transpose": "mT", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "take_along_axis": "take_along_dim", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "equal": "eq", "not_equal": "ne", "true_divide": "true_divide",
    "divide": "true_divide", "expand_dims": "unsqueeze", "invert": "bitwise_not",
    "clip": "clamp", "multiply": "mul", "subtract": "sub",
    "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "mod": "remainder",
}  # fmt: skip
"""NumPy's name -> the operation's, for operations that take the same arguments."""

_ADAPTERS: dict[str, Callable[..., Any]] = {}
"""NumPy's name -> the function below that takes NumPy's arguments."""


def _adapt(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter the decorated function into ``_ADAPTERS`` under its name."""
    _ADAPTERS[function.__name__.strip("_")] = function
    return function


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call an operation by its path."""
    return OPS[name].call(*args, **kwargs)


def _tensor(x: Any) -> Tensor:
    """Return ``x`` as a Tensor; raw arrays are wrapped."""
    return x if isinstance(x, Tensor) else wrap(x)


def _kind(dtype: Any) -> Any:
    """Return the NumPy dtype of any way of naming a dtype, None for None."""
    return None if dtype is None else dtypes.as_numpy(dtype)


@_adapt
def astype(x: Tensor, dtype: Any) -> Tensor:
    """Return ``x`` with another dtype, as ``Tensor.to``."""
    return _tensor(x).to(dtypes.as_dtype(dtype))


@_adapt
def asarray(x: Any) -> Tensor:
    """Return ``x`` as a Tensor."""
    return _tensor(x)


@_adapt
def _sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis``."""
    return _call("sum", _tensor(x), axis, keepdims)


@_adapt
def reshape(x: Tensor, shape: Any) -> Tensor:
    """Reshape; a single number is a shape of one dimension."""
    return _call("reshape", _tensor(x), shape if isinstance(shape, tuple | list) else (shape,))


@_adapt
def transpose(x: Tensor, axes: Any = None) -> Tensor:
    """Permute the dimensions; without ``axes`` reverse them."""
    x = _tensor(x)
    return _call("permute", x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


@_adapt
def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Exchange two dimensions, which PyTorch calls transpose."""
    return _call("transpose", _tensor(x), axis1, axis2)


@_adapt
def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move dimensions to other places, as ``accelgrad.movedim``."""
    return _call("movedim", _tensor(x), source, destination)


@_adapt
def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """Broadcast to a shape."""
    return _call("broadcast_to", _tensor(x), tuple(shape))


@_adapt
def concatenate(arrays: Any, axis: int = 0) -> Tensor:
    """Join along a dimension, as ``accelgrad.cat``."""
    return _call("cat", [_tensor(x) for x in arrays], axis)


@_adapt
def stack(arrays: Any, axis: int = 0) -> Tensor:
    """Join along a new dimension."""
    return _call("stack", [_tensor(x) for x in arrays], axis)


@_adapt
def expand_dims(x: Tensor, axis: Any) -> Tensor:
    """Insert dimensions of extent 1 at the places ``axis`` of the result."""
    x = _tensor(x)
    axes = (axis,) if isinstance(axis, int) else axis
    for one in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = _call("unsqueeze", x, one)
    return x


@_adapt
def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """Select ``indices`` along ``axis``; without it, from the flattened ``x``."""
    x = _tensor(x)
    if axis is None:
        return _call("reshape", x, (-1,))[getattr(indices, "array", indices)]
    return x[(slice(None),) * (axis % x.ndim) + (getattr(indices, "array", indices),)]


@_adapt
def take_along_axis(x: Tensor, indices: Any, axis: int) -> Tensor:
    """Select along ``axis`` by an index for each element, as ``accelgrad.gather``."""
    return _call("gather", _tensor(x), axis, _tensor(indices))


@_adapt
def scatter_add(x: Tensor, dim: int, index: Any, source: Tensor) -> Tensor:
    """Add ``source`` to ``x`` at an index for each element."""
    return _call("scatter_add", _tensor(x), dim, _tensor(index), _tensor(source))


@_adapt
def index_add(x: Tensor, dim: int, index: Any, source: Tensor) -> Tensor:
    """Add the slices of ``source`` to those of ``x`` that ``index`` names."""
    return _call("index_add", _tensor(x), dim, _tensor(index), _tensor(source))


@_adapt
def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Make zeros of the shape of ``x``, and of its dtype if none is given."""
    x = _tensor(x)
    return wrap(x.xp.zeros(x.array.shape, dtype=_kind(dtype) or x.array.dtype), x.xp)


@_adapt
def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Make ones of the shape of ``x``, and of its dtype if none is given."""
    x = _tensor(x)
    return wrap(x.xp.ones(x.array.shape, dtype=_kind(dtype) or x.array.dtype), x.xp)


context.reading = TensorNamespace()


# --- NumPy's own functions and operators, given Tensors


@method
def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    return _for_numpy(
        ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", inputs, options
    )


@method
def __array_function__(self: Tensor, function: Any, types: Any, inputs: Any, options: Any) -> Any:
    return _for_numpy(function.__name__, inputs, options)


def _for_numpy(name: str, inputs: Any, options: Any) -> Any:
    """Compute ``numpy.<name>`` of tensors by our operation of that name, so that the gradient goes on."""
    function = getattr(context.reading, name, None)
    if function is None or not set(options) <= {"axis", "keepdims"}:
        raise TypeError(
            f"numpy.{name} does not work on Tensors; use accelgrad's functions,"
            " or tensor.detach().numpy() for NumPy's"
        )
    return function(*inputs, **options)
