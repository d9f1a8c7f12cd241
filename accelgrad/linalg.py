"""``accelgrad.linalg``: linear algebra under PyTorch's names, gathered from the registry of operations."""

from __future__ import annotations

from typing import Any

from accelgrad.ops.linalg.linalg import LinAlgError as LinAlgError
from accelgrad.ops.registry import shown_in

__all__ = ["LinAlgError"]

globals().update(shown_in("linalg"))
__all__ += shown_in("linalg")

_COMPLEX = {
    "eig": "linalg.eigh gives real ones of symmetric matrices",
    "eigvals": "linalg.eigvalsh gives real ones of symmetric matrices, linalg.svdvals singular values of any",
}


def __getattr__(name: str) -> Any:
    """A word about what cannot be here."""
    if name in _COMPLEX:
        raise AttributeError(
            f"accelgrad.linalg has no {name!r}: eigenvalues of a general matrix are complex numbers,"
            f" and accelgrad has none; {_COMPLEX[name]}"
        )
    raise AttributeError(f"module 'accelgrad.linalg' has no attribute {name!r}")
