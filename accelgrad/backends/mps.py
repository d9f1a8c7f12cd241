"""``torch.backends.mps``: Apple's graphics processors, which accelgrad does not use."""

from __future__ import annotations

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """Never.

    >>> is_available()
    False
    """
    return False


def is_built() -> bool:
    """Never.

    >>> is_built()
    False
    """
    return False
