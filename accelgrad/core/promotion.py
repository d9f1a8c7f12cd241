"""The inputs of an operation: the type in which they meet, and the device on which they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.backend import Namespace
from accelgrad.arrays.dtypes import dtype
from accelgrad.core.tensor import Tensor

__all__ = [
    "NUMBERS",
    "constant",
    "misplaced",
    "namespace_of",
    "on_one_device",
    "promote",
    "refuse_two_devices",
    "result_dtype",
]

NUMBERS = frozenset((bool, int, float, type(None)))
"""The types of inputs that are constants as they stand."""


def promote(inputs: tuple[Any, ...], primitive: Any) -> tuple[Any, ...]:
    """Return the inputs in their common type; Tensors are cast by a recorded operation."""
    first = None
    for one in inputs:
        if isinstance(one, Tensor):
            kind = one.array.dtype
            if first is None:
                first = kind
            elif kind is not first:
                return _promoted(inputs, primitive)
        elif type(one) is not float and type(one) is not int:
            return _promoted(inputs, primitive)
    if first is not None and first.kind in dtypes.FLOATING:
        return inputs  # one floating point type, and perhaps Python numbers, which give way
    return _promoted(inputs, primitive)


def result_dtype(inputs: tuple[Any, ...]) -> dtype:
    """Return the type in which tensors, arrays and Python numbers meet, by PyTorch's rules.

    Tensors with dimensions decide before 0-d ones, and those before Python numbers, unless a later group has
    a higher category (bool < integer < floating point).
    """
    with_dims = zero_dim = number = None
    for one in inputs:
        array = one.array if isinstance(one, Tensor) else one
        if type(array) in NUMBERS:
            if array is not None:
                kind = dtypes.of_number(array)
                number = kind if number is None else dtypes.promote_types(number, kind)
        elif array.ndim:
            kind = dtypes.of(array.dtype)
            with_dims = kind if with_dims is None else dtypes.promote_types(with_dims, kind)
        else:
            kind = dtypes.of(array.dtype)
            zero_dim = kind if zero_dim is None else dtypes.promote_types(zero_dim, kind)
    return dtypes.combine(with_dims, zero_dim, number)


def _promoted(inputs: tuple[Any, ...], primitive: Any) -> tuple[Any, ...]:
    """Cast every input to the common type; the case of inputs that do not have it already."""
    inputs = tuple(
        one if isinstance(one, Tensor) or type(one) in NUMBERS else constant(primitive, one) for one in inputs
    )
    common = result_dtype(inputs)
    if primitive.promotion == "float" and common.category < 2:
        common = dtypes.get_default_dtype()
    result: list[Any] = []
    for one in inputs:
        if isinstance(one, Tensor):
            result.append(one if one.array.dtype is common.numpy else one.to(common))
        elif one is None:
            result.append(one)
        elif type(one) in NUMBERS:
            result.append(_number_as(one, common))
        else:
            result.append(one.astype(common.numpy, copy=False))
    return tuple(result)


def _number_as(value: Any, common: dtype) -> Any:
    """Return a Python number that NumPy takes as ``common``; integers wrap around, as in PyTorch."""
    if common.category == 2:
        return float(value)
    if common.category == 0:
        return bool(value)
    info = dtypes.iinfo(common)
    return (int(value) - info.min) % 2**info.bits + info.min


def constant(primitive: Any, value: Any) -> Any:
    """Return a raw array as it is and a NumPy scalar as its number; TypeError for anything else."""
    if backend.is_array(value):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"{primitive.__name__.lower()}(): argument must be Tensor, not {type(value).__name__};"
        " make one with accelgrad.tensor(...)"
    )


def namespace_of(primitive: Any, inputs: tuple[Any, ...], arrays: list[Any]) -> Namespace:
    """Return the array module of inputs none of which is a Tensor; TypeError if none is an array either."""
    for one in arrays:
        if backend.is_array(one):
            return backend.of_array(one)
    got = type(inputs[0]).__name__ if inputs else "nothing"
    raise TypeError(
        f"{primitive.__name__.lower()}(): argument 'input' (position 1) must be Tensor, not {got}"
    )


def misplaced(name: str, values: Iterable[Any]) -> RuntimeError | None:
    """Return the error for a call with arrays on several devices; None if they lie on one."""
    found = [one for one in _arrays(values) if one[0].ndim or one[1] is not backend.CPU]
    card = next((xp for _, xp, _ in found if xp is not backend.CPU), backend.CPU)
    for array, xp, kind in found:
        if xp is not card:
            first = found[0][1]
            other = xp if first is card else card
            way = ".to(" if kind == "Tensor" else "accelgrad.tensor(array, device="
            return RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices,"
                f" {first.device} and {other.device}!"
                f" In {name}, a {kind} of shape {tuple(array.shape)} is on {xp.device}:"
                f" move it with {way}'{card.device}')"
            )
    return None


def refuse_two_devices(name: str, values: Iterable[Any]) -> None:
    """Raise PyTorch's error for several devices, if that is why an array module has refused arrays."""
    problem = misplaced(name, values)
    if problem is not None:
        raise problem from None


def _arrays(values: Iterable[Any]) -> Iterator[tuple[Any, Namespace, str]]:
    """Yield the arrays among arguments, with their array modules and the word for what holds them."""
    for one in values:
        if isinstance(one, Tensor):
            yield one.array, one.xp, "Tensor"
        elif isinstance(one, list | tuple):
            yield from _arrays(one)
        elif backend.is_array(one):
            yield one, backend.of_array(one), "NumPy array" if isinstance(one, np.ndarray) else "CuPy array"


def on_one_device(primitive: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Move 0-d CPU tensors, which are as good as numbers, to the card of the others; else RuntimeError."""
    tensors = [one for one in inputs if isinstance(one, Tensor)]
    first = next((one for one in tensors if one.array.ndim or one.is_cuda), tensors[0])
    card = next((one for one in tensors if one.is_cuda), first)
    for place, one in enumerate(inputs):
        if isinstance(one, Tensor) and one.xp is not card.xp and (one.array.ndim or one.is_cuda):
            other = one if one.xp is not first.xp else card
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices,"
                f" {first.device} and {other.device}!"
                f" In {primitive.__name__.lower()}, argument {place} of shape {tuple(one.shape)} is on"
                f" {one.device}: move it with .to('{card.device}')"
            )
    return tuple(one.to(card.device) if isinstance(one, Tensor) else one for one in inputs)
