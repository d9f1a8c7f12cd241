"""``torch.backends.cudnn``: its switches are accepted; convolutions here are windows and matrix products.

``allow_tf32`` (True at first, as in PyTorch) decides whether these products may use TF32, see
:mod:`accelgrad.arrays.precision`.  ``benchmark``, ``deterministic`` and ``enabled`` change nothing: there
is one way to compute a convolution, and it gives the same bits every time.

>>> import accelgrad
>>> accelgrad.backends.cudnn.benchmark = True
>>> accelgrad.backends.cudnn.allow_tf32
True
>>> accelgrad.backends.cudnn.benchmark = False
"""

from __future__ import annotations

import sys
import types

from accelgrad.arrays.precision import settings

__all__ = ["benchmark", "deterministic", "enabled", "is_available", "version"]

enabled = True
benchmark = False
deterministic = False


def is_available() -> bool:
    """Whether cuDNN is used: never, the convolutions are accelgrad's own.

    >>> is_available()
    False
    """
    return False


def version() -> None:
    """There is no cuDNN, so it has no version."""


class _Switches(types.ModuleType):
    """A module one of whose attributes acts when it is set."""

    @property
    def allow_tf32(self) -> bool:
        """Whether the products of a convolution may use TF32 on a card."""
        return settings.convolutions

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        settings.convolutions = allowed


sys.modules[__name__].__class__ = _Switches
