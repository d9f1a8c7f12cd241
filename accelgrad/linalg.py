"""``accelgrad.linalg``: linear algebra under PyTorch's names, gathered from the registry of operations."""

from __future__ import annotations

from typing import Any

from accelgrad.ops.linalg.linalg import LinAlgError as LinAlgError
from accelgrad.ops.registry import OPS

__all__ = ["LinAlgError"]

_ELSEWHERE = {
    "matmul": "matmul", "matrix_power": "matrix_power", "multi_dot": "chain_matmul",
    "matrix_exp": "matrix_exp",
}  # fmt: skip
"""Functions that also have a name outside of this namespace."""

for _name, _path in _ELSEWHERE.items():
    if _path in OPS:
        globals()[_name] = OPS[_path].call
        __all__.append(_name)
for _entry in OPS.values():
    if _entry.namespace == "linalg":
        for _name in (_entry.name, *_entry.aliases):
            globals()[_name] = _entry.call
            __all__.append(_name)

_COMPLEX = {
    "eig": "linalg.eigh gives real ones of symmetric matrices",
    "eigvals": "linalg.eigvalsh gives real ones of symmetric matrices, linalg.svdvals singular values of any",
}


def __getattr__(name: str) -> Any:
    """A word about what cannot be here."""
    if name in _COMPLEX:
        raise AttributeError(
            f"accelgrad.linalg has no {name!r}: eigenvalues of a general matrix are complex numbers, and"
            f" accelgrad has none; {_COMPLEX[name]}"
        )
    raise AttributeError(f"module 'accelgrad.linalg' has no attribute {name!r}")
