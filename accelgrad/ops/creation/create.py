"""Tensors from nothing or from data: tensor, from_numpy, zeros, full, arange, linspace, eye and others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dlpack, dtypes
from accelgrad.arrays.data import as_array
from accelgrad.arrays.dtypes import Number
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import op
from accelgrad.ops.registry.dims import element, sizes

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_dlpack", "from_numpy",
    "frombuffer", "full", "full_like", "linspace", "logspace", "ones", "ones_like", "range",
    "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip


def made(array: Any, xp: Any, requires_grad: bool) -> Tensor:
    """Return a new tensor around an array that nobody else holds."""
    result = wrap(array, xp)
    return result.requires_grad_() if requires_grad else result


def kind_of(dtype: Any) -> np.dtype:
    """Return ``dtype`` as a NumPy dtype; None stands for the default floating point dtype."""
    return dtypes.get_default_dtype().numpy if dtype is None else dtypes.as_numpy(dtype)


def extents(given: Sequence[Any], size: Any = None, name: str = "") -> tuple[int, ...]:
    """Return the shape of a new tensor, given as numbers, as a sequence, or as ``size=``.

    TypeError if there is none or if an extent is not an integer, RuntimeError if an extent is negative.
    """
    if size is not None:
        given = (size,)
    elif not given:
        raise TypeError(
            f'{name}() missing 1 required positional arguments: "size"; a 0-d tensor is {name}(())'
        )
    try:
        shape = sizes(given)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None
    if shape and min(shape) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    return shape


# --- from data


@op(method=False, out=False, differentiable=False)
def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor with a copy of ``data``: numbers, nested sequences, arrays or tensors.

    Without ``dtype`` the dtype is that of the data: bool, int64, the default floating point dtype for Python
    floats, an array's own.  ValueError for sequences of unequal length, TypeError for what is not a number.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    xp = backend.namespace(device) if device is not None or not isinstance(data, Tensor) else data.xp
    return made(as_array(data, None if dtype is None else dtypes.as_numpy(dtype), xp), xp, requires_grad)


@op(method=False, out=False, differentiable=False)
def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return ``data`` as a tensor, without a copy where possible.

    A tensor is returned as it is, and an array shares its memory, if dtype and device stay the same; anything
    else is copied as by :func:`tensor`.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> accelgrad.as_tensor(x) is x
    True
    """
    if isinstance(data, Tensor):
        if device is not None:
            data = data.to(device)
        return data if dtype is None else data.to(dtype)
    if backend.is_array(data):
        shared = wrap(data) if not isinstance(data, np.ndarray) else from_numpy(data)
        return as_tensor(shared, dtype, backend.default_device() if device is None else device)
    return tensor(data, dtype=dtype, device=device)


@op(method=False, out=False, differentiable=False)
def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``obj`` as a tensor that shares its memory where possible.

    ``copy=True`` always copies; ``copy=False`` is a ValueError where the memory cannot be shared.

    >>> import accelgrad
    >>> accelgrad.asarray([1, 2])
    tensor([1, 2])
    """
    if not isinstance(obj, Tensor) and hasattr(obj, "__dlpack__") and not backend.is_array(obj):
        obj = from_dlpack(obj)
    if copy:
        result = tensor(obj, dtype=dtype, device=device)
    else:
        result = as_tensor(obj, dtype, device)
        source = obj.array if isinstance(obj, Tensor) else obj
        if copy is False and not (backend.is_array(source) and result.array is source):
            raise ValueError(
                "can't alias arbitrary sequence into a tensor: asarray(copy=False) needs the same type"
            )
    return result.detach().requires_grad_() if requires_grad else result


@op(method=False, out=False, differentiable=False)
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """Return a tensor on the memory of a NumPy array: a change of one is seen in the other.

    TypeError for element types that tensors do not have; ValueError for negative strides and for another byte
    order than the machine's: such arrays must be copied first.

    >>> import accelgrad
    >>> import numpy
    >>> a = numpy.zeros(2)
    >>> accelgrad.from_numpy(a)[0] = 1
    >>> a
    array([1., 0.])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    own = dtypes.of(ndarray.dtype).numpy
    if ndarray.dtype != own:
        raise ValueError(
            "given numpy array has byte order different from the native byte order."
            " Conversion between byte orders is currently not supported:"
            " use array.astype(array.dtype.newbyteorder('='))"
        )
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative,"
            " and tensors with negative strides are not currently supported."
            " (You can probably work around this by making a copy of your array  with array.copy().)"
        )
    # NumPy has one dtype object for each type, and promotion relies on it: an equal copy is replaced.
    return wrap(ndarray if ndarray.dtype is own else ndarray.view(own), backend.CPU)


