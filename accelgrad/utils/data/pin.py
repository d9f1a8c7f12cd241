"""Page-locked memory: batches that a card can fetch by itself while the program goes on."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from accelgrad.utils.data.collate import with_fields
from accelgrad.utils.data.interop import Tensor, array_of, wrap

__all__ = ["pin_memory"]

_available: bool | None = None


def _can_pin() -> bool:
    """Whether there is a card; asked once."""
    global _available
    if _available is None:
        _available = False
        if importlib.util.find_spec("cupy") is not None:
            try:
                import cupy

                _available = cupy.cuda.runtime.getDeviceCount() > 0
            except Exception:  # no driver, no card, a broken installation: then there is nothing to pin for
                _available = False
    return _available


def pin_memory(data: Any) -> Any:
    """``data`` with every CPU tensor in page-locked memory, from which copies to a card run asynchronously.

    Without CuPy or a card this returns ``data`` as it is.  An object with a method ``pin_memory`` is asked
    to do it.
    """
    return _pin(data) if _can_pin() else data


def _pinned_array(array: np.ndarray) -> np.ndarray:
    """A copy in CuPy's pinned memory; its pool takes it back with the array's last view."""
    import cupy

    memory = cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    pinned = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    pinned[...] = array
    return pinned


def _pin(data: Any) -> Any:
    if type(data) is Tensor:
        return data if data.is_cuda else wrap(_pinned_array(array_of(data)))
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
