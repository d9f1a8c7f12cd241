"""Page-locked memory: a card copies batches from it by itself while the program goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from accelgrad.arrays import gpu
from accelgrad.utils.data.collation import with_fields
from accelgrad.utils.data.interop import Tensor

__all__ = ["pin_memory"]


def _can_pin() -> bool:
    """Return whether there is a card, which could copy from page-locked memory."""
    return gpu.status().ok


def pin_memory(data: Any) -> Any:
    """Return ``data`` with every CPU tensor in page-locked memory.

    Copies from there to a card run on their own, while the program goes on.  Containers keep their type; an
    object with a method ``pin_memory`` is asked for its pinned version.  Without CuPy or a card ``data`` is
    returned as it is.

    >>> pin_memory(["text", 3])
    ['text', 3]
    """
    return _pin(data) if _can_pin() else data


def _pin(data: Any) -> Any:
    """Pin the tensors in ``data``; there is a card."""
    if isinstance(data, Tensor):
        return data if data.is_cuda else data.pin_memory()
    if callable(getattr(data, "pin_memory", None)):
        return data.pin_memory()
    if isinstance(data, Mapping):
        pinned = {key: _pin(value) for key, value in data.items()}
        try:
            return pinned if type(data) is dict else type(data)(pinned)  # type: ignore[call-arg]
        except TypeError:
            return pinned
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(_pin, data))
    if type(data) in (list, tuple):
        return type(data)(map(_pin, data))
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return with_fields(
            data, {field.name: _pin(getattr(data, field.name)) for field in dataclasses.fields(data)}
        )
    return data
