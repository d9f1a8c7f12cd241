"""The text of a tensor, as PyTorch prints it."""

from __future__ import annotations

from typing import Any


def tensor_text(tensor: Any) -> str:
    """What ``repr(tensor)`` shows."""
    return f"tensor({tensor.tolist()})"