@op(method=False, out=False, differentiable=False)
def from_dlpack(ext_tensor: Any) -> Tensor:
    """Return a tensor on the memory of any array that speaks DLPack: PyTorch's, CuPy's, JAX's or NumPy's.

    TypeError for an object without the methods of DLPack.

    >>> import accelgrad
    >>> import numpy
    >>> accelgrad.from_dlpack(numpy.arange(3))
    tensor([0, 1, 2])
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack() expects an object with __dlpack__, got {type(ext_tensor).__name__};"
            " pass the array, not its capsule"
        )
    kind, index = ext_tensor.__dlpack_device__()
    xp = backend.CPU if kind == 1 else backend.namespace(backend.Device("cuda", int(index)))
    array = dlpack.take(xp, ext_tensor)
    dtypes.of(array.dtype)
    return wrap(array, xp)


@op(method=False, out=False, differentiable=False)
def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """Return a tensor on the memory of a bytes-like object, from byte ``offset`` on.

    It has ``count`` elements; -1 means as many as there are.

    >>> import accelgrad
    >>> accelgrad.frombuffer(bytearray([1, 2, 3]), dtype=accelgrad.uint8)
    tensor([1, 2, 3], dtype=accelgrad.uint8)
    """
    array = np.frombuffer(buffer, dtype=dtypes.as_numpy(dtype), count=count, offset=offset)
    return made(array, backend.CPU, requires_grad)


@op(method=False, out=False, differentiable=False)
def scalar_tensor(
    s: Number, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a 0-d tensor that holds a number, in the default floating point dtype unless ``dtype`` is given.

    >>> import accelgrad
    >>> accelgrad.scalar_tensor(2)
    tensor(2.)
    """
    return full((), s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


# --- of one value


@op(method=False, differentiable=False)
def zeros(
    *shape: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return zeros of shape ``size``, in the default floating point dtype unless ``dtype`` is given.

    The shape is written as numbers, as a sequence, or as ``size=``.  RuntimeError for negative extents.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    xp = backend.namespace(device)
    with xp.scope():
        return made(xp.zeros(extents(shape, size, "zeros"), dtype=kind_of(dtype)), xp, requires_grad)


@op(method=False, differentiable=False)
def ones(
    *shape: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ones of shape ``size``, in the default floating point dtype unless ``dtype`` is given.

    The shape is written as for :func:`zeros`.

    >>> import accelgrad
    >>> accelgrad.ones(2, dtype=accelgrad.int64)
    tensor([1, 1])
    """
    xp = backend.namespace(device)
    with xp.scope():
        return made(xp.ones(extents(shape, size, "ones"), dtype=kind_of(dtype)), xp, requires_grad)


@op(method=False, differentiable=False)
def empty(
    *shape: int | Sequence[int],
    size: Sequence[int] | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor of shape ``size`` with uninitialised memory: its values are whatever was there.

    The shape is written as for :func:`zeros`, and the dtype is chosen as there.

    >>> import accelgrad
    >>> accelgrad.empty(2, 3).shape
    accelgrad.Size([2, 3])
    """
    xp = backend.namespace(device)
    with xp.scope():
        return made(xp.empty(extents(shape, size, "empty"), dtype=kind_of(dtype)), xp, requires_grad)


@op(method=False, differentiable=False)
def full(
    size: Sequence[int],
    fill_value: Number | Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of shape ``size`` with ``fill_value`` everywhere.

    Without ``dtype`` the dtype is that of the value: bool, int64 or the default floating point dtype.
    RuntimeError for a value that is too large for ``dtype``.

    >>> import accelgrad
    >>> accelgrad.full((2,), 7)
    tensor([7, 7])
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = dtypes.of_number(fill_value) if dtype is None else dtypes.as_dtype(dtype)
    xp = backend.namespace(device)
    with xp.scope():
        array = xp.full(extents((size,)), element(fill_value, kind), dtype=kind.numpy)
    return made(array, xp, requires_grad)


def like(input: Tensor, dtype: Any, device: Any) -> tuple[Any, np.dtype]:
    """Return the array module and the NumPy dtype of ``input``, or those of ``device`` and ``dtype``."""
    kind = input.array.dtype if dtype is None else dtypes.as_numpy(dtype)
    return (input.xp if device is None else backend.namespace(device)), kind


@op(method=False, out=False, differentiable=False)
def zeros_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros in the shape of ``input``, in its dtype and on its device unless others are given.

    >>> import accelgrad
    >>> accelgrad.zeros_like(accelgrad.tensor([1, 2]))
    tensor([0, 0])
    """
    xp, kind = like(input, dtype, device)
    with xp.scope():
        return made(xp.zeros(input.array.shape, dtype=kind), xp, requires_grad)


@op(method=False, out=False, differentiable=False)
def ones_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ones in the shape of ``input``, in its dtype and on its device unless others are given.

    >>> import accelgrad
    >>> accelgrad.ones_like(accelgrad.tensor([1.5, 2.5]))
    tensor([1., 1.])
    """
    xp, kind = like(input, dtype, device)
    with xp.scope():
        return made(xp.ones(input.array.shape, dtype=kind), xp, requires_grad)


@op(method=False, out=False, differentiable=False)
def empty_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return uninitialised memory in the shape of ``input``, in its dtype and on its device by default.

    >>> import accelgrad
    >>> accelgrad.empty_like(accelgrad.tensor([1, 2])).dtype
    accelgrad.int64
    """
    xp, kind = like(input, dtype, device)
    with xp.scope():
        return made(xp.empty(input.array.shape, dtype=kind), xp, requires_grad)


@op(method=False, out=False, differentiable=False)
def full_like(
    input: Tensor,
    fill_value: Number | Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ``fill_value`` everywhere in the shape of ``input``, in its dtype and on its device by default.

    >>> import accelgrad
    >>> accelgrad.full_like(accelgrad.tensor([1, 2]), 3)
    tensor([3, 3])
    """
    xp, kind = like(input, dtype, device)
    return full(
        input.array.shape, fill_value, dtype=dtypes.of(kind), device=xp.device, requires_grad=requires_grad
    )


# --- of evenly spaced values


@op(method=False, differentiable=False)
def arange(
    start: Number | Tensor,
    end: Number | Tensor | None = None,
    step: Number | Tensor = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``start, start + step, ...`` up to but without ``end``; ``arange(n)`` counts from 0.

    The dtype is int64 if all three are integers, else the default floating point dtype.  RuntimeError if
    ``step`` is 0 or leads away from ``end``.

    >>> import accelgrad
    >>> accelgrad.arange(1, 2, 0.25)
    tensor([1.0000, 1.2500, 1.5000, 1.7500])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (one.item() if isinstance(one, Tensor) else one for one in (start, end, step))
    whole = all(isinstance(one, int | np.integer) for one in (start, end, step))
    kind = (
        (dtypes.int64 if whole else dtypes.get_default_dtype()) if dtype is None else dtypes.as_dtype(dtype)
    )
    if not all(math.isfinite(one) for one in (start, end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if not step:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}"
        )
    if kind is dtypes.int64 and not whole:
        # PyTorch counts in the result's own type, where that is the widest.
        start, end, step = int(start), int(end), int(step)
        if not step:
            raise RuntimeError("step must be nonzero")
        whole = True
    count = int(-((start - end) // step)) if whole else math.ceil((end - start) / step)
    return _counted(start, step, count, kind, device, requires_grad)


def _counted(start: Any, step: Any, count: int, kind: DType, device: Any, requires_grad: bool) -> Tensor:
    """Return start + step * (0, 1, ..., count - 1), each value rounded once."""
    xp = backend.namespace(device)
    with xp.scope():
        if kind.category == 2:
            array = (xp.arange(count, dtype=np.float64) * float(step) + float(start)).astype(kind.numpy)
        else:
            array = (xp.arange(count, dtype=np.int64) * int(step) + int(start)).astype(kind.numpy)
    return made(array, xp, requires_grad)


@op(method=False, differentiable=False)
def range(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``start, start + step, ...`` up to and including ``end``, in the default floating point dtype.

    RuntimeError if ``step`` is 0 or leads away from ``end``.  Use :func:`arange` where the end is left out.

    >>> import accelgrad
    >>> accelgrad.range(1, 3)
    tensor([1., 2., 3.])
    """
    if end is None:
        start, end = 0, start
    kind = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if not step:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}"
        )
    return _counted(start, step, int((end - start) / step) + 1, kind, device, requires_grad)


@op(method=False, differentiable=False)
def linspace(
    start: Number | Tensor,
    end: Number | Tensor,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``steps`` evenly spaced values from ``start`` to ``end``, both included.

    With an integer ``dtype`` the ends are rounded towards 0 first, then every value.  RuntimeError if
    ``steps`` is negative.

    >>> import accelgrad
    >>> accelgrad.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    start, end = (one.item() if isinstance(one, Tensor) else one for one in (start, end))
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    xp, kind = backend.namespace(device), kind_of(dtype)
    with xp.scope():
        return made(_spaced(xp, start, end, steps, kind).astype(kind), xp, requires_grad)


def _spaced(xp: Any, start: Number, end: Number, steps: int, kind: Any) -> Any:
    """Return the values of linspace in float64, counted from the nearer end so that both ends are exact."""
    if np.dtype(kind).kind in "iu":
        start, end = int(start), int(end)
    step = (end - start) / max(steps - 1, 1)
    place = xp.arange(steps, dtype=np.float64)
    return xp.where(place < max(steps // 2, 1), start + step * place, end - step * (steps - 1 - place))


@op(method=False, differentiable=False)
def logspace(
    start: Number | Tensor,
    end: Number | Tensor,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``base`` to the powers ``linspace(start, end, steps)``.

    With an integer ``dtype`` the two ends are rounded towards 0 first, then every value.  RuntimeError if
    ``steps`` is negative.

    >>> import accelgrad
    >>> accelgrad.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    start, end = (one.item() if isinstance(one, Tensor) else one for one in (start, end))
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    xp, kind = backend.namespace(device), kind_of(dtype)
    with xp.scope():
        return made((base ** _spaced(xp, start, end, steps, kind)).astype(kind), xp, requires_grad)


@op(method=False, differentiable=False)
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the identity matrix (n, n), or ones on the main diagonal of an (n, m) matrix of zeros.

    RuntimeError for a negative extent.

    >>> import accelgrad
    >>> accelgrad.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    for name, extent in (("n", n), ("m", n if m is None else m)):
        if extent < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {extent}")
    xp = backend.namespace(device)
    with xp.scope():
        return made(xp.eye(n, n if m is None else m, dtype=kind_of(dtype)), xp, requires_grad)
