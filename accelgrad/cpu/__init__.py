"""The CPU under PyTorch's names (``torch.cpu``), for programs that are written for either kind of device."""

from __future__ import annotations

from typing import Any

from accelgrad.cpu import amp as amp

__all__ = ["amp", "current_device", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """Tell whether there is a CPU: always.

    >>> is_available()
    True
    """
    return True


def device_count() -> int:
    """The number of CPUs as devices: 1, since all cores are one device.

    >>> device_count()
    1
    """
    return 1


def current_device() -> str:
    """The name of the device: always "cpu".

    >>> current_device()
    'cpu'
    """
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Wait for all work on the device: nothing to do, since a CPU's result is there when the call returns.

    >>> synchronize()
    """
