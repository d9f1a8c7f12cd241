"""Checks that several families of operations make in the same words: element types, indices, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelgrad.arrays import backend, dtypes
from accelgrad.core.tensor import Tensor

__all__ = ["boolean", "no_broadcast", "must_be_floating", "one_type", "title", "tuple_of", "within"]


def title(x: Any) -> str:
    """Return the name of an array's element type as PyTorch's messages write it: ``Float``, ``Long``."""
    return dtypes.of(x.dtype).title.removesuffix("Tensor")


def must_be_floating(x: Any, name: str) -> Any:
    """Return an array, or a NumPy dtype, as it is; NotImplementedError unless it is floating point."""
    kind = getattr(x, "dtype", x)
    if not dtypes.is_floating(kind):
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{dtypes.of(kind).title.removesuffix('Tensor')}':"
            " it needs floating point numbers; convert with .float()"
        )
    return x


def one_type(name: str, **arrays: Any) -> None:
    """Raise RuntimeError unless the named arrays have one element type; None is passed over."""
    given = [(label, x) for label, x in arrays.items() if x is not None]
    first = given[0][1].dtype
    for label, x in given[1:]:
        if x.dtype != first:
            raise RuntimeError(
                f"expected scalar type {title(given[0][1])} but found {title(x)}:"
                f" in {name} {given[0][0]} is {dtypes.of(first).name}"
                f" but {label} is {dtypes.of(x.dtype).name}."
                f" NumPy arrays are float64 by default: {given[0][0]}.float()"
            )


def within(xp: Any, index: Any, extent: int) -> bool:
    """Tell whether all of the integers ``index`` lie in [0, ``extent``).

    The answer is True where looking at them would mean waiting for a card.
    """
    if not xp.looks or not index.size:
        return True
    kind = index.dtype
    if kind.kind == "i":
        # As unsigned numbers the negative ones are the largest of all, so that one pass is enough.
        return int(index.view(f"u{kind.itemsize}").max()) < extent
    return int(index.max()) < extent


def tuple_of(value: int | Sequence[int] | None, count: int, name: str, call: str) -> tuple[int, ...]:
    """Return ``value`` as a tuple of ``count`` ints, one for each dimension: ``3`` as ``(3, 3)``.

    RuntimeError for a sequence of another length, TypeError for what holds no integers.
    """
    if isinstance(value, int):
        return (value,) * count
    if isinstance(value, Sequence) and all(hasattr(one, "__index__") for one in value):
        if len(value) == count:
            return tuple(int(one) for one in value)
        if len(value) == 1:
            return (int(value[0]),) * count
        raise RuntimeError(
            f"{call}: expected {name} to be a single integer value"
            f" or a list of {count} values to match the convolution dimensions, but got {name}={list(value)}"
        )
    if hasattr(value, "__index__"):
        return (int(value),) * count  # type: ignore[call-overload]
    raise TypeError(f"{call}(): argument '{name}' must be tuple of ints, not {type(value).__name__}")


def boolean(name: str, input: Any, mask: Any, what: str) -> Any:
    """Return the raw array of a mask, which is a tensor, or a raw array in a backward pass.

    TypeError for anything else, RuntimeError for a mask on another device than ``input``.
    """
    if not isinstance(mask, Tensor):
        if backend.is_array(mask):
            return mask
        raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(mask).__name__}")
    if isinstance(input, Tensor) and mask.xp is not input.xp:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {input.device} and {mask.device}!"
            f" In {name}: move the {what} with .to('{input.device}')"
        )
    return mask.array


def no_broadcast(*operands: Any) -> RuntimeError:
    """Return PyTorch's error for shapes that do not broadcast, with the two that differ and where."""
    shapes = [tuple(one.shape) for one in operands if hasattr(one, "shape")]
    for first in shapes:
        for second in shapes:
            for place in range(-1, -1 - min(len(first), len(second)), -1):
                a, b = first[place], second[place]
                if a != b and 1 not in (a, b):
                    dim = max(len(first), len(second)) + place
                    return RuntimeError(
                        f"The size of tensor a ({a}) must match the size of tensor b"
                        f" ({b}) at non-singleton dimension {dim}:"
                        f" shapes {', '.join(str(list(shape)) for shape in shapes)}"
                    )
    return RuntimeError(f"shapes cannot be broadcast: {shapes}")
