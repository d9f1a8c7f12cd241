"""``torch.backends.cuda``: whether there is CuPy, and how exactly float32 matrices are multiplied.

>>> import accelgrad
>>> accelgrad.backends.cuda.matmul.allow_tf32
False
"""

from __future__ import annotations

import importlib.util

from accelgrad.arrays.precision import settings

__all__ = ["Matmul", "is_built", "matmul"]


def is_built() -> bool:
    """Whether CuPy is installed; :func:`accelgrad.cuda.is_available` says whether a card can be used.

    >>> isinstance(is_built(), bool)
    True
    """
    return importlib.util.find_spec("cupy") is not None


class Matmul:
    """The switches of ``backends.cuda.matmul``."""

    @property
    def allow_tf32(self) -> bool:
        """Whether a card may multiply float32 matrices in TF32, see :mod:`accelgrad.arrays.precision`."""
        return settings.level != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        settings.level = "high" if allowed else "highest"

    @property
    def fp32_precision(self) -> str:
        """The same switch in PyTorch's newer words: ``"ieee"`` or ``"tf32"``."""
        return "ieee" if settings.level == "highest" else "tf32"

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        if precision not in ("ieee", "tf32", "none"):
            raise RuntimeError(f"Unknown precision: {precision}; fp32_precision is 'ieee' or 'tf32'")
        settings.level = "high" if precision == "tf32" else "highest"


matmul = Matmul()
