"""``torch.accelerator``: the card, whatever its maker; here that is CUDA's, see :mod:`accelgrad.cuda`."""

from __future__ import annotations

from typing import Any

from accelgrad import cuda
from accelgrad.arrays.backend import Device

__all__ = [
    "current_accelerator", "current_device_index", "current_stream", "device_count", "is_available",
    "set_device_index", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is one that can be used; never raises.

    >>> import accelgrad
    >>> is_available() == accelgrad.cuda.is_available()
    True
    """
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Device | None:
    """``device("cuda")``, or None where CuPy is not installed (or, with ``check_available``, no card usable).

    >>> device = current_accelerator(check_available=True) or "cpu"
    """
    built = cuda.status().code != "no-cupy"
    return Device("cuda") if (cuda.is_available() if check_available else built) else None


def device_count() -> int:
    """How many there are: 0 where none can be used."""
    return cuda.device_count()


def current_device_index() -> int:
    """The index of the one on which new arrays are made."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Make new arrays on this one from here on."""
    cuda.set_device(device)


def current_stream(device: Any = None) -> cuda.Stream:
    """The stream that work goes to now."""
    return cuda.current_stream(device)


def synchronize(device: Any = None) -> None:
    """Wait until everything that was asked of it is done."""
    cuda.synchronize(device)
