"""What several families of operations check in the same words: element types, indices, reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor

__all__ = ["floating", "one_type", "reduce_loss", "reduction_of", "title", "tuple_of", "within"]


def title(x: Any) -> str:
    """The name of an array's element type as PyTorch's messages write it: ``Float``, ``Long``."""
    return dtypes.of(x.dtype).title.removesuffix("Tensor")


def floating(x: Any, name: str) -> Any:
    """The array ``x``; NotImplementedError if its elements are not floating point numbers."""
    if not dtypes.floating(x.dtype):
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{title(x)}': it needs floating point numbers; convert with"
            " .float()"
        )
    return x


def one_type(name: str, **arrays: Any) -> None:
    """RuntimeError unless the named arrays (None left out) have one element type."""
    given = [(label, x) for label, x in arrays.items() if x is not None]
    first = given[0][1].dtype
    for label, x in given[1:]:
        if x.dtype != first:
            raise RuntimeError(
                f"expected scalar type {title(given[0][1])} but found {title(x)}: in {name} {given[0][0]} is"
                f" {dtypes.of(first).name} but {label} is {dtypes.of(x.dtype).name}. NumPy arrays are float64"
                f" by default: {given[0][0]}.float()"
            )


def within(xp: Any, index: Any, extent: int) -> bool:
    """Whether all of the integers ``index`` lie in 0 ... extent - 1; where looking means waiting (a card),
    True.
    """
    if not xp.looks or not index.size:
        return True
    kind = index.dtype
    if kind.kind == "i":  # as unsigned numbers the negative ones are the largest of all: one pass does
        return int(index.view(f"u{kind.itemsize}").max()) < extent
    return int(index.max()) < extent


def tuple_of(value: int | Sequence[int] | None, count: int, name: str, call: str) -> tuple[int, ...]:
    """``3`` as ``(3, 3)``: one number for each of ``count`` dimensions; RuntimeError for another number of
    them.
    """
    if isinstance(value, int):
        return (value,) * count
    if isinstance(value, Sequence) and all(hasattr(one, "__index__") for one in value):
        if len(value) == count:
            return tuple(int(one) for one in value)
        if len(value) == 1:
            return (int(value[0]),) * count
        raise RuntimeError(
            f"{call}: expected {name} to be a single integer value or a list of {count} values to match the"
            f" convolution dimensions, but got {name}={list(value)}"
        )
    if hasattr(value, "__index__"):
        return (int(value),) * count  # type: ignore[call-overload]
    raise TypeError(f"{call}(): argument '{name}' must be tuple of ints, not {type(value).__name__}")


def reduction_of(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction's name, checked; PyTorch's two old flags are understood.  ValueError for an unknown
    name.
    """
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction: choose 'none', 'mean' or 'sum'")
    return reduction


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """The losses as they are, their mean, or their sum."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss
