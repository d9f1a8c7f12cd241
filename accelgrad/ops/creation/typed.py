"""Tensors in the dtype of another tensor, tensors of a named type, and questions about tensors.

``x.new_zeros(2)`` has the dtype and the device of ``x``.  ``FloatTensor([1, 2])``, ``LongTensor(2, 3)`` and
so on make ordinary tensors; ``isinstance(x, FloatTensor)`` asks for the dtype of ``x``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.data import as_array
from accelgrad.arrays.dtypes import Number
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.promotion import result_dtype
from accelgrad.core.tensor import Size, Tensor, method, wrap
from accelgrad.ops.creation.create import empty, full, ones, tensor, zeros
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes

__all__ = ["is_floating_point", "is_tensor", "numel", "result_type", "typed_tensors"]


# --- like another tensor


@op(out=False, differentiable=False, torch="Tensor.new_tensor")
def new_tensor(
    input: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a copy of ``data`` in the dtype and on the device of ``input``, unless others are given.

    >>> import accelgrad
    >>> accelgrad.ones(1).new_tensor([1, 2])
    tensor([1., 2.])
    """
    return tensor(
        data, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


@op(out=False, differentiable=False, torch="Tensor.new_zeros")
def new_zeros(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return zeros of shape ``size`` in the dtype and on the device of ``input``, unless others are given.

    >>> import accelgrad
    >>> accelgrad.tensor([1]).new_zeros(2)
    tensor([0, 0])
    """
    return zeros(
        *size, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


@op(out=False, differentiable=False, torch="Tensor.new_ones")
def new_ones(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ones of shape ``size`` in the dtype and on the device of ``input``, unless others are given.

    >>> import accelgrad
    >>> accelgrad.tensor([1]).new_ones(2)
    tensor([1, 1])
    """
    return ones(*size, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


@op(out=False, differentiable=False, torch="Tensor.new_empty")
def new_empty(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return uninitialised memory of shape ``size`` in the dtype and on the device of ``input`` by default.

    >>> import accelgrad
    >>> accelgrad.tensor([1]).new_empty(2).dtype
    accelgrad.int64
    """
    return empty(
        *size, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


@op(out=False, differentiable=False, torch="Tensor.new_full")
def new_full(
    input: Tensor,
    size: Sequence[int],
    fill_value: Number | Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``fill_value`` in shape ``size``, in the dtype and on the device of ``input`` by default.

    >>> import accelgrad
    >>> accelgrad.ones(1).new_full((2,), 3)
    tensor([3., 3.])
    """
    return full(
        size,
        fill_value,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


@method
def new(self: Tensor, *data: Any) -> Tensor:
    """Return a tensor of the same dtype and device: of the given extents, or with the given data.

    ``x.new(2, 3)`` has uninitialised memory.

    >>> import accelgrad
    >>> accelgrad.ones(1).new([2, 3])
    tensor([2., 3.])
    """
    return _construct(self.dtype, self.xp, data)


# --- of a named type


def _construct(kind: DType, xp: Any, data: tuple[Any, ...]) -> Tensor:
    """Make a tensor of dtype ``kind``, of the extents ``data`` or with a copy of its only element.

    TypeError for a tensor of another dtype and for a single float.
    """
    if len(data) == 1 and not isinstance(data[0], int):
        given = data[0]
        if isinstance(given, Size):
            return wrap(xp.empty(tuple(given), dtype=kind.numpy), xp)
        if isinstance(given, Tensor) and given.dtype is not kind:
            raise TypeError(
                f"expected a tensor of {kind!r} (got {given.dtype}); convert it with .to({kind!r})"
            )
        if isinstance(given, float | np.floating):
            raise TypeError(f"new(): data must be a sequence (got {type(given).__name__})")
        return wrap(as_array(given, kind.numpy, xp), xp)
    return wrap(xp.empty(sizes(data) if data else (0,), dtype=kind.numpy), xp)


class _Typed(type):
    """The type of the classes FloatTensor, LongTensor and so on.

    ``isinstance`` compares dtype and device, and a call makes an ordinary Tensor.
    """

    dtype: DType
    on_card: bool

    def __instancecheck__(cls, instance: Any) -> bool:
        """Tell whether ``instance`` is a tensor of this dtype on this kind of device."""
        return (
            isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.is_cuda == cls.on_card
        )

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        """Make a Tensor of the given extents, or with the given data."""
        where = device if device is not None else "cuda" if cls.on_card else "cpu"
        return _construct(cls.dtype, backend.namespace(where), data)


def typed_tensors(module: str, on_card: bool) -> dict[str, _Typed]:
    """Return FloatTensor, LongTensor and so on by name, as types that belong to ``module``."""
    place = " on a card" if on_card else ""
    return {
        kind.title: _Typed(
            kind.title,
            (),
            {
                "__doc__": f"Make tensors of {kind!r}{place}: of the given extents, or with the given data.",
                "__module__": module,
                "dtype": kind,
                "on_card": on_card,
            },
        )
        for kind in dtypes.ALL
    }


# --- questions


@op(method=False, out=False, differentiable=False)
def is_tensor(obj: Any) -> bool:
    """Tell whether ``obj`` is a Tensor.

    >>> import accelgrad
    >>> accelgrad.is_tensor(accelgrad.ones(1)), accelgrad.is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def _tensor(name: str, input: Any) -> Tensor:
    """Return ``input`` if it is a Tensor; TypeError otherwise."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input


@op(method=False, out=False, differentiable=False)
def is_floating_point(input: Tensor) -> bool:
    """Tell whether the elements are floating point numbers; TypeError for what is not a Tensor.

    >>> import accelgrad
    >>> accelgrad.is_floating_point(accelgrad.tensor([1]))
    False
    """
    return _tensor("is_floating_point", input).is_floating_point()


@op(method=False, out=False, differentiable=False)
def is_complex(input: Tensor) -> bool:
    """Tell whether the elements are complex numbers, which they never are here.

    >>> import accelgrad
    >>> accelgrad.is_complex(accelgrad.ones(1))
    False
    """
    return _tensor("is_complex", input).is_complex()


@op(method=False, out=False, differentiable=False)
def numel(input: Tensor) -> int:
    """Return the number of elements; TypeError for what is not a Tensor.

    >>> import accelgrad
    >>> accelgrad.numel(accelgrad.ones(2, 3))
    6
    """
    return _tensor("numel", input).numel()


@op(method=False, out=False, differentiable=False)
def result_type(tensor1: Tensor | Number, tensor2: Tensor | Number) -> DType:
    """Return the dtype to which two tensors or numbers are promoted together.

    >>> import accelgrad
    >>> accelgrad.result_type(accelgrad.tensor([1]), 1.5)
    accelgrad.float32
    """
    return result_dtype((tensor1, tensor2))


@op(samples=[sample(arg(1)), sample(arg(values=0.0))], differentiable=False, out=False)
def is_nonzero(input: Tensor) -> bool:
    """Tell whether the only element is not 0; RuntimeError unless there is exactly one.

    >>> import accelgrad
    >>> accelgrad.is_nonzero(accelgrad.tensor([2.0]))
    True
    """
    return bool(input)


@op(samples=[sample(arg(2), arg(2)), sample(arg(2), arg(1, 2))], differentiable=False, out=False)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape.

    >>> import accelgrad
    >>> accelgrad.is_same_size(accelgrad.ones(2), accelgrad.zeros(2))
    True
    """
    return input.array.shape == other.array.shape
