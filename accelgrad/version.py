"""``torch.version``: of accelgrad itself, and of the CUDA that CuPy was built for."""

from __future__ import annotations

import sys
from typing import Any

from accelgrad.arrays import gpu

__all__ = ["hip"]

hip = None
"""AMD's cards are not used."""


def __getattr__(name: str) -> Any:
    """``cuda``: for instance "13.0", or None where no card can be used; asking looks for one.

    >>> import accelgrad
    >>> (accelgrad.version.cuda is None) != accelgrad.cuda.is_available()
    True
    """
    if name == "cuda":
        if not gpu.status().ok:
            return None
        built = sys.modules["cupy"].cuda.runtime.runtimeGetVersion()
        return f"{built // 1000}.{built % 1000 // 10}"
    raise AttributeError(f"module 'accelgrad.version' has no attribute {name!r}")
