"""Mixed precision on a card under PyTorch's older names: ``from accelgrad.cuda.amp import autocast``."""

from __future__ import annotations

from typing import Any

from accelgrad import amp
from accelgrad.amp import custom_bwd, custom_fwd

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(amp.autocast):
    """:class:`accelgrad.amp.autocast` for ``"cuda"``; ``dtype`` is float16 unless given.

    >>> with autocast():
    ...     amp.is_autocast_enabled("cuda"), amp.is_autocast_enabled("cpu")
    (True, False)
    """

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """:class:`accelgrad.amp.GradScaler` for ``"cuda"``.

    >>> GradScaler(2.0**10).get_scale()
    1024.0
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cuda", *args, **kwargs)
