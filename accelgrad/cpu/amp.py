"""Mixed precision on the CPU under PyTorch's older names: ``from accelgrad.cpu.amp import autocast``."""

from __future__ import annotations

from typing import Any

from accelgrad import amp

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """:class:`accelgrad.amp.autocast` for ``"cpu"``; ``dtype`` is bfloat16 unless given.

    >>> import accelgrad
    >>> with autocast():
    ...     (accelgrad.ones(1, 2) @ accelgrad.ones(2, 1)).dtype
    accelgrad.bfloat16
    """

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """:class:`accelgrad.amp.GradScaler` for ``"cpu"``.

    >>> GradScaler(init_scale=8.0).get_scale()
    8.0
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)
