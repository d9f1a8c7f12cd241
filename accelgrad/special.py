"""``accelgrad.special``: special functions under PyTorch's names, gathered from the registry."""

from __future__ import annotations

from accelgrad.ops.registry import shown_in

__all__: list[str] = []

globals().update(shown_in("special"))
__all__ += shown_in("special")
