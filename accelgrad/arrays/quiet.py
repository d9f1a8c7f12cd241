"""NumPy's floating point warnings, silenced around formulas: PyTorch says nothing about log(0) either."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["hush", "unhush"]

try:
    # np.errstate costs more than a small operation does (1.3 us against 0.2); this is the context variable
    # underneath it.
    from numpy._core.umath import _extobj_contextvar, _make_extobj

    _silent = _make_extobj(all="ignore")

    def hush() -> Any:
        """Silence NumPy's floating point warnings in this context; give the result to :func:`unhush`."""
        return _extobj_contextvar.set(_silent)

    unhush = _extobj_contextvar.reset
except (ImportError, TypeError):
    # Another NumPy: the public, slower way.
    def hush() -> Any:
        """Silence NumPy's floating point warnings; give the result to :func:`unhush`."""
        return np.seterr(all="ignore")

    def unhush(token: Any) -> None:
        """Undo :func:`hush`."""
        np.seterr(**token)
