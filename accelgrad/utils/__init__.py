"""Helpers around training; today: :mod:`accelgrad.utils.data`, which feeds it."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """``accelgrad.utils.data`` is imported when it is first named."""
    if name == "data":
        return importlib.import_module("accelgrad.utils.data")
    raise AttributeError(f"module 'accelgrad.utils' has no attribute {name!r}")
