"""The CPU under PyTorch's names (``torch.cpu``), for programs that are written for either kind of device."""

from __future__ import annotations

from typing import Any

from accelgrad.cpu import amp as amp

__all__ = ["amp", "current_device", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """True: there is always a CPU.

    >>> is_available()
    True
    """
    return True


def device_count() -> int:
    """1: all cores are one device.

    >>> device_count()
    1
    """
    return 1


def current_device() -> str:
    """ "cpu".

    >>> current_device()
    'cpu'
    """
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Nothing to wait for: on the CPU a result is there when the call returns."""
