"""Anomaly mode: errors of the walk back show the forward call, and a NaN gradient is an error."""

from __future__ import annotations

import contextlib

from accelgrad.core.modes import state

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly(contextlib.ContextDecorator):
    """Switch anomaly mode on or off, from here on or within a ``with`` block; see :class:`detect_anomaly`.

    ``check_nan=False`` leaves out the search for NaN.

    >>> import accelgrad
    >>> x = accelgrad.tensor(-1.0, requires_grad=True)
    >>> with set_detect_anomaly(True, check_nan=False):
    ...     (accelgrad.sqrt(x) * 0).backward()
    >>> x.grad
    tensor(nan)
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = (state.anomaly, state.check_nan)
        state.anomaly, state.check_nan = mode, mode and check_nan

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        state.anomaly, state.check_nan = self.previous


class detect_anomaly(set_detect_anomaly):
    """Within the block, an error in backward shows where forward was called, and a NaN gradient raises.

    >>> import accelgrad
    >>> x = accelgrad.tensor(-1.0, requires_grad=True)
    >>> with detect_anomaly():
    ...     (accelgrad.sqrt(x) * 0).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
